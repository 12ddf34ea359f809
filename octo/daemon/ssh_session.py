"""One command over the SSH door: its streams to octod and back, its exit code to the client.

octod gets three streams and a connection of its own, as if gitreceive had called; a client that goes away closes that
connection, which tells octod to cancel.
"""

import logging
import os
import select
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import paramiko

from gitreceive import command, wire

log = logging.getLogger(__name__)

CHUNK = 256 * 1024  # bytes per read; paramiko copies the rest of what it is given with every packet
PATIENCE = 20  # seconds for octod to take a message
LINGER = 5000  # ms of silence after octod's answer, when somebody still holds an output open

_LEFT = (OSError, EOFError, paramiko.SSHException)  # what sending to a client that has gone raises


@dataclass(frozen=True)
class Caller:
    user: str
    fingerprint: str
    address: str


class Octod:
    """The way to octod: a SOCK_SEQPACKET socket that takes one end of a new connection per call."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        sock.settimeout(PATIENCE)

    def call(self) -> socket.socket:
        """Open a connection that speaks gitreceive.wire. Raises OSError."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with theirs:
                socket.send_fds(self._sock, [b"c"], [theirs.fileno()])
            ours.settimeout(PATIENCE)
            return ours
        except BaseException:
            ours.close()
            raise

    def user_of(self, fingerprint: str) -> str | None:
        """The name that a key belongs to; None when nobody's. Raises OSError."""
        with self.call() as sock:
            wire.send(sock, wire.pack("key", {"fingerprint": fingerprint}, []), [])
            answer = wire.answer(sock)
        return answer[4:] if answer.startswith("yes ") else None


def serve(channel: Any, octod: Octod, original: str, caller: Caller, protocol: str) -> None:
    """Carry out what the client asks for, and close the channel with an exit code."""
    asked = command.parse(original)
    try:
        if isinstance(asked, command.Refused):
            _end(channel, asked.text, 1)
        else:
            message = command.request(
                asked, user=caller.user, fingerprint=caller.fingerprint, address=caller.address, protocol=protocol
            )
            _ask(channel, octod, asked, message)
    except _LEFT as error:
        log.debug("a client went away: %s", error)
    finally:
        with suppress(*_LEFT):
            channel.close()


def _ask(channel: Any, octod: Octod, asked: command.Git | command.Command, message: bytes) -> None:
    try:
        control, to_stdin, stdout, stderr = _hand_over(octod, message)
    except OSError as error:
        log.error("cannot reach octod: %s", error)
        _end(channel, command.away(asked), 1)
        return
    feeder = threading.Thread(target=_feed, args=(channel, to_stdin, control), daemon=True)
    try:
        feeder.start()
        answer = _drain(channel, control, stdout, stderr)
        code = command.exit_code(answer)
        _end(channel, command.broke(asked) if code is None else "", 1 if code is None else code)
    finally:
        with suppress(*_LEFT):
            channel.close()
        _hang_up(control)
        feeder.join()
        control.close()
        wire.close([stdout, stderr])


def _hand_over(octod: Octod, message: bytes) -> tuple[socket.socket, int, int, int]:
    """Give octod the request and three streams; return the connection and our ends. Raises OSError."""
    ends: list[int] = []
    try:
        for way in (_one_way, os.pipe, os.pipe):
            ends += way()
        stdin, to_stdin, stdout, to_stdout, stderr, to_stderr = ends
        control = octod.call()
        try:
            wire.send(control, message, [stdin, to_stdout, to_stderr])
        except BaseException:
            control.close()
            raise
    except BaseException:
        wire.close(ends)
        raise
    wire.close([stdin, to_stdout, to_stderr])
    control.settimeout(None)
    os.set_blocking(to_stdin, False)
    return control, to_stdin, stdout, stderr


def _one_way() -> tuple[int, int]:
    """Make a stream of sockets, as sshd does: its reading and its writing end.

    git reads 4 KB at a time, and a full pipe wakes its writer for each of them; a socket waits until it is nearly
    empty. Measured with 300 MB: 1.8 s of CPU here in place of 2.3, and 0.2 less in git.
    """
    reader, writer = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    writer.shutdown(socket.SHUT_RD)  # nothing comes back on it: who writes to its stdin fails, and does not wait
    return reader.detach(), writer.detach()


def _feed(channel: Any, to_stdin: int, control: socket.socket) -> None:
    """Pass on what the client sends; then wait for the end of the channel, and hang up."""
    try:
        while (data := channel.recv(CHUNK)) and _write(to_stdin, data, channel, control):
            pass
    finally:
        os.close(to_stdin)
    while not channel.closed and channel.recv(CHUNK):
        pass  # nobody reads stdin any more; a client must not wait for us
    channel.status_event.wait()  # set when the channel closes, by either side or with its connection
    _hang_up(control)


def _write(to_stdin: int, data: bytes, channel: Any, control: socket.socket) -> bool:
    """Write all of it; False when the reader, octod or the client goes first."""
    ready = select.poll()
    ready.register(to_stdin, select.POLLOUT)
    ready.register(control, 0)  # POLLHUP comes unasked
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(to_stdin, view) :]
        except BlockingIOError:
            events = dict(ready.poll(1000))
            if channel.closed or control.fileno() in events:
                return False
        except OSError:  # EPIPE
            return False
    return True


def _drain(channel: Any, control: socket.socket, stdout: int, stderr: int) -> str:
    """Pass on both outputs to their ends, and return octod's one line, "" when it went without."""
    sends = {stdout: channel.send, stderr: channel.send_stderr}
    ready = select.poll()
    for number in (stdout, stderr, control.fileno()):
        ready.register(number, select.POLLIN)
    answer = b""
    answered = False
    while sends or not answered:
        events = ready.poll(LINGER if answered else None)
        if not events or channel.closed:
            break
        for number, _ in events:
            if number in sends:
                data = os.read(number, CHUNK)
                _send(channel, sends[number], data)
                if not data:
                    ready.unregister(number)
                    del sends[number]
            else:
                part = control.recv(4096)
                answer += part
                answered = not part or answer.endswith(b"\n")
                if answered:
                    ready.unregister(control)
    return answer.decode("utf-8", "replace").strip()


def _send(channel: Any, send: Callable[[memoryview], int], data: bytes) -> None:
    view = memoryview(data)
    while view:
        # One packet's worth: paramiko would copy all the rest each time.
        sent = send(view[: channel.out_max_packet_size - 64])
        if not sent:
            raise EOFError
        view = view[sent:]


def _end(channel: Any, text: str, code: int) -> None:
    _send(channel, channel.send_stderr, text.encode("utf-8", "backslashreplace"))
    channel.send_exit_status(code)


def _hang_up(control: socket.socket) -> None:
    with suppress(OSError):  # octod was faster
        control.shutdown(socket.SHUT_RDWR)
