"""The nginx process: found, started, tested, told, asked."""

import os
import signal
import socket
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from octo import process
from octo.adapters.router_nginx import sockets
from octo.errors import RouterFailed, Unavailable

_FOLDERS = ("run", "logs", "temp")  # what nginx writes; all else is root's
_STREAM = "ngx_stream_module.so"
_SHUTTING = b"is shutting down"


@dataclass(frozen=True)
class Marked:
    generation: str
    pid: int  # of the worker that answered


class Refused(RouterFailed):
    """nginx would not have a configuration; `said` is why, in its own words."""

    def __init__(self, said: str) -> None:
        super().__init__(f"cannot use the new nginx configuration: {said}")
        self.said = said


class Master:
    def __init__(self, prefix: Path, *, ports: Sequence[int], user: int) -> None:
        """ports: those that nginx listens on."""
        self._prefix = prefix
        self._ports = frozenset(ports)
        self._user = user
        self._pid_file = prefix / "run" / "nginx.pid"
        self.socket = prefix / "run" / "marker.sock"

    def prepare(self) -> None:
        """Make the folders. Raises OSError."""
        self._prefix.mkdir(parents=True, exist_ok=True)
        self._prefix.chmod(0o755)
        for name in _FOLDERS:
            folder = self._prefix / name
            folder.mkdir(exist_ok=True)
            os.chown(folder, self._user, self._user)
            folder.chmod(0o700)

    # --- the process

    def clear(self) -> None:
        """Remove what a dead one left; `nginx -t` opens the pid file too."""
        self._pid_file.unlink(missing_ok=True)
        self.socket.unlink(missing_ok=True)

    def pid(self) -> int | None:
        """The running master of this prefix: by its pid file, and where that is gone by looking for it."""
        told = self._told_pid()
        if told and self._ours(told):
            return told
        return next((pid for pid in _processes() if self._ours(pid)), None)

    def test(self, tree: Path) -> None:
        """`nginx -t` as the user that will read it. Raises Refused, which names file and line."""
        done = self._run(["-t", "-q", "-c", f"{tree}/nginx.conf"])
        if done.code:
            raise Refused(_first_complaint(done.text))

    def start(self) -> None:
        """Start with the current tree. Raises RouterFailed."""
        self._end_orphans()
        done = self._run(["-c", f"{self._prefix}/current/nginx.conf"])
        if done.code:
            raise RouterFailed(f"cannot start nginx: {_first_complaint(done.text)}", hint=self.in_the_way())

    def in_the_way(self) -> str:
        """A hint when another process has one of the ports; else ""."""
        held = ((port, sockets.holder(port, self._user)) for port in sorted(self._ports))
        return next((f"Stop {who}, or choose another port than {port}." for port, who in held if who), "")

    def reload(self, pid: int) -> None:
        _signal(pid, signal.SIGHUP)

    def reopen_logs(self) -> bool:
        pid = self.pid()
        return pid is not None and _signal(pid, signal.SIGUSR1)

    def stop(self, patience: float) -> None:
        """SIGQUIT, which lets requests end; after `patience` seconds SIGTERM, then SIGKILL for all of it."""
        pid = self.pid()
        if pid is None:
            self._end_orphans()
            return
        for number, seconds in ((signal.SIGQUIT, patience), (signal.SIGTERM, 3.0)):
            _signal(pid, number)
            if wait_until(lambda: not self._mine(pid), seconds):
                break
        else:
            self._kill({pid, *self.workers(pid)})
        self.clear()

    def _end_orphans(self) -> None:
        """Workers whose master was killed hold the port, and nobody can tell them a new table: let them finish."""
        held = {s.inode for s in sockets.sockets() if s.state == sockets.LISTEN and s.local_port in self._ports}
        found = [p for p in _processes() if _cmdline(p).startswith(b"nginx: worker process") and self._mine(p)]
        found = [p for p in found if not _cmdline(int(_status(p).get("PPid", 0))).startswith(b"nginx: master process")]
        orphans = [p for p in found if held & sockets.socket_inodes(p) and _same_root(p)]
        for pid in orphans:
            _signal(pid, signal.SIGQUIT)
        wait_until(lambda: not any(held & sockets.socket_inodes(p) for p in orphans), 3.0)

    def _kill(self, everyone: Iterable[int]) -> None:
        for pid in everyone:
            if self._mine(pid):
                _signal(pid, signal.SIGKILL)
        wait_until(lambda: not any(map(self._mine, everyone)), 3.0)

    def stream_module(self) -> str | None:
        """Path of the module for plain TCP; "" when nginx has it built in, None when it is not there at all."""
        words = self._run(["-V"]).text.split()
        if "--with-stream" in words:
            return ""
        folder = next((w.partition("=")[2] for w in words if w.startswith("--modules-path=")), "/usr/lib/nginx/modules")
        module = f"{folder}/{_STREAM}"
        return module if Path(module).is_file() else None

    def held(self) -> frozenset[int]:
        """The sockets of the running master, listeners among them."""
        pid = self.pid()
        return sockets.socket_inodes(pid) if pid else frozenset()

    # --- its workers

    def workers(self, pid: int) -> frozenset[int]:
        try:
            return frozenset(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))
        except OSError:
            return frozenset()

    def retiring(self) -> Sequence[int]:
        """Workers of an older table that still have connections."""
        pid = self.pid()
        return [w for w in self.workers(pid) if _SHUTTING in _cmdline(w)] if pid else []

    def accepting(self) -> frozenset[int]:
        """Workers whose listeners are open: nginx changes the title in the moment it closes them."""
        pid = self.pid()
        workers = self.workers(pid) if pid else ()
        return frozenset(w for w in workers if _alive(w) and _SHUTTING not in _cmdline(w))

    def marked(self) -> Marked | None:
        """What the worker that answers first serves; None when none does."""
        with socket.socket(socket.AF_UNIX) as asking, suppress(OSError, ValueError):
            asking.settimeout(1)
            asking.connect(str(self.socket))
            asking.sendall(b"GET / HTTP/1.0\r\n\r\n")
            answer = b"".join(iter(lambda: asking.recv(4096), b""))
            generation, pid = answer.partition(b"\r\n\r\n")[2].split()
            return Marked(generation.decode(), int(pid))
        return None

    # --- helpers

    def _run(self, arguments: Sequence[str]) -> process.Finished:
        argv = ["nginx", "-e", "stderr", "-p", f"{self._prefix}/", *arguments]
        try:
            return process.run([*_with_low_ports(self._user), *argv])
        except Unavailable as error:
            raise RouterFailed(error.message, hint=error.hint) from None

    def _told_pid(self) -> int | None:
        """The pid file's word. Its folder is nginx's, so no link is followed."""
        try:
            fd = os.open(self._pid_file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            return None
        with open(fd, "rb") as file:
            text = file.read(20).strip() if stat.S_ISREG(os.fstat(fd).st_mode) else b""
        return int(text) if text.isdigit() else None

    def _ours(self, pid: int) -> bool:
        """Whether this process is the nginx master of our prefix, not a number used again, not one in a container."""
        title = _cmdline(pid)
        return (
            title.startswith(b"nginx: master process")
            and f" -p {self._prefix}/ ".encode() in title
            and self._mine(pid)
            and _same_root(pid)
        )

    def _mine(self, pid: int) -> bool:
        return _alive(pid) and _uid(pid) == self._user


def wait_until(true: Callable[[], bool], seconds: float) -> bool:
    """Look again and again, quickly at first; False when the time is over."""
    end, pause = time.monotonic() + seconds, 0.002
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(pause)
        pause = min(pause * 1.5, 0.02)
    return True


def _with_low_ports(user: int) -> Sequence[str]:
    """One capability instead of a master that runs as root; a running one could not get it when an app needs it."""
    bind = "+net_bind_service"
    return (
        *("setpriv", "--reuid", str(user), "--regid", str(user), "--clear-groups"),
        *("--inh-caps", bind, "--ambient-caps", bind, "--no-new-privs"),
    )


def _first_complaint(text: str) -> str:
    """nginx's own words: the last "still could not bind()" says less than the first line."""
    lines = [line.partition("nginx: ")[2] or line for line in text.splitlines()]
    found = next((line for line in lines if "[emerg]" in line), lines[0] if lines else "it gave no reason")
    return "".join(c if c.isprintable() else "?" for c in found)[:500]


def _processes() -> Iterator[int]:
    return (int(entry) for entry in os.listdir("/proc") if entry.isdigit())


def _cmdline(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _status(pid: int) -> dict[str, str]:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _alive(pid: int) -> bool:
    """Whether it runs; a zombie that nobody reaps does not."""
    return _status(pid).get("State", "Z")[0] not in "ZX"


def _uid(pid: int) -> int | None:
    words = _status(pid).get("Uid", "").split()
    return int(words[0]) if words else None


def _same_root(pid: int) -> bool:
    try:
        return os.path.samestat(os.stat(f"/proc/{pid}/root/"), os.stat("/"))
    except OSError:
        return False


def _signal(pid: int, number: signal.Signals) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True
