"""What several files of contract tests start from: a command line, a door."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from octo.buildengine.engine import BuildEngine
from octo.daemon.command import Commands
from tests.contract import engine_parts
from tests.contract.command_parts import COMMAND_UID, Octo
from tests.contract.doors_parts import Door, StubOctod, builtin, make_key, openssh, run
from tests.contract.net_parts import World
from tests.unit.octo.cli.stub_api import State


@pytest.fixture(scope="module")
def warm() -> Iterator[tuple[Commands, Path]]:
    """One warm process for all tests here; the API's state is each test's own."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        commands = Commands(Path(folder) / "api.sock", COMMAND_UID)
        commands.start()
        try:
            yield commands, Path(folder)
        finally:
            commands.stop()


@pytest.fixture
def octo(warm: tuple[Commands, Path]) -> Iterator[Octo]:
    commands, folder = warm
    state = State(folder)
    for path in (state.path, state.attach):
        path.unlink(missing_ok=True)
    state.token = "t0ken"
    with state.serve():
        yield Octo(state, commands)


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


@pytest.fixture
def fresh(door: Door) -> None:
    """What octod saw in the test before is forgotten."""
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


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A host and what it is connected to; the test itself is on that host."""
    with contextlib.ExitStack() as stack:
        world = World(tmp_path, stack)
        stack.enter_context(world.host.inside())
        yield world


@pytest.fixture(scope="module")
def engine() -> Iterator[BuildEngine]:
    """The engine for Dockerfiles, which takes most of a second to start: one for each file of tests."""
    with engine_parts.place() as made:
        yield made


@pytest.fixture
def bench(engine: BuildEngine) -> Iterator[engine_parts.Bench]:
    """A builder on it, with the classic builder."""
    with engine_parts.bench(engine) as made:
        yield made
