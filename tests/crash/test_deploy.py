"""kill -9 before and after every write of the journal, in every procedure, and again while it is being mended."""

from collections.abc import Callable

import pytest

from octo.errors import DeployFailed
from octo.pipeline.deploy import Silent
from tests.crash.world import Killed, World


def fresh(world: World) -> None:
    world.create()


def served(world: World) -> None:
    world.create()
    world.push("one")


def scaled(world: World) -> None:
    served(world)
    world.changes.scale(world.there(), {"web": 2}, user=None, console=Silent())


def twice(world: World) -> None:
    served(world)
    world.changes.config(world.there(), {"A": "1"}, user=None, console=Silent(), restart=True)
    world.push("two")


def stopped(world: World) -> None:
    served(world)
    world.changes.stop(world.there(), user=None, console=Silent())


def push(world: World) -> None:
    world.push("new", processes={"web": None, "worker": "w"})


def push_that_fails(world: World) -> None:
    with pytest.raises(DeployFailed):
        world.push("bad", behaviour="exits")


def push_that_nginx_refuses(world: World) -> None:
    world.router.fail_next = "nginx: [emerg]"
    try:
        world.push("new")
    except Exception:
        world.router.fail_next = None
    else:
        raise AssertionError("the push was taken")


def scale(number: int) -> Callable[[World], None]:
    return lambda world: world.changes.scale(world.there(), {"web": number}, user=None, console=Silent()) and None


def config(world: World) -> None:
    world.changes.config(world.there(), {"A": "2", "B": "3"}, user=None, console=Silent(), restart=True)


def rollback(world: World) -> None:
    world.changes.rollback(world.there(), 1, user=None, console=Silent())


def restart(world: World) -> None:
    world.changes.restart(world.there(), "", user=None, console=Silent())


def stop(world: World) -> None:
    world.changes.stop(world.there(), user=None, console=Silent())


def start(world: World) -> None:
    world.changes.start(world.there(), user=None, console=Silent())


def destroy(world: World) -> None:
    world.changes.destroy(world.there(), user=None)


def reload(world: World) -> None:
    world.changes.reload(world.there(), user=None, console=Silent())


def remove(world: World) -> None:
    """The config stays, whenever it was killed: until the removal has ended, by its journal entry alone."""
    world.changes.destroy(world.there(), user=None, keep_config=True)


SCENARIOS = {
    "first push": (fresh, push),
    "second push": (served, push),
    "push of a scaled app": (scaled, push),
    "push that fails": (served, push_that_fails),
    "first push that fails": (fresh, push_that_fails),
    "push that nginx refuses": (served, push_that_nginx_refuses),
    "scale up": (served, scale(3)),
    "scale down": (scaled, scale(1)),
    "config change": (twice, config),
    "rollback": (twice, rollback),
    "restart": (scaled, restart),
    "stop": (scaled, stop),
    "start": (stopped, start),
    "destroy": (twice, destroy),
    "reload": (served, reload),
    "remove": (served, remove),
}


def crashed(before: Callable[[World], None], act: Callable[[World], None], at: int, *, after: bool) -> World | None:
    """The world in which `act` was killed at its n-th write; None when it has fewer."""
    world = World()
    before(world)
    world.check()
    world.store.arm(at, after=after)
    try:
        act(world)
    except Killed:
        return world
    return None


@pytest.mark.parametrize("name", SCENARIOS)
def test_without_a_crash_all_is_well(name: str) -> None:
    before, act = SCENARIOS[name]
    world = World()
    before(world)
    act(world)
    world.check()


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("name", SCENARIOS)
def test_killed_at_any_write_the_old_or_the_new_is_whole(name: str, *, after: bool) -> None:
    before, act = SCENARIOS[name]
    for at in range(1000):
        world = crashed(before, act, at, after=after)
        if world is None:
            assert at > 3, "the procedure hardly writes its journal"
            return
        world.boot()
        world.reconciler.at_start()
        world.check()


@pytest.mark.parametrize("name", SCENARIOS)
def test_killed_again_while_mending_it_is_mended_the_next_time(name: str) -> None:
    before, act = SCENARIOS[name]
    for at in range(0, 1000, 2):
        for again in range(1000):
            world = crashed(before, act, at, after=True)
            if world is None:
                return
            world.boot()
            world.store.arm(again, after=bool(again % 2))
            try:
                world.reconciler.at_start()
            except Killed:
                world.boot()
                world.reconciler.at_start()
                world.check()
            else:
                world.check()
                break


@pytest.mark.parametrize("name", ["push that fails", "push that nginx refuses"])
def test_a_failed_push_leaves_the_old_release_serving(name: str) -> None:
    before, act = SCENARIOS[name]
    world = World()
    before(world)
    table = world.router.table
    act(world)
    assert world.router.table == table and world.there().live == 1


def test_the_old_release_is_routed_until_the_new_one_is(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    served(world)
    seen: list[tuple[str, bool]] = []
    old = world.router.table[0].targets
    real = world.runtime.start
    monkeypatch.setattr(
        world.runtime,
        "start",
        lambda spec: (seen.append(("start", world.router.table[0].targets == old)), real(spec))[1],
    )
    world.push("new")
    assert seen == [("start", True)]
    assert world.router.table[0].targets != old


def test_a_change_right_behind_another_does_not_count_on_what_is_being_retired() -> None:
    """The drain of the first goes on in the background while the second decides what stays."""
    world = World()
    scaled(world)
    behind: list[Callable[[], object]] = []
    world.deployer._later = behind.append
    scale(1)(world)
    scale(2)(world)
    stop(world)
    start(world)
    for act in behind:
        act()
    world.check()


def test_builds_and_images_do_not_pile_up() -> None:
    world = World()
    world.create()
    for number in range(60):
        world.push(f"c{number}")
    builds = world.catalog.builds(world.there())
    assert len(builds) == 50 and sum(bool(b.image) for b in builds) == 2
    assert len(world.runtime.images) == 2
    world.check()


def test_new_containers_that_were_routed_for_a_moment_are_drained_before_they_are_undone() -> None:
    """Killed after the flip and before the commit: somebody may be in the middle of an answer of the new ones."""
    world = World()
    served(world)
    for at in range(100):
        again = crashed(served, push, at, after=False)
        if again and again.router.table[0].release == 2 and again.there().live == 1:
            world = again
            break
    new = world.router.table[0].targets
    world.boot()
    world.router.open = dict.fromkeys(new, 1)
    asked: list[bool] = []

    def stop(name: str, grace: float) -> None:
        asked.append(any(world.router.open.values()))
        real_stop(name, grace)

    real_stop, real_sleep = world.runtime.stop, world.clock.sleep
    world.runtime.stop = stop  # type: ignore[method-assign]

    def sleep(seconds: float) -> None:
        real_sleep(seconds)
        world.router.open.clear()  # the answer has been given

    world.clock.sleep = sleep  # type: ignore[method-assign]
    world.reconciler.at_start()
    assert asked and not any(asked)
    world.check()
