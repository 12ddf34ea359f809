"""Shared by the tests that build Dockerfiles: one build engine for all of them, and a look at what is left in it."""

import fcntl
import itertools
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from octo.adapters.builder_docker import DockerBuilder
from octo.buildengine.engine import BuildEngine
from octo.engine import Engine
from octo.net.buildnet import BuildNetwork
from octo.ports import Builder, BuildSpec, Limits
from octo.settings import CHECKOUT
from octo.specs import GB, MB
from tests.build_engine import ENGINE_FOLDER
from tests.contract.docker_parts import APP, ENGINE, STACK, WORKER, need_stack, tar

FOLDER = ENGINE_FOLDER
INSTANCE = f"octo-t{WORKER}-bl"
REPOSITORY = f"{INSTANCE}/{APP}"
# The variables tell this test's unnamed images, and keep BuildKit from showing nothing because it built that last time.
FROM = f"FROM {STACK}\nENV OCTO_TEST={INSTANCE} OCTO_RUN={secrets.token_hex(4)}\n"
SLEEP = f"sleep {1234 + WORKER}"
Files = dict[str, bytes | str]


@contextmanager
def place(instance: str = INSTANCE, folder: Path = FOLDER, **options: Any) -> Iterator[BuildEngine]:
    """The engine of this worker; the last one to leave stops it and takes its network down."""
    need_stack()
    network = BuildNetwork(f"octo-te{WORKER}", f"10.211.{WORKER}.0/24", ("80", "443"))
    defaults = {"disk": 20 * GB, "idle": 600.0, "syscalls": CHECKOUT / "lxc" / "syscalls.toml"}
    engine = BuildEngine(folder, instance=instance, network=network, **(defaults | options))
    FOLDER.mkdir(mode=0o711, parents=True, exist_ok=True)
    with (FOLDER / "tests.lock").open("a") as lock, (FOLDER / "others.lock").open("a") as others:
        fcntl.flock(lock, fcntl.LOCK_EX)
        fcntl.flock(others, fcntl.LOCK_SH)
        network.prepare()
        fcntl.flock(lock, fcntl.LOCK_UN)
        try:
            yield engine
        finally:
            fcntl.flock(lock, fcntl.LOCK_EX)
            engine.clear()
            try:
                fcntl.flock(others, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if not (folder / "engine.json").exists():  # else an octo of another run goes on with it
                    network.clear()
            except BlockingIOError:
                pass


def docker_builder(engine: BuildEngine, mode: str = "classic", **options: Any) -> DockerBuilder:
    return DockerBuilder(
        ENGINE,
        engine,
        instance=engine.cgroups.name.removesuffix("-engine"),
        mode=mode,
        # Debian's engine is older than the first good one: what its BuildKit does wrong is not what is tested.
        **({"bases": ["octo/stack"], "oldest": (20,)} | options),
    )


@dataclass
class Bench:
    """A builder, and what one build of it said."""

    builder: Builder
    place: BuildEngine | None = None
    said: list[bytes] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=itertools.count)

    @property
    def output(self) -> bytes:
        return b"".join(self.said)

    @property
    def engine(self) -> Engine:
        assert self.place
        return self.place.engine

    def build(
        self,
        files: Files | str,
        *,
        context: Iterable[bytes] | None = None,
        app: str = APP,
        seconds: float = 60,
        memory: int = 256 * MB,
        disk: int = GB,
        entries: int = 300_000,
        pids: int = 100,
        most: int = 10 * MB,
        args: Mapping[str, str] | None = None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> str:
        """Build these files, or a Dockerfile of these lines on top of the stack."""
        self.said.clear()
        files = {"Dockerfile": (FROM + files).encode()} if isinstance(files, str) else files
        limits = Limits(memory, 1.0, pids, seconds, disk=disk, files=entries, output=most)
        number = next(self.numbers)
        spec = BuildSpec(f"t{number}-{WORKER}", app, f"{INSTANCE}/{app}:b{number}", limits, args or {})
        return self.builder.build(spec, context or [tar(files)], self.said.append, cancelled)


def images(engine: Engine = ENGINE) -> set[str]:
    """Names of this test's images, and the ids of those without one."""
    found = engine.get("images", "json")
    names = {t for i in found for t in i.get("RepoTags") or () if INSTANCE in t}
    bare = {i["Id"] for i in found if i.get("RepoTags") in (None, [], ["<none>:<none>"])}
    return names | {id for id in bare if marked(engine, id)}


def marked(engine: Engine, id: str) -> bool:
    image = engine.find("images", id, "json") or {"Config": {}}
    return any(v.startswith(f"OCTO_TEST={INSTANCE}") for v in image["Config"].get("Env") or ())


def clear(names: Iterable[str], engine: Engine = ENGINE) -> None:
    for name in names:
        engine.delete("images", name, query={"force": True})


@contextmanager
def bench(engine: BuildEngine, mode: str = "classic", **options: Any) -> Iterator[Bench]:
    """A builder on the engine, for the body of a `with`; nothing of it may be left on either engine."""
    with engine.use():
        before = images(), images(engine.engine)
        builder = docker_builder(engine, mode, **options)
        try:
            yield Bench(builder, engine)
        finally:
            clear(n for n in images() - before[0] if n.startswith(f"{INSTANCE}/"))
            builder.sweep()
        assert (images(), images(engine.engine)) == before
        assert engine.cgroups.list() in ([], ["engine"])
