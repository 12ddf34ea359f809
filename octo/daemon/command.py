"""octod's side of the command line: hands each command to the warm process and waits for its end."""

import contextlib
import logging
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import octo
from gitreceive import wire
from octo import process
from octo.errors import Unavailable

log = logging.getLogger(__name__)

KNOWN = ("user", "from", "term", "columns", "lines", "tty")
REMOTES = 16 * 1024  # characters of the caller's git remotes
PACKET = 190 * 1024  # bytes: octo.cli.warm takes no more
TOO_LONG = "cannot run the command: its words are longer than 190 KB"
BUFFER = 208 * 1024  # bytes; Linux doubles it
RDHUP = 0x2000  # POLLRDHUP, which `select` does not name
TRIES = 3  # a warm process that died is noticed when it is needed
LOG = "Look into octod's log."
HUNG_UP = 130  # as after Ctrl-C, which is how it happens


class Commands:
    """Runs command lines in children of one warm process. Any thread may call any method."""

    def __init__(self, api_socket: Path, uid: int, python: str = sys.executable, most: int = 200) -> None:
        """uid: who the commands run as. most: how many may run at once."""
        self._api, self._uid, self._python = api_socket, uid, python
        self._lock = threading.Lock()
        self._room = threading.BoundedSemaphore(most)
        self._warm: tuple[subprocess.Popen[bytes], socket.socket] | None = None
        self._stopped = False

    def start(self) -> None:
        """Start the warm process; it takes commands at once and runs them as soon as it is warm."""
        with self._lock:
            self._stopped = False
            self._started()

    def stop(self) -> None:
        """End the warm process and what still runs in it."""
        with self._lock:
            self._stopped = True
            warm, self._warm = self._warm, None
        if warm is None:
            return
        running, sock = warm
        with sock:
            _shut(sock)
        try:
            running.wait(5)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()

    @property
    def pid(self) -> int | None:
        """Of the warm process, when it has been started."""
        with self._lock:
            return self._warm[0].pid if self._warm else None

    def run(
        self,
        fields: Mapping[str, str],
        words: Sequence[str],
        fds: Sequence[int],
        caller: socket.socket | None,
        token: str,
    ) -> int:
        """Run one command line with the caller's stdin, stdout, stderr; return its exit code.

        fields: as the thin client or a door sent them. caller: the connection it came on; when it is hung up, the
        command ends and the code is 130. token: what the command shows the API. Raises Unavailable.
        """
        if not self._room.acquire(blocking=False):
            raise Unavailable("cannot run another command now: too many run already", hint="Try again in a moment.")
        try:
            packet = _packet(fields, words, token)
            for _ in range(TRIES):
                code = self._once(packet, fds, caller)
                if code is not None:
                    return code
        finally:
            self._room.release()
        raise Unavailable("cannot run the command: the process for commands does not start", hint=LOG)

    def _once(self, packet: bytes, fds: Sequence[int], caller: socket.socket | None) -> int | None:
        """None: the warm process died before it began."""
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                if not self._hand_over(packet, [*fds, theirs.fileno()]):
                    return None
            return _outcome(ours, caller)

    def _hand_over(self, packet: bytes, descriptors: Sequence[int]) -> bool:
        with self._ready() as sock:
            try:
                socket.send_fds(sock, [packet], descriptors)
            except TimeoutError:
                raise Unavailable("cannot run the command: the process for commands is stuck", hint=LOG) from None
            except ConnectionError as error:
                log.warning("the warm process does not take a command: %s", error)
                _shut(sock)  # so that it ends, should it live
                return False
            except OSError as error:
                raise Unavailable(f"cannot run the command: {error.strerror}", hint=LOG) from None
        return True

    def _ready(self) -> socket.socket:
        """A copy of the socket to a warm process that lives: nobody else closes it."""
        with self._lock:
            if self._stopped:
                raise Unavailable("cannot run the command: octod is stopping")
            return self._started().dup()

    def _started(self) -> socket.socket:
        if self._warm is not None:
            running, sock = self._warm
            if running.poll() is None and not _is_shut(sock):
                return sock
            log.warning("the warm process has gone, exit code %s; starting another", running.poll())
            with sock:
                _shut(sock)
            _end(running)
        self._warm = self._spawn()
        return self._warm[1]

    def _spawn(self) -> tuple[subprocess.Popen[bytes], socket.socket]:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        ours.settimeout(10)
        # It imports first and drops its rights then: octo may lie where only root can read, as under /root.
        argv = [self._python, "-P", "-m", "octo.cli.warm", "--fd", str(theirs.fileno())]
        argv += ["--api", str(self._api), "--uid", str(self._uid)]
        root = Path(octo.__file__).resolve().parent.parent
        with theirs:
            running = process.spawn(argv, env={"PYTHONPATH": str(root)}, pass_fds=[theirs.fileno()])
        log.info("commands run in children of process %d", running.pid)
        return running, ours


def _packet(fields: Mapping[str, str], words: Sequence[str], token: str) -> bytes:
    known = {name: fields[name][:1000] for name in KNOWN if name in fields}
    known |= {"token": token, "actor": (fields.get("actor") or fields.get("user", ""))[:100]}
    remotes = fields.get("remotes", "")[:REMOTES].split("\n")
    body = wire.pack("run", {**known, "remotes": "\n".join(remotes[:100])}, list(words))[4:]
    return body if len(body) <= PACKET else wire.pack("run", {**known, "refused": TOO_LONG}, [])[4:]


def _outcome(control: socket.socket, caller: socket.socket | None) -> int | None:
    """Wait for the child's "exit N", or for the caller to hang up. None: it was never begun."""
    poll = select.poll()
    poll.register(control, select.POLLIN)
    if caller is not None:
        poll.register(caller, RDHUP)  # POLLHUP and POLLERR come unasked
    told = b""
    while True:
        if control.fileno() not in {number for number, _ in poll.poll()}:
            return HUNG_UP
        part = control.recv(64)
        if not part:
            break
        told += part
    if not told:
        return None
    if not told.endswith(b"\n") or not told.startswith(b"run\nexit "):
        why = "cannot tell how the command ended: its process died"
        raise Unavailable(why, hint="Look whether it was done before you repeat it.")
    return int(told.split()[2])


def _is_shut(sock: socket.socket) -> bool:
    """The other side has closed, or `_shut` was here."""
    poll = select.poll()
    poll.register(sock, RDHUP)
    return bool(poll.poll(0))


def _shut(sock: socket.socket) -> None:
    """Also for its copies."""
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


def _end(running: subprocess.Popen[bytes]) -> None:
    """Give it the time to end its children, without making the next command wait."""

    def wait() -> None:
        try:
            running.wait(5)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()

    threading.Thread(target=wait, daemon=True, name="warm's end").start()
