"""What the sandbox tests start from: each kind of sandbox with a folder of its own, and what is left afterwards."""

import os
import select
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from octo.adapters.sandbox_docker import DockerKind
from octo.adapters.sandbox_lxc import LxcKind
from octo.engine import Engine
from octo.net.buildnet import BuildNetwork
from octo.ports import Ended, Limits, Sandbox, SandboxSpec, StackVersion, Streams
from octo.sandbox.cgroups import Cgroups
from octo.sandbox.life import SandboxHost, SandboxLife
from tests.build_engine import STACKS

CHECKOUT = Path(__file__).resolve().parents[2]
CGROUPS = Path("/sys/fs/cgroup")
TREE = str((STACKS / "current" / "octo").resolve() / "root")
STACK = StackVersion("octo-test", "octo", "octo/stack:latest", TREE, 0, 0)
UID = 59204
APP = "a0a0"
MB = 1024 * 1024
LIMITS = Limits(256 * MB, 1.0, 64, 60, disk=32 * MB, files=2000, tmp=32 * MB)
RESOLV = "nameserver 192.0.2.53\n"


@dataclass
class Ran:
    ended: Ended
    out: str
    err: str

    @property
    def said(self) -> str:
        return self.out + self.err


@dataclass
class Bench:
    """One kind of sandbox. attached: what `attach` and `detach` were called with. network: what they do, if any."""

    kind: str
    folder: Path
    instance: str
    stack: StackVersion = STACK
    attached: list[tuple[str, int]] = field(default_factory=list)
    detached: list[str] = field(default_factory=list)
    network: BuildNetwork | None = None

    def __post_init__(self) -> None:
        self.sandbox = self.made()

    def made(self, stack: StackVersion = STACK) -> Sandbox:
        """Another sandbox over the same folders: an octod that was started again."""
        host = SandboxHost(
            self.folder / "state",
            self.folder / "repos",
            CHECKOUT,
            instance=self.instance,
            user=UID,
            stack=lambda id: stack,
            attach=self._attach,
            detach=self._detach,
            later=lambda act: act() and None,
            resolv=RESOLV,
        )
        lxc = self.kind == "lxc"
        return SandboxLife(host, LxcKind(host) if lxc else DockerKind(Engine(Path("/var/run/docker.sock")), host))

    def _attach(self, id: str, pid: int) -> None:
        self.attached.append((id, pid))
        if self.network:
            self.network.attach(id, pid)

    def _detach(self, id: str) -> None:
        self.detached.append(id)
        if self.network:
            self.network.detach(id)

    def spec(
        self,
        *argv: str,
        id: str = "b000",
        build: bool = False,
        limits: Limits = LIMITS,
        env: Mapping[str, str] | None = None,
    ) -> SandboxSpec:
        sockets = self.folder / "sockets" / id
        sockets.parent.mkdir(mode=0o700, exist_ok=True)  # closed to everybody else, as octod's are
        sockets.mkdir(mode=0o711, exist_ok=True)
        return SandboxSpec(id, APP, argv, env or {}, str(sockets), limits, build)

    def run(self, spec: SandboxSpec, given: bytes = b"") -> Ran:
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            reader, writer = os.pipe()
            os.write(writer, given)
            os.close(writer)
            try:
                ended = self.sandbox.run(spec, Streams(reader, out.fileno(), err.fileno()))
            finally:
                os.close(reader)
            out.seek(0)
            err.seek(0)
            return Ran(ended, out.read().decode("utf-8", "replace"), err.read().decode("utf-8", "replace"))

    def shell(self, script: str, *, build: bool = False, limits: Limits = LIMITS) -> Ran:
        return self.run(self.spec("/bin/sh", "-c", script, build=build, limits=limits))

    def python(self, script: str, *, build: bool = False, limits: Limits = LIMITS) -> Ran:
        return self.run(self.spec("/usr/bin/python3", "-c", script, build=build, limits=limits))

    @property
    def repository(self) -> Path:
        return self.folder / "repos" / f"{APP}.git"

    def left(self) -> list[str]:
        """Every trace on the host of sandboxes that have ended; none is right."""
        found = [f"file {f}" for f in self.folder.glob("state/cells/*")]
        found += [f"socket {f}" for f in self.folder.glob("sockets/*/*")]
        found += [f"group {g}" for parent in self.parents() for g in parent.glob("*/")]
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
        found += [f"mount {m}" for m in mounts if str(self.folder) in m]
        found += [f"loop device {d}" for d in self._devices()]
        found += [f"process {p}" for p in commands() if self.instance in p or str(self.folder) in p]
        return found + [f"container {c}" for c in self.containers()]

    def parents(self) -> Sequence[Path]:
        """The groups above those of its sandboxes, in every hierarchy."""
        names = [f"{above}{self.instance}-{kind}" for above in ("*/", "") for kind in ("build", "receive")]
        return [folder for name in names for folder in CGROUPS.glob(name)]

    def _devices(self) -> list[str]:
        """Loop devices over the folder. The kernel frees one a moment after the last mount namespace that knew it."""
        for _ in range(1000):
            found = []
            for file in Path("/sys/block").glob("loop*/loop/backing_file"):
                with suppress(OSError):
                    found += [str(file)] if str(self.folder) in file.read_text() else []
            if not found:
                break
            select.select([], [], [], 0.01)
        return found

    def containers(self) -> Sequence[str]:
        argv = ["docker", "ps", "-aq", "--filter", f"label=octo.instance={self.instance}"]
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()


def commands() -> Iterator[str]:
    """The command line of every process on the host, as ps would show it."""
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            yield file.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")


@contextmanager
def bench(kind: str, network: BuildNetwork | None = None) -> Iterator[Bench]:
    folder = Path(tempfile.mkdtemp(prefix="octo-sandbox-", dir="/tmp"))
    folder.chmod(0o755)
    made = Bench(kind, folder, f"octo-t-{folder.name[-8:].lower().replace('_', 'x')}", network=network)
    try:
        yield made
    finally:
        made.sandbox.sweep(())
        left = made.left()
        for parent in made.parents():
            Cgroups(parent.name).remove()
        shutil.rmtree(folder)
        shutil.rmtree(f"/run/lxc/lock{folder}", ignore_errors=True)  # LXC's folder for its locks, empty
    assert not left


@dataclass
class Running:
    """A sandbox under `run` in a thread of its own, after it said its first words."""

    bench: Bench
    spec: SandboxSpec
    words: bytes = b""
    ends: list[Ended] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._reader, self._writer = os.pipe()
        self._nowhere = os.open("/dev/null", os.O_RDWR)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        self.words = os.read(self._reader, 1000)
        return self

    def __exit__(self, *_: object) -> None:
        self.bench.sandbox.stop(self.spec.id)
        self.wait()
        for number in (self._reader, self._nowhere):
            os.close(number)

    def wait(self) -> Ended:
        self._thread.join()
        return self.ends[0]

    def _run(self) -> None:
        try:
            streams = Streams(self._nowhere, self._writer, self._writer)
            self.ends.append(self.bench.sandbox.run(self.spec, streams))
        finally:
            os.close(self._writer)


def with_limits(**changes: float) -> Limits:
    return replace(LIMITS, **changes)  # type: ignore[arg-type]
