"""Lines to a syslog on another machine: RFC 5424 messages, over UDP or TCP (RFC 5426, RFC 6587 with line ends).

Nobody waits for it: what cannot be sent is kept up to a limit, then the oldest goes, and how much went is told.
"""

import contextlib
import re
import socket
import threading
from collections import deque
from dataclasses import dataclass

from octo.errors import Usage
from octo.model import port_number, shown

KEPT = 10_000  # lines that wait for a target that is away
LARGEST = 8 * 1024  # bytes of one message; many receivers take no more
INFORMATION = 14  # facility user, severity informational
PATIENCE = 10.0  # seconds for a connection
PAUSES = (1.0, 2.0, 5.0, 15.0, 30.0)  # seconds before it is tried again

_URL = re.compile(r"syslog(?:\+(udp|tcp))?://([A-Za-z0-9_.-]{1,253}|\[[0-9a-fA-F:.]+\]):([0-9]+)/?")
_TIME = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d{1,6})?\d*(Z|[+-]\d\d:\d\d)")


@dataclass(frozen=True)
class Target:
    host: str
    port: int
    stream: bool = False  # TCP


def target(url: str) -> Target:
    """Of syslog://HOST:PORT, syslog+udp:// or syslog+tcp://. Raises Usage."""
    found = _URL.fullmatch(url)
    if not found:
        hint = "Write it as syslog://HOST:PORT or syslog+tcp://HOST:PORT."
        raise Usage(f"cannot ship logs to {shown(url)}: octo knows syslog over UDP and TCP", hint=hint)
    return Target(found[2].strip("[]"), port_number(found[3]), found[1] == "tcp")


def message(time: bytes, host: str, app: str, process: str, text: bytes) -> bytes:
    """One message. time: RFC 3339; what is none becomes the nil value. Source: RFC 5424, section 6."""
    read = _TIME.fullmatch(time)
    stamp = b"".join(part or b"" for part in read.groups()) if read else b"-"
    words = (_word(host, 255), _word(app, 48), _word(process, 128))
    line = re.sub(rb"[\0\r\n]+", b" ", text.rstrip(b"\r\n\0"))
    return (b"<%d>1 %s %s %s %s - - %s" % (INFORMATION, stamp, *words, line))[:LARGEST]


def _word(text: str, most: int) -> bytes:
    return re.sub(r"[^!-~]", "_", text)[:most].encode() or b"-"


class Sender:
    """One target, and the thread that sends to it."""

    def __init__(self, target: Target, host: str) -> None:
        self.target, self._host = target, host
        self._waiting: deque[bytes] = deque()
        self._lost = 0
        self._ended = False
        self._changed = threading.Condition()
        threading.Thread(target=self._run, daemon=True, name=f"syslog {target.host}").start()

    def send(self, line: bytes) -> None:
        """Never waits."""
        with self._changed:
            if len(self._waiting) >= KEPT:
                self._waiting.popleft()
                self._lost += 1
            self._waiting.append(line)
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _run(self) -> None:
        tries = 0
        while not self._ended:
            try:
                with self._connected() as sock:
                    tries = 0
                    self._pump(sock)
            except OSError:
                with self._changed:
                    self._changed.wait_for(lambda: self._ended, PAUSES[min(tries, len(PAUSES) - 1)])
                tries += 1

    def _pump(self, sock: socket.socket) -> None:
        """Send until it ends. A line is let go of only when it was handed over."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._ended)
                if self._ended:
                    return
                line, lost = self._waiting[0], self._lost
            if lost:
                self._hand(sock, message(b"", self._host, "octo", "-", b"%d lines were lost" % lost))
            self._hand(sock, line)
            with self._changed:
                self._lost -= lost
                if self._waiting and self._waiting[0] is line:
                    self._waiting.popleft()

    def _hand(self, sock: socket.socket, line: bytes) -> None:
        if not self.target.stream:
            with contextlib.suppress(ConnectionRefusedError):  # of the datagram before; UDP promises nothing
                sock.send(line)
            return
        if _hung_up(sock):
            raise ConnectionResetError
        sock.sendall(line + b"\n")

    def _connected(self) -> socket.socket:
        address = (self.target.host, self.target.port)
        if self.target.stream:
            sock = socket.create_connection(address, PATIENCE)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            return sock
        family, kind, *_, place = socket.getaddrinfo(*address, type=socket.SOCK_DGRAM)[0]
        sock = socket.socket(family, kind)
        sock.connect(place)
        return sock


def _hung_up(sock: socket.socket) -> bool:
    """The other side has closed: what is written now would be lost without a word."""
    sock.setblocking(False)
    try:
        return sock.recv(1024) == b""
    except BlockingIOError:
        return False
    finally:
        sock.settimeout(PATIENCE)
