"""From the start of a sandbox to the first byte of its first command, against the bare tools with the same options."""

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.bare import Bare
from bench.place import STACKS, engine_socket
from bench.table import Goal, Row
from octo.adapters.sandbox_docker import DockerKind
from octo.adapters.sandbox_lxc import LxcKind, usable
from octo.engine import Engine
from octo.sandbox.cgroups import Cgroups
from octo.sandbox.life import SandboxHost, SandboxLife
from octo.settings import CHECKOUT, Settings
from octo.specs import MB, Ended, Limits, SandboxSpec, StackVersion, Streams

USER = Settings.sandbox_uid
APP = "be4c"  # App.id
ECHO = ("/bin/echo", "here")
LIMITS = Limits(Settings.push_memory_mb * MB, 2.0, 256, 60, tmp=256 * MB)
Start = Callable[[], float]  # seconds to the first byte


def rows(folder: Path, instance: str, image: str, rounds: int, tell: Callable[[str], None]) -> Sequence[Row]:
    """folder: where everything goes; its owner removes it. instance: a name of its own, for groups and containers."""
    with contextlib.ExitStack() as stack:
        stack.callback(_sweep, folder, instance)
        starts = {"docker": stack.enter_context(adapter("docker", folder / "docker", instance, image))}
        bare = Bare(folder, instance, image, USER, LIMITS, ECHO)
        starts["docker run"] = bare.docker(folder / "docker" / "repos" / f"{APP}.git")
        why = usable(CHECKOUT)
        if why:
            tell(f"no LXC sandboxes: {why}")
        else:
            starts["lxc"] = stack.enter_context(adapter("lxc", folder / "lxc", instance, image))
            starts["lxc"]()  # now there is a configuration to copy
            for kind, filtered in (("lxc-execute", True), ("lxc-execute, no filter", False)):
                starts[kind] = bare.lxc(folder / "lxc" / "config", filtered=filtered)
        took = timed(starts, rounds)
    return [
        Row(f"sandbox start → first byte, {kind}; against `{against}`", took[kind], took[against], goal, digits=1)
        for kind, against, goal in (
            ("lxc", "lxc-execute", Goal(ratio=1.5)),
            ("lxc", "lxc-execute, no filter", Goal()),  # not the same options: octo's has a filter in force
            ("docker", "docker run", Goal(ratio=1.2)),
        )
        if kind in took
    ]


def timed(starts: dict[str, Start], rounds: int) -> dict[str, list[float]]:
    """Milliseconds, one of each in turn."""
    took: dict[str, list[float]] = {kind: [] for kind in starts}
    for number in range(rounds + 2):
        for kind, start in starts.items():
            seconds = start()
            if number > 1:  # the first ones are the warm-up
                took[kind].append(seconds * 1000)
    return took


@contextlib.contextmanager
def adapter(kind: str, folder: Path, instance: str, image: str) -> Iterator[Start]:
    """One of octo's sandboxes, driven as octod does it."""
    (folder / "sockets").mkdir(mode=0o711, parents=True)
    stack = StackVersion("bench", "octo", image, str((STACKS / "current" / "octo").resolve() / "root"), 0, 0)

    def later(act: Callable[[], object]) -> None:
        for config in host.state.glob("cells/*/config"):
            shutil.copy(config, folder / "config")
        act()

    host = SandboxHost(
        folder / "state",
        folder / "repos",
        CHECKOUT,
        instance=instance,
        user=USER,
        stack=lambda id: stack,
        attach=lambda id, pid: None,
        detach=lambda id: None,
        later=later,
    )
    made = SandboxLife(host, LxcKind(host) if kind == "lxc" else DockerKind(Engine(engine_socket()), host))
    try:
        yield lambda: first_byte(made, folder / "sockets")
    finally:
        made.sweep(())


def _sweep(folder: Path, instance: str) -> None:
    groups = Cgroups(f"{instance}-receive", little=False)
    for name in groups.list():
        groups.group(name).remove()
    groups.remove()
    locks = Path(f"/run/lxc/lock{folder}")  # LXC never removes its folders for them
    shutil.rmtree(locks, ignore_errors=True)
    with contextlib.suppress(OSError):
        os.removedirs(locks.parent)


def first_byte(made: SandboxLife, sockets: Path) -> float:
    id = os.urandom(4).hex()
    (sockets / id).mkdir(mode=0o711)
    reader, writer = os.pipe()
    nowhere = os.open("/dev/null", os.O_RDWR)
    spec = SandboxSpec(id, APP, ECHO, {}, str(sockets / id), LIMITS)
    try:
        with ThreadPoolExecutor(1) as pool:
            start = time.monotonic()
            ending = pool.submit(_run, made, spec, Streams(nowhere, writer, nowhere), writer)
            told = os.read(reader, 100)
            took = time.monotonic() - start
            ended = ending.result()
    finally:
        os.close(reader)
        os.close(nowhere)
    if told != b"here\n" or ended.code:
        raise RuntimeError(f"cannot measure a sandbox: it said {told!r} and ended with {ended.code}")
    return took


def _run(made: SandboxLife, spec: SandboxSpec, streams: Streams, writer: int) -> Ended:
    try:
        return made.run(spec, streams)
    finally:
        os.close(writer)
