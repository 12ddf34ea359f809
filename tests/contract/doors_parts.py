"""Shared by the tests of both SSH doors: each one started for real, with a stand-in for octod behind."""

import contextlib
import os
import queue
import select
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from gitreceive import wire

CHECKOUT = Path(__file__).resolve().parents[2]
PYTHON = "/usr/bin/python3"
DOOR_UID = 59201
GONE = "the caller has gone"


@dataclass
class StubOctod:
    """Speaks gitreceive.wire: git on real repositories, and a few commands that echo."""

    repositories: Path
    keys: dict[str, str] = field(default_factory=dict)  # fingerprint -> user
    seen: "queue.Queue[tuple[str, dict[str, str], list[str]]]" = field(default_factory=queue.Queue)
    ends: "queue.Queue[str]" = field(default_factory=queue.Queue)
    peers: "queue.Queue[bytes]" = field(default_factory=queue.Queue)  # environments of callers at the socket

    def answer(self, sock: socket.socket) -> None:
        with sock, contextlib.suppress(OSError):
            body, descriptors = wire.receive(sock)
            kind, fields, arguments = wire.unpack(body)
            try:
                if kind == "key":
                    user = self.keys.get(fields["fingerprint"])
                    sock.sendall(f"yes {user}\n".encode() if user else b"no\n")
                    return
                self.seen.put((kind, fields, arguments))
                line = self.git(sock, fields, descriptors) if kind == "git" else self.octo(sock, arguments, descriptors)
            finally:
                wire.close(descriptors)
            sock.sendall(line)

    def git(self, sock: socket.socket, fields: dict[str, str], descriptors: list[int]) -> bytes:
        stdin, stdout, stderr = descriptors
        environment = {**os.environ, **({"GIT_PROTOCOL": fields["protocol"]} if fields["protocol"] else {})}
        argv = ["git", fields["verb"].removeprefix("git-"), str(self.repositories / (fields["app"] + ".git"))]
        with subprocess.Popen(argv, stdin=stdin, stdout=stdout, stderr=stderr, env=environment) as git:
            handle = os.pidfd_open(git.pid)
            ready, _, _ = select.select([handle, sock.fileno()], [], [])
            os.close(handle)
            if sock.fileno() in ready:
                git.kill()
        self.ends.put(GONE if sock.fileno() in ready or git.returncode else "done")
        return b"exit %d\n" % (git.returncode & 255)

    def octo(self, sock: socket.socket, arguments: list[str], descriptors: list[int]) -> bytes:
        stdin, stdout, stderr = descriptors
        if sock.family == socket.AF_UNIX and sock.getsockname():
            pid, _, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            self.peers.put(Path(f"/proc/{pid}/environ").read_bytes())
        match arguments:
            case ["cat"]:
                while data := os.read(stdin, 65536):
                    with open(os.dup(stdout), "wb") as out:
                        out.write(data)
            case ["say", code]:
                os.write(stdout, b"to stdout\n")
                os.write(stderr, b"to stderr\n")
                return f"exit {code}\n".encode()
            case ["wait"]:
                os.write(stdout, b"waiting\n")
                sock.recv(1)
                self.ends.put(GONE)
            case ["die"]:
                return b""
        return b"exit 0\n"


@dataclass
class Door:
    kind: str
    port: int
    login: str
    octod: StubOctod
    folder: Path

    def command(self, *words: str, key: str = "known") -> list[str]:
        known = self.folder / "known_hosts"
        options = ("IdentitiesOnly=yes", "BatchMode=yes", "StrictHostKeyChecking=yes", f"UserKnownHostsFile={known}")
        return [
            *("ssh", "-F", "none", "-i", str(self.folder / key), "-p", str(self.port)),
            *(word for option in options for word in ("-o", option)),
            *words,
        ]

    def ssh(self, *words: str, before: tuple[str, ...] = (), given: bytes = b"", key: str = "known") -> "Finished":
        return run(self.command(*before, f"{self.login}@127.0.0.1", *words, key=key), given=given)

    def git(self, *words: str, where: Path, protocol: int = 2) -> "Finished":
        ssh = " ".join(self.command())
        who = ("-c", "user.name=a", "-c", "user.email=a@b.test", "-c", f"protocol.version={protocol}")
        return run(["git", "-C", str(where), *who, *words], env={**os.environ, "GIT_SSH_COMMAND": ssh})

    def url(self, path: str) -> str:
        return f"ssh://{self.login}@127.0.0.1:{self.port}/{path}"


@dataclass(frozen=True)
class Finished:
    code: int
    out: bytes
    err: str


def run(argv: list[str], *, given: bytes = b"", env: dict[str, str] | None = None) -> Finished:
    done = subprocess.run(argv, input=given, capture_output=True, timeout=120, check=False, env=env)
    return Finished(done.returncode, done.stdout, done.stderr.decode("utf-8", "replace").replace("\r\n", "\n"))


def make_key(path: Path) -> str:
    """Make a key pair; return the fingerprint."""
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(path)])
    return run(["ssh-keygen", "-lf", str(path)]).out.split()[1].decode()


@contextlib.contextmanager
def serving(take: Callable[[], socket.socket], octod: StubOctod) -> Iterator[None]:
    def loop() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=octod.answer, args=(take(),), daemon=True).start()

    threading.Thread(target=loop, daemon=True).start()
    yield


@contextlib.contextmanager
def openssh(folder: Path, octod: StubOctod) -> Iterator[int]:
    """A real sshd with the line of row A3, and octod's socket behind gitreceive."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(folder / "door.sock"))
    listener.listen(64)
    port = free_port()
    program = f"env OCTO_DOOR={folder}/door.sock {PYTHON} -I -S {CHECKOUT}/gitreceive run"
    line = (
        'command="{} ann {}",restrict,no-agent-forwarding,no-pty,no-user-rc,no-X11-forwarding,no-port-forwarding {}\n'
    )
    public = (folder / "known.pub").read_text().strip()
    (folder / "authorized").write_text(line.format(program, next(iter(octod.keys)), public))
    (folder / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1:{port}\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized\n"
        "StrictModes no\nUsePAM no\nPidFile none\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
        "AcceptEnv GIT_PROTOCOL\nLogLevel VERBOSE\n"
    )
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    argv = ["/usr/sbin/sshd", "-D", "-e", "-f", str(folder / "sshd_config")]
    with listener, subprocess.Popen(argv, stderr=subprocess.PIPE) as sshd:
        assert sshd.stderr is not None
        assert b"listening" in sshd.stderr.readline()
        threading.Thread(target=sshd.stderr.read, daemon=True).start()
        with serving(lambda: listener.accept()[0], octod):
            yield port
        sshd.terminate()


@contextlib.contextmanager
def builtin(folder: Path, octod: StubOctod) -> Iterator[int]:
    """octo's own SSH server as octod starts it: a process without rights, and three descriptors."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    with (folder / "host").open() as host_key, listener, ours:
        descriptors = (listener.fileno(), theirs.fileno(), host_key.fileno())
        options = zip(("--listen-fd", "--octod-fd", "--host-key-fd"), map(str, descriptors), strict=True)
        door = subprocess.Popen(
            [sys.executable, "-m", "octo.daemon.ssh_door", *(word for option in options for word in option)],
            pass_fds=descriptors,
            user=DOOR_UID,
            group=DOOR_UID,
            extra_groups=(),
            env={"PYTHONPATH": str(CHECKOUT)},
            cwd="/",
        )
        theirs.close()

        def take() -> socket.socket:
            byte, descriptors, _, _ = socket.recv_fds(ours, 1, 1)
            if not byte:
                raise ConnectionError("the door has gone")
            return socket.socket(fileno=descriptors[0])

        with serving(take, octod):
            yield listener.getsockname()[1]
        ours.shutdown(socket.SHUT_RDWR)
        assert door.wait(20) == 0, "the door ends with octod"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])
