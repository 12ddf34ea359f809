"""disk, limits and build:cache:purge: the commands, the real API behind them, and what it changes."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from octo.daemon.access import Access, Actor
from octo.daemon.routes import application
from octo.disk import Room, Taken
from octo.model import App, UserName
from octo.pipeline.account import Account
from octo.specs import GB, MB, Limits
from tests.crash.world import World
from tests.fakes import FakeDisks
from tests.serving import serving

Run = Callable[..., tuple[int, str, str]]


@dataclass
class Stage:
    world: World
    disks: FakeDisks
    path: Path
    token: str

    @property
    def app(self) -> App:
        return self.world.there()


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """The API over stand-ins, on a real socket; an app called shop with a cache of 5 bytes."""
    world, disks = World(), FakeDisks()
    world.blobs.put(f"caches/{world.create().id}.tgz", [b"12345"])
    stacks = SimpleNamespace(list=list)
    parts = SimpleNamespace(blobs=world.blobs, stacks=stacks)
    octo = SimpleNamespace(
        catalog=world.catalog,
        changes=world.changes,
        builds=SimpleNamespace(rules=SimpleNamespace(limits=Limits(GB, 1.0, 512, 900), slug=200 * MB)),
        account=Account(parts, world.catalog, disks, instance="octo", least=1024 * MB),
    )
    access, path = Access(world.catalog), tmp_path / "api.sock"
    with serving({path: application(octo, access, {})}):
        yield Stage(world, disks, path, access.grant(Actor(UserName("ann"))))


# --- limits ---------------------------------------------------------------------------------------------------------


@pytest.mark.row("C4")
def test_limits_are_shown_with_who_set_them(run: Run) -> None:
    code, out, _ = run("limits", "shop")
    rows = {line.split()[0]: line for line in out.splitlines()}
    assert code == 0 and "1G" in rows["memory"] and "all apps" in rows["memory"] and "200M" in rows["slug"]
    assert list(rows)[1:6] == ["memory", "cpus", "pids", "seconds", "disk"]


@pytest.mark.row("C4")
def test_the_operator_sets_and_unsets_limits(run: Run, stage: Stage) -> None:
    code, out, err = run("limits:set", "shop", "memory=2G", "cpus=2", "seconds=30m", "slug=500M")
    assert (code, err) == (0, "") and "2G" in out and "this app" in out
    assert stage.app.limits == {"memory": 2 * GB, "cpus": 2.0, "seconds": 1800.0, "slug": 500 * MB}
    assert run("limits:unset", "shop", "cpus", "slug")[0] == 0
    assert stage.app.limits == {"memory": 2 * GB, "seconds": 1800.0}
    found = json.loads(run("limits", "-a", "shop", "--format", "json")[1])
    assert [(f["name"], f["value"]) for f in found if f["own"]] == [("memory", 2 * GB), ("seconds", 1800.0)]


def test_nobody_but_the_operator_sets_limits(run: Run, stage: Stage) -> None:
    code, _, err = run("limits:set", "shop", "memory=64G", user=True)
    assert code == 1 and "only the operator may" in err and stage.app.limits == {}
    assert run("limits", "shop", user=True)[0] == 0


@pytest.mark.parametrize("word", ["memory=2", "memory", "swap=2G", "memory=1e9G", "cpus=-1"])
def test_limits_that_make_no_sense_change_nothing(run: Run, stage: Stage, word: str) -> None:
    code, _, err = run("limits:set", "-a", "shop", "pids=600", word)
    assert code == 2 and err.startswith(" !") and stage.app.limits == {}


def test_limits_stay_when_the_app_is_deployed_and_renamed(run: Run, stage: Stage) -> None:
    run("limits:set", "shop", "memory=2G")
    stage.world.push("c1")
    assert stage.app.limits == {"memory": 2 * GB} and stage.app.live == 1


def test_limits_wait_for_a_push_under_way_and_are_not_lost_in_it(run: Run, stage: Stage) -> None:
    with stage.world.catalog.lock(stage.app, holder="a push by ann"):
        code, _, err = run("limits:set", "shop", "memory=2G")
    assert code == 1 and "a push by ann is at it" in err  # here a change waits for 0 s


# --- disk -----------------------------------------------------------------------------------------------------------


def test_disk_explains_where_the_room_went(run: Run, stage: Stage) -> None:
    stage.disks.repositories[stage.app.id] = Taken(30 * MB)
    stage.disks.engine = Taken(3 * GB)
    code, out, _ = run("disk")
    lines = [line.split() for line in out.splitlines()]
    assert code == 0
    assert lines[0] == ["APP", "IMAGES", "SLUGS", "CACHE", "REPOSITORY", "BUILDS", "TOTAL"]
    assert lines[1] == ["shop", "0", "0", "5", "30", "MB", "0", "30", "MB"]
    assert "build engine  3.00 GB" in out and "grows to 20.0 GB at most" in out
    assert "/var/lib/octo: 50 GB of 100 GB free; a push needs 1.00 GB." in out
    assert "together      3.03 GB" in out


def test_disk_says_that_pushes_are_refused(run: Run, stage: Stage) -> None:
    stage.disks.free = [Room("/var/lib/docker", 100 * GB, 812 * MB)]
    assert "Pushes are refused: 812 MB are free on /var/lib/docker, 1024 MB are needed." in run("disk")[1]


def test_disk_adds_up_as_json(run: Run) -> None:
    found = json.loads(run("disk", "--format", "json")[1])
    assert found["total"] == sum(part["bytes"] for part in found["octo"])
    assert found["apps"][0]["total"] == 5 == found["octo"][0]["bytes"]


def test_disk_of_one_app_is_for_its_pushers_the_whole_for_the_operator(run: Run) -> None:
    code, out, _ = run("disk", "shop", user=True)
    assert code == 0 and "cache:" in out and out.splitlines()[-1].split() == ["total:", "5"]
    assert run("disk", user=True)[0] == 1


# --- the build cache ------------------------------------------------------------------------------------------------


@pytest.mark.row("E5")
@pytest.mark.parametrize("command", ["build:cache:purge", "builds:cache:purge"])
def test_a_purge_empties_the_build_cache_of_one_app(run: Run, stage: Stage, command: str) -> None:
    stage.world.blobs.put("caches/0123456789ab.tgz", [b"x"])
    assert run(command, "shop", user=True) == (0, "Emptied the build cache of shop: 5.\n", "")
    assert stage.world.blobs.list("caches/") == ["caches/0123456789ab.tgz"]
    assert stage.world.ports.builder.forgotten == [stage.app.id], "and what a Dockerfile left"
    assert run(command, "shop") == (0, "Emptied the build cache of shop.\n", "")


# --- an app that goes, a build that goes ---


def test_an_app_that_is_destroyed_takes_its_blobs_along(stage: Stage) -> None:
    world, app = stage.world, stage.app
    world.push("c1")
    build = world.catalog.builds(app)[0]
    for name in (f"builds/{app.id}/{build.id}", f"slugs/{build.id}.tgz", f"repos/{app.id}.bundle", "slugs/other.tgz"):
        world.blobs.put(name, [b"x"])
    world.changes.destroy(world.there(), user=None)
    assert world.blobs.list("") == ["slugs/other.tgz"]
    assert world.ports.builder.forgotten == [app.id]


def test_a_slug_goes_with_its_image(stage: Stage) -> None:
    world = stage.world
    for commit in ("c1", "c2", "c3", "c4"):  # two stay
        world.push(commit)
        world.blobs.put(f"slugs/b-{commit}.tgz", [b"x"])
    world.push("c5")
    kept = {b.id for b in world.catalog.builds(stage.app) if b.image}
    assert kept == {"b-c4", "b-c5"} and world.blobs.list("slugs/") == ["slugs/b-c4.tgz"]
    assert replace(stage.app, limits={}) == stage.app
