"""The Sandbox's promises, kept by the fake and by Docker's."""

import os
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from octo.adapters.sandbox_docker import DockerSandbox, tidy
from octo.engine import Engine
from octo.errors import Unavailable
from octo.ports import Limits, SandboxSpec, Streams
from tests.fakes import FakeSandbox

CHECKOUT = Path(__file__).resolve().parents[2]
UID = 59204
LIMITS = Limits(256 * 1024 * 1024, 1.0, 64, 60)


@dataclass
class Bench:
    """A Docker sandbox with a folder of its own, and what a run of it gave."""

    folder: Path
    instance: str
    later: list[threading.Thread] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.sandbox = self.made()

    def made(self, image: str = "octo/stack:latest") -> DockerSandbox:
        return DockerSandbox(
            Engine(Path("/var/run/docker.sock")),
            instance=self.instance,
            image=image,
            user=UID,
            repositories=self.folder / "repos",
            guest=CHECKOUT / "octo" / "guest",
            later=lambda act: act() and None,
        )

    def spec(self, id: str, *argv: str, limits: Limits = LIMITS, env: dict[str, str] | None = None) -> SandboxSpec:
        sockets = self.folder / id
        sockets.mkdir(mode=0o711)
        return SandboxSpec(id, "a0a0", argv, env or {}, str(sockets), limits)

    def run(self, spec: SandboxSpec, given: bytes = b"") -> tuple[int, bytes, bytes]:
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            reader, writer = os.pipe()
            os.write(writer, given)
            os.close(writer)
            code = self.sandbox.run(spec, Streams(reader, out.fileno(), err.fileno()))
            os.close(reader)
            out.seek(0)
            err.seek(0)
            return code, out.read(), err.read()

    def shell(self, id: str, script: str, limits: Limits = LIMITS) -> tuple[int, str]:
        code, out, err = self.run(self.spec(id, "/bin/sh", "-c", script, limits=limits))
        return code, (out + err).decode()

    def containers(self) -> Sequence[str]:
        argv = ["docker", "ps", "-aq", "--filter", f"label=octo.instance={self.instance}"]
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()


@pytest.fixture
def docker() -> Iterator[Bench]:
    folder = Path(tempfile.mkdtemp(prefix="octo-sandbox-", dir="/tmp"))
    folder.chmod(0o755)
    made = Bench(folder, f"octo-t-{folder.name[-8:].lower().replace('_', 'x')}")
    yield made
    made.sandbox.sweep(())
    assert not made.containers()
    shutil.rmtree(folder)


def test_the_fake_runs_stops_and_sweeps() -> None:
    seen: list[str] = []
    sandbox = FakeSandbox(lambda spec, streams: seen.append(spec.id) or 3)  # type: ignore[func-returns-value]
    sandbox.left = {"b001"}
    assert sandbox.run(SandboxSpec("b000", "a", (), {}, "", LIMITS), Streams(0, 1, 2)) == 3
    assert sandbox.sweep(()) == ["b001"] and sandbox.sweep(()) == [] and seen == ["b000"]


def test_streams_and_exit_code_are_the_programs_own(docker: Bench) -> None:
    spec = docker.spec("b000", "/bin/sh", "-c", "cat; echo oops >&2; exit 7")
    assert docker.run(spec, b"in\0out\n") == (7, b"in\0out\n", b"oops\n")
    assert not docker.containers()


@pytest.mark.row("C9")
def test_the_environment_is_what_was_given(docker: Bench) -> None:
    _, out, _ = docker.run(docker.spec("b000", "/usr/bin/env", env={"REQUEST_ID": "x y"}))
    names = {line.partition(b"=")[0] for line in out.splitlines()}
    stack = subprocess.run(
        ["docker", "image", "inspect", "-f", "{{range .Config.Env}}{{println .}}{{end}}", "octo/stack"],
        capture_output=True,
        check=True,
    ).stdout
    usual = {line.partition(b"=")[0] for line in stack.split()} | {b"PATH", b"HOME", b"HOSTNAME"}
    assert names - usual == {b"REQUEST_ID"} and b"REQUEST_ID=x y\n" in out


@pytest.mark.row("C2")
@pytest.mark.row("C3")
@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("id -u", str(UID)),
        ("grep CapEff /proc/self/status", "0000000000000000"),
        ("grep NoNewPrivs /proc/self/status", "NoNewPrivs:\t1"),
        ("touch /x", "Read-only file system"),
        ("touch /usr/x", "Read-only file system"),
        ("touch /octo/x", "Read-only file system"),
        ("touch /run/octo/x", "Read-only file system"),
        ("cp /bin/true /tmp/t && chmod +x /tmp/t && /tmp/t", "Permission denied"),
        ("cat /etc/shadow", "Permission denied"),
        ("ls /sys/class/net | sort | tr '\\n' ' '", "lo"),
        ("ls /var/run/docker.sock", "No such file"),
        ("ls /dev/shm 2>&1; mknod /tmp/n b 8 0", "mknod"),
        ("touch /app/repo.git/y && echo written", "written"),
        ("head -c 300000000 /dev/zero > /tmp/x", "No space left"),
    ],
)
def test_nothing_but_the_repository_and_tmp_can_be_touched(docker: Bench, script: str, said: str) -> None:
    limits = Limits(512 * 1024 * 1024, 1.0, 64, 60)
    assert said in docker.shell("b000", script, limits)[1]


@pytest.mark.row("C4")
def test_memory_and_processes_are_limited(docker: Bench) -> None:
    limits = Limits(64 * 1024 * 1024, 1.0, 32, 60)
    hog = "python3 -c 'x = bytearray(200 * 1024 * 1024)'"
    assert docker.shell("b000", hog, limits)[0] == 137
    assert "fork" in docker.shell("b001", "for i in $(seq 100); do sleep 9 & done", limits)[1].lower()


@pytest.mark.row("C11")
def test_the_wall_clock_ends_it(docker: Bench) -> None:
    code, _ = docker.shell("b000", "exec sleep inf", Limits(64 * 1024 * 1024, 1.0, 32, 1))
    assert code == 124 and not docker.containers()


def test_a_stop_kills_all_that_runs_in_it(docker: Bench) -> None:
    reader, writer = os.pipe()
    nowhere = os.open("/dev/null", os.O_RDWR)
    spec = docker.spec("b000", "/bin/sh", "-c", "setsid sleep 12345 & echo up; exec sleep inf")
    codes: list[int] = []
    runner = threading.Thread(target=lambda: codes.append(docker.sandbox.run(spec, Streams(nowhere, writer, nowhere))))
    runner.start()
    assert os.read(reader, 10) == b"up\n"
    docker.sandbox.stop("b000")
    docker.sandbox.stop("b000")
    runner.join()
    for number in (reader, writer, nowhere):
        os.close(number)
    assert codes == [137] and not docker.containers()
    assert "sleep 12345" not in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout


def test_only_its_own_processes_belong_to_a_sandbox(docker: Bench) -> None:
    assert not docker.sandbox.owns("b000", os.getpid())


def test_a_sweep_removes_what_an_octod_left_and_keeps_what_it_is_told(docker: Bench) -> None:
    for id in ("b000", "b001"):
        labels = {"octo.instance": docker.instance, "octo.sandbox": id, "octo.app": "a0a0"}
        words = [w for k, v in labels.items() for w in ("--label", f"{k}={v}")]
        subprocess.run(
            ["docker", "run", "-d", "--name", f"{docker.instance}-rx-{id}", *words, "octo/stack", "sleep", "inf"],
            capture_output=True,
            check=True,
        )
    assert docker.sandbox.sweep(("b001",)) == ["b000"]
    assert docker.sandbox.sweep(()) == ["b001"]


def test_a_container_that_only_claims_to_be_one_is_left_alone(docker: Bench) -> None:
    words = ["--label", f"octo.instance={docker.instance}", "--label", "octo.sandbox=b007"]
    made = subprocess.run(
        ["docker", "run", "-d", *words, "octo/stack", "sleep", "inf"], capture_output=True, text=True, check=True
    ).stdout.strip()
    try:
        assert docker.sandbox.sweep(()) == []
    finally:
        subprocess.run(["docker", "rm", "-f", made], capture_output=True, check=True)


def test_a_missing_stack_is_told_with_what_to_do(docker: Bench) -> None:
    with pytest.raises(Unavailable) as refused:
        docker.made("octo/no-such-stack").run(docker.spec("b000", "/bin/true"), Streams(0, 1, 2))
    assert "./setup stack" in refused.value.hint


def test_a_repository_is_forgotten_whole_and_tidied_without_following_links(docker: Bench, tmp_path: Path) -> None:
    docker.shell("b000", "mkdir -p /app/repo.git/objects/tmp_objdir-x/y; touch /app/repo.git/refs.lock")
    docker.shell("b001", f"ln -s {tmp_path} /app/repo.git/link")
    (tmp_path / "other.lock").touch()
    repository = docker.folder / "repos" / "a0a0.git"
    tidy(repository)
    assert sorted(p.name for p in repository.iterdir()) == ["link", "objects"] and (tmp_path / "other.lock").exists()
    docker.sandbox.forget("a0a0")
    assert not repository.exists() and (tmp_path / "other.lock").exists()


def test_no_id_leads_out_of_the_folder(docker: Bench) -> None:
    for id in ("../x", "a/b", "", "UPPER", "a" * 65):
        with pytest.raises(ValueError, match="BUG"):
            docker.sandbox.forget(id)


def test_who_calls_its_socket_from_outside_gets_no_streams(docker: Bench) -> None:
    """The door of a sandbox looks at the caller's cgroup before it hands the descriptors over."""
    spec = docker.spec("b000", "/bin/sh", "-c", "exec sleep inf", limits=Limits(64 * 1024 * 1024, 1.0, 32, 20))
    door = socket.socket(socket.AF_UNIX)
    codes: list[int] = []
    nowhere = os.open("/dev/null", os.O_RDWR)
    path = Path(spec.socket_dir, "streams.sock")
    made = threading.Event()
    real = docker.sandbox._start

    def start(given: SandboxSpec) -> None:
        door.connect(str(path))
        made.set()
        real(given)

    docker.sandbox._start = start  # type: ignore[method-assign]
    runner = threading.Thread(target=lambda: codes.append(docker.sandbox.run(spec, Streams(nowhere, nowhere, nowhere))))
    runner.start()
    made.wait()
    assert door.recvmsg(10, socket.CMSG_SPACE(12))[:2] == (b"", [])
    runner.join()
    door.close()
    os.close(nowhere)
    assert codes == [137]
