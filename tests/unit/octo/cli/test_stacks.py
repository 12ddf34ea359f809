"""stack:list, stack:build, stack:remove: the commands, and the real API behind them."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from octo.cli.client import Api
from octo.daemon.access import Access, Actor
from octo.daemon.routes import application
from octo.model import UserName
from tests.crash.world import World
from tests.fakes_stacks import FakeStacks
from tests.serving import serving

Run = Callable[..., tuple[int, str, str]]


@dataclass
class Stage:
    stacks: FakeStacks
    used: set[str]
    path: Path
    token: str


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    used: set[str] = set()
    stacks, world = FakeStacks(used=lambda: used), World()
    octo = SimpleNamespace(
        catalog=world.catalog,
        ports=SimpleNamespace(stacks=stacks),
        settings=SimpleNamespace(stack="octo"),
        builds=SimpleNamespace(warm_stack=lambda: None),
    )
    access, path = Access(world.catalog), tmp_path / "api.sock"
    with serving({path: application(octo, access, {})}):
        yield Stage(stacks, used, path, access.grant(Actor(UserName("ann"))))


def test_a_build_tells_its_steps_and_then_its_version(run: Run, stage: Stage) -> None:
    code, out, err = run("stack:build", "media", "--suite", "sid", "--packages", "ffmpeg,jq")
    made = stage.stacks.current("media")
    assert (code, err) == (0, "")
    assert out == f"-----> Bootstrapping\n=====> media is {made.id}: sid, 1000\n"
    assert made.recipe == {"suite": "sid", "packages": "ffmpeg,jq"}


def test_without_a_name_it_is_the_default_stack_and_what_is_not_given_stays(run: Run, stage: Stage) -> None:
    run("stack:build", "--packages", "ffmpeg")
    run("stack:build", "--suite", "sid")
    assert stage.stacks.current("octo").recipe == {"packages": "ffmpeg", "suite": "sid"}
    run("stack:build", "--packages", "")
    assert stage.stacks.current("octo").recipe == {"packages": "", "suite": "sid"}


def test_a_build_that_fails_says_why(run: Run, stage: Stage) -> None:
    stage.stacks.failure = "the mirror is away"
    code, _, err = run("stack:build")
    assert (code, err) == (1, " !     cannot make the stack: the mirror is away\n")


def test_the_list_has_old_versions_too_and_heroku_sees_the_current_ones(run: Run, stage: Stage) -> None:
    stage.used.add("octo-1")
    run("stack:build")
    new = stage.stacks.current("octo")
    _, out, _ = run("stack")
    lines = [line.split() for line in out.splitlines()]
    assert [line[:4] for line in lines[1:]] == [["octo", "*", new.id, "current"], ["octo", "octo-1", "kept", "1000"]]
    assert [s["name"] for s in Api(stage.path, "").get("/stacks")] == ["octo"]


def test_a_mirrors_password_is_kept_to_the_server(run: Run, stage: Stage) -> None:
    run("stack:build", "--mirror", "http://ann:secret@mirror.example/debian")
    code, out, _ = run("stack:list", "--format", "json")
    assert json.loads(out)[0]["mirror"] == "http://mirror.example/debian"
    assert (code, "secret" in out) == (0, False)


def test_a_version_is_removed_unless_it_is_needed(run: Run, stage: Stage) -> None:
    media = stage.stacks.build("media", {}, lambda data: None)
    stage.used.add(media.id)
    code, _, err = run("stack:remove", media.id)
    assert (code, err.startswith(f' !     cannot remove "{media.id}"')) == (1, True)
    stage.used.clear()
    assert run("stack:remove", media.id)[:2] == (0, f"Removed {media.id}.\n")
    assert run("stack:remove", media.id)[0] == 1
    assert run("stack:remove", "octo")[0] == 2
    assert [v.name for v in stage.stacks.list()] == ["octo"]


@pytest.mark.parametrize("words", [("stack:build",), ("stack:remove", "octo-1")])
def test_only_the_operator_makes_and_removes_them(run: Run, stage: Stage, words: tuple[str, ...]) -> None:
    before = dict(stage.stacks.versions)
    code, _, err = run(*words, user=True)
    assert (code, "not an authorized user" in err) == (1, True)
    assert stage.stacks.versions == before
    assert run("stack:list", user=True)[0] == 0
