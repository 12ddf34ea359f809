"""The apps of branches, killed before and after every write: all of a family is there and whole, or nothing is."""

from collections.abc import Callable

import pytest

from octo.catalog.writes import ending_write
from octo.model import App
from octo.pipeline.branches import BranchApps
from octo.pipeline.reconcile import Reconciler
from octo.pipeline.refs import Branches
from tests.crash.world import Killed, World
from tests.fakes import FakeConsole

REF = "refs/heads/feature/x"
GRACE = 600.0


class Family(World):
    """shop, and the app of one of its branches."""

    name = "shop"

    def boot(self) -> None:
        super().boot()
        self.branches = BranchApps(self.ports, self.catalog, self.changes, Branches(grace=GRACE))
        procedures = {"deploy": self.deployer.procedure(), "destroy": self.changes.destroying()}
        parts = (self.ports, self.catalog, self.routing, self.journal, self.deployer)
        self.reconciler = Reconciler(*parts, procedures, instance="octo", ends=self.branches.sweep)

    def app(self) -> App | None:
        found = self.store.get(f"octo/names/{self.name}")
        return self.catalog.by_id(found.data.decode()) if found else None

    def named(self, name: str) -> App | None:
        self.name = name
        return self.app()

    def make(self) -> App:
        self.named("shop")
        return self.branches.app(self.there(), REF, FakeConsole())


def served() -> Family:
    world = Family()
    world.create()
    world.store.put("octohost/shop/WORD", b"copied")
    world.push("a")
    world.make()
    world.named("shop-feature-x")
    world.push("b")
    world.branches.keep(world.there())
    world.named("shop")
    return world


def destroy(world: Family) -> None:
    world.changes.destroy(world.there(), user=None)


def sweep(world: Family) -> None:
    world.clock.time += GRACE + 1
    world.reconciler.again()


def doomed() -> Family:
    """The branch has been deleted."""
    world = served()
    world.branches.branch_ended(world.there(), REF, None, FakeConsole())
    return world


def killed(before: Callable[[], Family], act: Callable[[Family], None]) -> list[Family]:
    """One world for each write of `act`, killed just before it, and one killed just after it."""
    worlds: list[Family] = []
    for after in (False, True):
        at = 0
        while True:
            world = before()
            world.store.arm(at, after=after)
            try:
                act(world)
            except Killed:
                worlds.append(world)
                at += 1
            else:
                break
    return worlds


def test_a_family_that_is_being_destroyed_is_there_or_gone() -> None:
    ends = set()
    for world in killed(served, destroy):
        world.boot()
        world.reconciler.at_start()
        parent, branch = world.named("shop"), world.named("shop-feature-x")
        assert (parent is None) == (branch is None)
        if parent is None:
            world._nothing_left()
        else:
            assert branch and branch.live == 1 and parent.live == 1 and len(world.runtime.list()) == 2
            assert world.catalog.branch_app(parent, REF) == branch and not world.catalog.endings()
        ends.add(parent is None)
    assert ends == {True, False}


@pytest.mark.row("B15")
def test_the_end_of_a_branch_is_carried_out_whenever_octod_is_killed() -> None:
    worlds = killed(doomed, sweep)
    assert worlds
    for world in worlds:
        world.boot()
        world.reconciler.at_start()
        assert world.named("shop-feature-x") is None and world.named("shop")
        assert not world.catalog.endings() and len(world.runtime.list()) == 1
        assert not [k for k in world.store.rows if "branches" in k or "shop-feature" in k]


@pytest.mark.row("B7")
def test_an_app_of_a_branch_is_made_whole_or_not_at_all() -> None:
    def before() -> Family:
        world = Family()
        world.create()
        world.store.put("octohost/shop/WORD", b"copied")
        world.store.put("octohost/shop/DOMAINS", b"www.example.com")
        return world

    for world in killed(before, lambda world: world.make() and None):
        world.boot()
        parent, made = world.named("shop"), world.named("shop-feature-x")
        assert parent
        assert world.catalog.branch_app(parent, REF) == made
        if made:
            assert world.catalog.config(made) == {"WORD": "copied"} and world.catalog.ending(made)


@pytest.mark.row("B15")
def test_an_app_goes_when_its_time_has_come_and_not_before() -> None:
    world = doomed()
    world.reconciler.again()
    assert world.named("shop-feature-x")
    sweep(world)
    assert world.named("shop-feature-x") is None


@pytest.mark.row("B15")
def test_one_that_somebody_is_at_is_left_to_the_next_round_and_one_that_was_pushed_again_stays() -> None:
    world = doomed()
    app = world.named("shop-feature-x")
    assert app
    with world.catalog.lock(app, holder="a push"):
        sweep(world)
        assert world.named("shop-feature-x")
        world.branches.keep(app)
    world.reconciler.again()
    assert world.named("shop-feature-x") and not world.catalog.endings()


def test_an_app_whose_first_push_failed_stays_an_hour_at_least() -> None:
    world = Family()
    world.create()
    made = world.make()
    world.clock.time += 3599
    world.reconciler.again()
    assert world.catalog.by_id(made.id)
    world.clock.time += 2
    world.reconciler.again()
    assert world.catalog.by_id(made.id) is None


def test_the_end_of_an_app_is_not_lost_by_a_deploy_that_goes_on_meanwhile() -> None:
    world = served()
    world.named("shop-feature-x")
    world.store.put_many([ending_write(world.there(), world.clock.now() + 5)])
    world.push("c")
    assert world.catalog.ending(world.there())
