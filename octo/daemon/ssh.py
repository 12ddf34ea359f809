"""octod's side of the built-in SSH server: starts it without rights, starts it again, takes its calls."""

import array
import contextlib
import logging
import os
import socket
import sys
import threading
from pathlib import Path

from octo import process
from octo.daemon.push import Door
from octo.errors import OctoError, Unavailable

log = logging.getLogger(__name__)


class SshDoor:
    """Listens on a TCP port that octod bound, so that the server needs no right but its two descriptors."""

    def __init__(self, door: Door, *, listen: str, port: int, uid: int, folder: Path, share: Path) -> None:
        self._door, self._uid, self._folder, self._share = door, uid, folder, share
        self._address = (listen, port)
        self._listener: socket.socket | None = None
        self._stopping = threading.Event()
        self._running = False
        self._end: socket.socket | None = None

    def start(self) -> None:
        """Raises Unavailable when the port is taken."""
        host_key(self._folder)
        self._listener = socket.create_server(self._address, backlog=128, reuse_port=False) if self._free() else None
        threading.Thread(target=self._keep, daemon=True, name="ssh door").start()

    def stop(self) -> None:
        self._stopping.set()
        if self._end:
            with contextlib.suppress(OSError):
                self._end.shutdown(socket.SHUT_RDWR)
        if self._listener:
            self._listener.close()

    def listening(self) -> bool:
        return self._running

    def _free(self) -> bool:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(self._address)
            except OSError as error:
                host, port = self._address
                raise Unavailable(
                    f"cannot listen on {host}:{port} for ssh: {error.strerror}",
                    hint="End who uses the port (ss -ltnp), or set ssh_port to another.",
                ) from None
        return True

    def _keep(self) -> None:
        """Run the server, and again when it ends: in one thread that lasts, whose end would end the server."""
        while not self._stopping.is_set():
            try:
                self._run()
            except OctoError as error:
                log.error("cannot run the ssh door: %s", error.message)
            self._running = False
            if not self._stopping.wait(1):
                log.warning("the ssh door ended; starting it again")

    def _run(self) -> None:
        assert self._listener
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._end = ours
        with ours, theirs, (self._folder / "host_ed25519").open("rb") as key:
            fds = (self._listener.fileno(), theirs.fileno(), key.fileno())
            names = ("--listen-fd", "--octod-fd", "--host-key-fd")
            argv = [sys.executable, "-m", "octo.daemon.ssh_door"]
            argv += [word for pair in zip(names, map(str, fds), strict=True) for word in pair]
            argv += ["--uid", str(self._uid)]  # it gives root up once it has imported what that uid may not read
            env = {"PYTHONPATH": str(self._share), "PYTHONDONTWRITEBYTECODE": "1"}
            server = process.spawn(argv, env=env, pass_fds=fds)
            theirs.close()
            self._running = True
            try:
                self._take_calls(ours)
            finally:
                server.terminate()
                server.wait()

    def _take_calls(self, ours: socket.socket) -> None:
        while True:
            word, rights, _, _ = ours.recvmsg(16, socket.CMSG_SPACE(array.array("i").itemsize))
            if not word:
                return
            for _, _, data in rights:
                numbers = array.array("i")
                numbers.frombytes(data)
                for number in numbers:
                    self._door.take(socket.socket(fileno=number))


def host_key(folder: Path) -> None:
    """Make the host key once. Its folder is closed to all but root; the server gets it as a descriptor."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = folder / "host_ed25519"
    if file.exists():
        return
    fresh = folder / f".new-{os.getpid()}"
    made = process.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "octo", "-f", str(fresh)])
    if made.code:
        raise Unavailable(f"cannot make an ssh host key: {made.text}")
    Path(f"{fresh}.pub").replace(folder / "host_ed25519.pub")
    fresh.replace(file)
