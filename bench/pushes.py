"""A `git push` timed to two moments: a visitor sees the new version, and git returns."""

import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PAUSE = 0.003  # seconds between two visits
PATIENCE = 60.0  # seconds

IDENTITY = {f"GIT_{who}_{what}": "bench@octo.test" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
GIT = {**IDENTITY, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0"}

# One file on one layer; answers from the moment it listens, so that what is measured is the platform.
SERVER = """\
import _socket
server = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
server.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
server.bind(("0.0.0.0", 5000))
server.listen(128)
body = b"{greeting}"
while True:
    fd, _ = server._accept()
    client = _socket.socket(fileno=fd)
    client.recv(65536)
    client.sendall(b"HTTP/1.1 200 OK\\r\\nConnection: close\\r\\nContent-Length: %d\\r\\n\\r\\n%s" % (len(body), body))
    client.close()
"""
DOCKERFILE = (
    'FROM {stack}\nEXPOSE 5000\nCMD ["/usr/bin/python3", "-I", "-S", "/server.py"]\nCOPY server.py /server.py\n'
)


def dockerfile(stack: str) -> Callable[[str], Mapping[str, str]]:
    """The files of an app that is built from a Dockerfile."""
    return lambda greeting: {
        "Dockerfile": DOCKERFILE.format(stack=stack),
        "server.py": SERVER.format(greeting=greeting),
    }


@dataclass(frozen=True)
class Timed:
    """Seconds from the start; `began` is the wall clock's."""

    began: float
    returned: float
    answered: float
    visits: int
    failed: int  # visits without a 200
    lines: Sequence[tuple[float, str]] = ()  # what git printed, and when


class Visitor:
    """Asks for one host's page every few ms over new connections until it has what is `wanted`."""

    def __init__(self, port: int, host: str, wanted: Callable[[bytes], bool]) -> None:
        self._ask = f"GET / HTTP/1.0\r\nHost: {host}\r\n\r\n".encode()
        self._port, self._wanted = port, wanted
        self.visits = self.failed = 0
        self.seen: float | None = None  # time.monotonic
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._visit, daemon=True, name="visitor")
        self._thread.start()

    def wait(self) -> float:
        """When it was seen. Raises TimeoutError."""
        self._thread.join(PATIENCE)
        if self.seen is None:
            self.leave()
            raise TimeoutError(f"cannot see the page that was wanted: nothing within {PATIENCE:.0f} s")
        return self.seen

    def leave(self) -> None:
        self._over.set()
        self._thread.join()

    def _visit(self) -> None:
        while not self._over.is_set():
            answer = fetch(self._port, self._ask)
            now = time.monotonic()
            self.visits += 1
            self.failed += b" 200 " not in answer[:16]
            if self._wanted(answer):
                self.seen = now
                return
            self._over.wait(PAUSE)


def fetch(port: int, ask: bytes) -> bytes:
    """The whole answer; empty when there is none."""
    answer = b""
    try:
        with socket.create_connection(("127.0.0.1", port), 10) as link:
            link.sendall(ask)
            while part := link.recv(65536):
                answer += part
    except OSError:
        return b""
    return answer


@dataclass
class Clone:
    """A pusher's repository with one remote, and the place where its pages are seen."""

    folder: Path
    remote: str
    ssh: str
    files: Callable[[str], Mapping[str, str]]  # by the greeting
    port: int
    host: str
    shows: str = ""  # the greeting that is live
    serial: int = 0
    extra: Mapping[str, str] = field(default_factory=dict)  # more environment, for tracing

    def make(self) -> None:
        self.folder.mkdir()
        self.git("init", "-q", "-b", "main")

    def push(self, **environment: str) -> Timed:
        """Change the greeting, commit, push, and wait until a visitor sees it."""
        self.serial += 1
        # The builder's cache is shared by all: nobody may find a layer that somebody else has just made.
        greeting = f"{self.folder.name} {self.serial} {time.time_ns()}"
        for name, text in self.files(greeting).items():
            (self.folder / name).write_text(text)
        self.git("add", "-A")
        self.git("commit", "-q", "-m", greeting)
        timed = self._timed(greeting, environment)
        self.shows = greeting
        return timed

    def see(self, greeting: str) -> Visitor:
        return Visitor(self.port, self.host, lambda answer: greeting.encode() in answer)

    def git(self, *words: str) -> None:
        subprocess.run(["git", "-C", str(self.folder), *words], env=self.environment(), check=True, capture_output=True)

    def _timed(self, greeting: str, environment: Mapping[str, str]) -> Timed:
        visitor = self.see(greeting)
        try:
            began, start = time.time(), time.monotonic()
            lines = run_and_read(
                ["git", "-C", str(self.folder), "push", "-q", self.remote, "main"],
                {**self.environment(), **environment},
            )
            returned = time.monotonic() - start
            answered = visitor.wait() - start
        finally:
            visitor.leave()
        return Timed(began, returned, answered, visitor.visits, visitor.failed, lines)

    def environment(self) -> dict[str, str]:
        return {"PATH": path(), "HOME": str(self.folder.parent), "GIT_SSH_COMMAND": self.ssh, **GIT}


def run_and_read(argv: Sequence[str], env: Mapping[str, str]) -> Sequence[tuple[float, str]]:
    """Run to the end; returns each line of stderr with the wall clock's time of its arrival."""
    lines = []
    with subprocess.Popen(
        argv, env=dict(env), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as program:
        assert program.stderr
        for line in program.stderr:
            lines.append((time.time(), line.rstrip()))
    if program.returncode:
        said = "\n".join(line for _, line in lines[-20:])
        raise RuntimeError(f"cannot go on: {argv[0]} ended with {program.returncode}\n{said}")
    return lines


def path() -> str:
    return os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")


def program(name: str) -> str:
    """Its full path. Raises FileNotFoundError that says what is missing."""
    found = shutil.which(name, path=f"{path()}:/usr/sbin:/sbin")
    if not found:
        raise FileNotFoundError(f'cannot measure: "{name}" is not installed')
    return found
