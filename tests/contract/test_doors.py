"""Both SSH doors, with stock ssh and git in front and a stand-in for octod behind: they promise the same."""

import contextlib
import hashlib
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

import pytest

from gitreceive import wire

CHECKOUT = Path(__file__).resolve().parents[2]
PYTHON = "/usr/bin/python3"
DOOR_UID = 59201
BIG = 50 * 1024 * 1024
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


@pytest.fixture(scope="module", params=["openssh", "builtin"])
def door(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "repositories").mkdir()
    octod = StubOctod(folder / "repositories", {make_key(folder / "known"): "ann"})
    make_key(folder / "stranger")
    make_key(folder / "host")
    start, login = {"openssh": (openssh, "root"), "builtin": (builtin, "git")}[request.param]
    with start(folder, octod) as port:
        host = " ".join((folder / "host.pub").read_text().split()[:2])
        (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {host}\n")
        yield Door(request.param, port, login, octod, folder)


@pytest.fixture(autouse=True)
def fresh(door: Door) -> None:
    for box in (door.octod.seen, door.octod.ends, door.octod.peers):
        while not box.empty():
            box.get()


@pytest.fixture
def source(door: Door, tmp_path: Path) -> Path:
    """A repository with one commit, and an empty bare one called web behind the door."""
    run(["git", "init", "-q", "--bare", "-b", "main", str(tmp_path / "bare")])
    target = door.octod.repositories / "web.git"
    if target.is_symlink():
        target.unlink()
    target.symlink_to(tmp_path / "bare")
    where = tmp_path / "source"
    run(["git", "init", "-q", "-b", "main", str(where)])
    (where / "file").write_bytes(os.urandom(2_000_000))
    door.git("add", ".", where=where)
    door.git("commit", "-qm", "one", where=where)
    return where


@pytest.mark.row("A1")
@pytest.mark.row("A6")
@pytest.mark.parametrize("path", ["web.git", "web"])
def test_stock_git_pushes_and_clones(door: Door, source: Path, tmp_path: Path, path: str) -> None:
    pushed = door.git("push", door.url(path), "main", where=source)
    assert pushed.code == 0, pushed.err
    kind, fields, _ = door.octod.seen.get(timeout=20)
    assert (kind, fields["verb"], fields["app"]) == ("git", "git-receive-pack", "web")
    assert (fields["user"], fields["from"]) == ("ann", "127.0.0.1")
    assert fields["fingerprint"] == next(iter(door.octod.keys))
    cloned = door.git("clone", "-q", door.url(path), str(tmp_path / "copy"), where=tmp_path)
    assert cloned.code == 0, cloned.err
    assert (tmp_path / "copy" / "file").read_bytes() == (source / "file").read_bytes()
    assert door.octod.seen.get(timeout=20)[1]["protocol"] == "version=2"


def test_git_archive_reads_too(door: Door, source: Path) -> None:
    door.git("push", door.url("web"), "main", where=source)
    archived = door.git("archive", "--remote", door.url("web"), "main", where=source)
    assert archived.code == 0, archived.err
    assert (source / "file").read_bytes() in archived.out


def test_a_git_that_fails_gives_its_exit_code_and_words(door: Door, source: Path) -> None:
    answer = door.ssh("git-upload-pack 'nosuch.git'")
    assert answer.code == 128
    assert "nosuch.git" in answer.err


@pytest.mark.row("A5")
@pytest.mark.parametrize("asked", ["git-receive-pack '../web.git'", "git-shell", "git-upload-pack 'web.git';id"])
def test_no_other_git_command_reaches_octod(door: Door, asked: str) -> None:
    answer = door.ssh(asked)
    assert answer.code == 1
    assert answer.err == " ! Invalid path.\n ! Syntax is: git@host:<app>.git where <app> is your app's name.\n"
    assert door.octod.seen.empty()


@pytest.mark.row("A5")
def test_there_is_no_shell(door: Door) -> None:
    answer = door.ssh()
    assert answer.code == 1
    assert "ERROR: Arbitrary ssh prohibited!\n" in answer.err
    assert door.octod.seen.empty()


@pytest.mark.row("A2")
def test_there_is_no_terminal(door: Door) -> None:
    answer = door.ssh("say", "0", before=("-tt",))  # ssh itself gives up when it has to have one
    assert (answer.code, answer.out) == (255, b"")
    assert "PTY allocation request failed" in answer.err


@pytest.mark.row("A2")
@pytest.mark.parametrize("before", [("-W", "127.0.0.1:{}"), ("-NoExitOnForwardFailure=yes", "-R", "0:127.0.0.1:{}")])
def test_nothing_is_forwarded(door: Door, before: tuple[str, ...]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as target:
        port = target.getsockname()[1]
        answer = door.ssh(before=tuple(word.format(port) for word in before))
        assert answer.code == 255
        assert "prohibited" in answer.err or "forwarding failed" in answer.err
        assert select.select([target], [], [], 0)[0] == []


@pytest.mark.row("A2")
def test_local_forwarding_ends_at_the_door(door: Door) -> None:
    local = free_port()
    with socket.create_server(("127.0.0.1", 0)) as target:
        forward = f"{local}:127.0.0.1:{target.getsockname()[1]}"
        words = door.command("-v", "-N", "-L", forward, f"{door.login}@127.0.0.1")
        with subprocess.Popen(words, stderr=subprocess.PIPE) as ssh:
            assert ssh.stderr is not None
            assert any(b"Entering interactive session" in line for line in ssh.stderr)
            with socket.create_connection(("127.0.0.1", local)) as caller:
                assert caller.recv(1) == b""
            ssh.kill()
        assert select.select([target], [], [], 0)[0] == []


@pytest.mark.row("A2")
def test_neither_agent_nor_display_comes_in(door: Door) -> None:
    answer = door.ssh("say", "0", before=("-A", "-X"))
    assert answer.code == 0
    door.octod.seen.get(timeout=20)
    if door.kind == "openssh":
        environment = door.octod.peers.get(timeout=20)
        assert b"SSH_ORIGINAL_COMMAND=say 0" in environment
        assert not any(name in environment for name in (b"SSH_AUTH_SOCK", b"DISPLAY", b"SSH_TTY"))


def test_only_a_good_git_protocol_comes_in(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    for given, taken in (("version=1", "version=1"), ("version=2\nX", ""), ("version=9", ""), ("$(id)", "")):
        monkeypatch.setenv("GIT_PROTOCOL", given)
        door.ssh("git-upload-pack 'nosuch'", before=("-o", "SendEnv=GIT_PROTOCOL"))
        assert door.octod.seen.get(timeout=20)[1]["protocol"] == taken


@pytest.mark.row("A2")
@pytest.mark.row("T1")
def test_a_strangers_key_is_refused_and_no_password_is_asked(door: Door) -> None:
    answer = door.ssh("say", "0", key="stranger")
    assert answer.code == 255
    assert answer.err.endswith("Permission denied (publickey).\n")
    assert door.octod.seen.empty()


def test_streams_stay_apart_and_the_exit_code_comes_back(door: Door) -> None:
    for code in (0, 1, 20, 255):
        answer = door.ssh("say", str(code))
        assert (answer.code, answer.out, answer.err) == (code, b"to stdout\n", "to stderr\n")


def test_words_arrive_as_a_shell_would_split_them(door: Door) -> None:
    door.ssh("config:set", "shop/A='1;2\n3'", '"B=$(id) x"', "C=\\ ")
    _, _, arguments = door.octod.seen.get(timeout=20)
    assert arguments == ["config:set", "shop/A=1;2\n3", "B=$(id) x", "C= "]


def test_fifty_megabytes_pass_both_ways_unchanged(door: Door) -> None:
    given = os.urandom(1024 * 1024) * (BIG // (1024 * 1024)) + b"the end"
    answer = door.ssh("cat", given=given)
    assert answer.code == 0
    assert hashlib.sha256(answer.out).digest() == hashlib.sha256(given).digest()


@pytest.mark.row("T4")
def test_octod_hears_that_the_caller_hung_up(door: Door) -> None:
    with subprocess.Popen(door.command(f"{door.login}@127.0.0.1", "wait"), stdout=subprocess.PIPE) as ssh:
        assert ssh.stdout is not None
        assert ssh.stdout.readline() == b"waiting\n"
        ssh.kill()
    assert door.octod.ends.get(timeout=30) == GONE


@pytest.mark.row("T4")
def test_a_push_cut_off_in_the_middle_is_cancelled(door: Door, source: Path) -> None:
    words = door.command(f"{door.login}@127.0.0.1", "git-receive-pack 'web.git'")
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as ssh:
        assert ssh.stdin is not None and ssh.stdout is not None
        assert len(ssh.stdout.read(4)) == 4  # git-receive-pack runs, and waits for the refs
        ssh.kill()
    assert door.octod.ends.get(timeout=30) == GONE


def test_an_octod_that_breaks_off_is_told(door: Door) -> None:
    answer = door.ssh("die")
    assert answer.code == 1
    assert "the connection to octod broke" in answer.err


def test_shell_text_goes_nowhere(door: Door) -> None:
    for words in ("apps; id", "apps | cat", "apps $(id)", "apps `id`", "apps\nid", "apps 'x"):
        answer = door.ssh(words)
        assert (answer.code, answer.out) == (1, b"")
        assert answer.err.startswith(" ! octo: cannot run this: ")
    assert door.octod.seen.empty()
