"""The deploys of one push in turn: what the receiver is told to do next, and whose lock is held meanwhile."""

import threading
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from octo.catalog import Catalog
from octo.model import App, AppName, Release
from octo.pipeline.branches import BranchApps
from octo.pipeline.receive import Push
from octo.pipeline.refs import Branches, RefUpdate
from octo.pipeline.turns import Turns
from tests.fakes import FakeConsole
from tests.unit.octo.pipeline.parts import ports

ZERO, ONE, TWO = "0" * 40, "1" * 40, "2" * 40


def update(name: str, new: str = ONE, old: str = ZERO) -> RefUpdate:
    return RefUpdate(old, new, f"refs/heads/{name}")


class Bell(FakeConsole):
    """Rings when somebody is told to wait."""

    def __init__(self) -> None:
        super().__init__()
        self.waits = threading.Event()

    def step(self, text: str) -> None:
        super().step(text)
        if text.startswith("Waiting: "):
            self.waits.set()


@dataclass
class Place:
    rules: Branches = field(default_factory=Branches)
    wait: float = 30
    live: dict[str, Release] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.ports = ports().ports
        self.catalog = Catalog(self.ports.store)
        self.app = self.catalog.create(AppName("shop"), now=0, owner=None)
        changes: Any = SimpleNamespace(destroy=lambda app, user: None)
        self.branches = BranchApps(self.ports, self.catalog, changes, self.rules)
        self.push = Push("p0", self.app, None)
        self.console = Bell()
        receiver: Any = SimpleNamespace(
            catalog=self.catalog, branches=self.branches, wait=self.wait, files=7, custom=None,
            already_live=lambda push, commit: self.live.get(commit), url=lambda app: f"http://{app.name}",
            there=lambda app: self.catalog.by_id(app.id),
        )  # fmt: skip
        self.turns = Turns(self.push, receiver)

    def begin(self, *updates: RefUpdate) -> str:
        return self.turns.begin(updates, self.console)

    def ended(self, *, well: bool = True) -> str:
        return self.turns.ended(self.console, well=well)

    def own(self, name: str) -> App:
        return self.catalog.app(AppName(name))


@pytest.mark.row("B7")
def test_each_branch_has_its_turn_under_the_lock_of_its_app() -> None:
    place = Place()
    assert place.begin(update("a"), update("main", TWO)) == f"build {TWO} 7 shop"
    assert place.push.to == place.app and place.push.ref == "refs/heads/main"
    assert place.ended() == f"build {ONE} 7 shop-a"
    own = place.own("shop-a")
    assert place.push.to == own and place.ports.store.holder(f"octo/locks/{own.id}") == "a push by the operator"
    assert place.catalog.ending(own) is not None
    assert place.ended() == "exit 0"
    assert place.ports.store.holder(f"octo/locks/{own.id}") is None and place.catalog.ending(own) is None


@pytest.mark.row("B7")
@pytest.mark.row("B16")
def test_a_change_of_the_branchs_app_that_is_under_way_goes_first_and_is_named() -> None:
    place = Place()
    own = place.branches.app(place.app, "refs/heads/a", FakeConsole())

    def change() -> None:
        with place.catalog.lock(own, holder="a restart by bob"):
            held.set()
            place.console.waits.wait(30)

    held = threading.Event()
    other = threading.Thread(target=change)
    other.start()
    held.wait(30)
    assert place.begin(update("a")) == f"build {ONE} 7 shop-a"
    other.join()
    assert "-----> Waiting: a restart by bob to shop-a goes first" in place.console.lines


def test_one_that_takes_too_long_is_refused_and_a_pusher_who_hangs_up_waits_no_longer() -> None:
    for gone, said in ((False, "cannot change"), (True, "the pusher has hung up")):
        place = Place(wait=0)
        own = place.branches.app(place.app, "refs/heads/a", FakeConsole())
        place.push.gone = gone
        with place.catalog.lock(own, holder="a restart by bob"):
            assert place.begin(update("a")) == "exit 1"
        assert any(said in line for line in place.console.lines)


@pytest.mark.row("B7")
def test_what_fails_is_refused_alone_and_all_is_when_nothing_was_deployed() -> None:
    place = Place()
    place.begin(update("main"), update("a"), update("b"))
    place.ended()
    place.ended(well=False)
    assert place.ended(well=False) == "refuse refs/heads/a refs/heads/b"
    place = Place()
    place.begin(update("main"), update("gone", ZERO, ONE))
    assert place.ended(well=False) == "exit 1"
    assert not any("will be removed" in line for line in place.console.lines)


def test_an_import_keeps_what_cannot_be_deployed() -> None:
    place = Place()
    place.push.keeps = True
    place.begin(update("main"), update("a"))
    place.ended(well=False)
    assert place.ended(well=False) == "exit 0"
    assert "-----> The code is kept; nothing was deployed of main, a" in place.console.lines


def test_what_is_live_already_is_not_built_and_the_next_turn_comes() -> None:
    place = Place()
    place.live[ONE] = Release(place.app.id, 3, "i", 0.0, ONE)
    assert place.begin(update("main"), update("a", TWO)) == f"build {TWO} 7 shop-a"
    assert "=====> Already live as v3: http://shop" in place.console.lines


@pytest.mark.row("B15")
def test_a_deleted_branch_gives_its_app_an_end_and_builds_nothing() -> None:
    place = Place()
    own = place.branches.app(place.app, "refs/heads/a", FakeConsole())
    place.branches.keep(own)
    assert place.begin(update("a", ZERO, ONE), update("never-there", ZERO, ONE)) == "exit 0"
    assert place.catalog.ending(own) == place.ports.clock.now() + 3600
    assert place.begin(update("a")) == f"build {ONE} 7 shop-a"
    assert place.catalog.ending(own) is not None  # a build that fails does not bring the branch back
    place.ended()
    assert place.catalog.ending(own) is None


@pytest.mark.row("B7")
@pytest.mark.parametrize(("copy", "config"), [(True, {"A": "1"}), (False, {})])
def test_the_config_of_a_branch_begins_as_the_operator_says(copy: bool, config: dict[str, str]) -> None:
    place = Place(Branches(copy=copy))
    place.ports.store.put_many(place.catalog.config_writes(place.app, {"A": "1", "DOMAINS": "www.example.com"}))
    place.begin(update("a"))
    assert place.catalog.config(place.own("shop-a")) == config


@pytest.mark.row("L6")
def test_a_rebuild_is_of_the_commit_that_was_asked_for() -> None:
    place = Place()
    place.push.rebuild = ONE
    place.live[ONE] = Release(place.app.id, 3, "i", 0.0, ONE)
    assert place.begin(update("main")) == f"build {ONE} 7 shop"
    with pytest.raises(Exception, match="not the commit that was asked for"):
        place.begin(update("main", TWO))
