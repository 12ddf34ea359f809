"""Stacks' promises, kept by the fake and by the real ones with a tree of a few files; the engine is real."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from octo.errors import BuildFailed, Conflict, NotFound
from octo.ports import Stacks, StackVersion
from tests.contract.stack_parts import tiny_stacks
from tests.fakes_stacks import FakeStacks


@dataclass
class World:
    stacks: Stacks
    name: str
    used: set[str]
    broken: object  # whose `failure` makes builds fail

    def build(self, **recipe: str) -> StackVersion:
        return self.stacks.build(self.name, recipe, lambda data: None)

    def mine(self) -> list[str]:
        return [v.id for v in self.stacks.list() if v.name == self.name]


@contextmanager
def faked(folder: Path) -> Iterator[World]:
    used: set[str] = set()
    stacks = FakeStacks(used=lambda: used)
    yield World(stacks, "media", used, stacks)


@contextmanager
def real(folder: Path) -> Iterator[World]:
    with tiny_stacks(folder) as place:
        yield World(place.stacks, place.name, place.used, place.maker)


@pytest.fixture(params=[faked, real], ids=["fake", "debootstrap"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    with request.param(tmp_path / "stacks") as made:
        yield made


def test_before_the_first_build_there_is_none(world: World) -> None:
    assert world.mine() == []
    for name in (world.name, "", "../x", f"{world.name}-0123456789ab"):
        with pytest.raises(NotFound):
            world.stacks.current(name)


def test_a_built_stack_is_the_current_one(world: World) -> None:
    built = world.build(packages="ffmpeg")
    assert built == world.stacks.current(world.name)
    assert (built.name, built.current, built.recipe["packages"]) == (world.name, True, "ffmpeg")
    assert built.id.startswith(f"{world.name}-")
    assert built.size > 0
    assert world.mine() == [built.id]


def test_its_steps_are_told(world: World) -> None:
    told: list[bytes] = []
    world.stacks.build(world.name, {}, told.append)
    assert told[0] == b"-----> Bootstrapping\n"


def test_the_same_content_is_the_same_version(world: World) -> None:
    first = world.build(packages="ffmpeg")
    assert world.build(packages="ffmpeg") == first
    assert world.mine() == [first.id]


def test_what_is_not_given_is_as_it_was_before(world: World) -> None:
    first = world.build(packages="ffmpeg")
    assert world.build() == first
    assert world.build(suite="sid").recipe["packages"] == "ffmpeg"
    assert world.build(packages="").recipe["packages"] == ""


def test_an_old_version_that_nothing_uses_goes_with_the_next_build(world: World) -> None:
    old = world.build(packages="one")
    new = world.build(packages="two")
    assert world.mine() == [new.id]
    with pytest.raises(NotFound):
        world.stacks.remove(old.id)


@pytest.mark.row("C5")
def test_an_old_version_stays_while_a_release_uses_it(world: World) -> None:
    old = world.build(packages="one")
    world.used.add(old.id)
    new = world.build(packages="two")
    assert world.mine() == [new.id, old.id]
    assert [v.current for v in world.stacks.list() if v.name == world.name] == [True, False]
    assert world.stacks.sweep() == []
    with pytest.raises(Conflict):
        world.stacks.remove(old.id)
    world.used.clear()
    assert world.stacks.sweep() == [old.id]
    assert world.mine() == [new.id]


def test_a_version_that_comes_back_is_the_current_one_again(world: World) -> None:
    first = world.build(packages="one")
    world.used.add(first.id)
    world.build(packages="two")
    assert world.build(packages="one") == first
    assert world.stacks.current(world.name).id == first.id


def test_a_build_that_fails_leaves_all_as_it_was(world: World) -> None:
    before = world.build(packages="one")
    world.broken.failure = "the mirror is away"  # type: ignore[attr-defined]
    with pytest.raises(BuildFailed, match="the mirror is away"):
        world.build(packages="two")
    assert [v for v in world.stacks.list() if v.name == world.name] == [before]


def test_stacks_do_not_know_each_other(world: World) -> None:
    mine = world.build()
    other = world.stacks.build(f"{world.name}-b", {"packages": "one"}, lambda data: None)
    assert world.stacks.current(world.name) == mine
    assert world.stacks.current(f"{world.name}-b") == other


def test_a_removed_version_is_gone(world: World) -> None:
    built = world.build()
    world.stacks.remove(built.id)
    assert world.mine() == []
    with pytest.raises(NotFound):
        world.stacks.current(world.name)
    with pytest.raises(NotFound):
        world.stacks.remove(built.id)


def test_the_default_stack_is_not_removed(world: World) -> None:
    default = getattr(world.stacks, "default", f"{world.name}-default")
    current = world.stacks.build(default, {"packages": "one"}, lambda data: None)
    with pytest.raises(Conflict):
        world.stacks.remove(current.id)
    assert world.stacks.current(default) == current
