"""What fails its check leaves the routing, and what the registry lost it gets again."""

from collections.abc import Sequence
from dataclasses import replace

from octo.errors import Unavailable
from octo.model import Service
from octo.pipeline.health import Health, Services
from tests.crash.world import World
from tests.fakes import FakeRegistry

ONE, TWO = Service("shop-a-80", "shop", "a", 80), Service("shop-b-80", "shop", "b", 80)


def test_what_fails_gets_no_requests_unless_all_fail() -> None:
    registry = FakeRegistry()
    for service in (ONE, TWO):
        registry.register(service)
    health = Health(registry)
    assert not health.look() and health.well(("a:80", "b:80")) == ("a:80", "b:80")
    registry.ill = {ONE.id}
    assert health.look() and not health.look()
    assert health.well(("a:80", "b:80")) == ("b:80",) and health.well(("a:80",)) == ("a:80",)
    registry.ill = {ONE.id, TWO.id}
    assert health.look() and health.well(("a:80", "b:80")) == ("a:80", "b:80") and health.well(()) == ()


class Flaky(FakeRegistry):
    """Away each second time."""

    asked = 0

    def failing(self) -> Sequence[str]:
        self.asked += 1
        if self.asked % 2:
            raise Unavailable("cannot reach Consul")
        return super().failing()


def test_who_follows_hears_of_each_change_and_outlives_a_registry_that_is_away() -> None:
    registry, heard, rounds = Flaky(), [], iter([False, False, False, False, True])
    registry.register(ONE)
    registry.register(TWO)
    registry.ill = {ONE.id}
    health = Health(registry)

    def changed() -> None:
        heard.append(health.well(("a:80", "b:80")))
        registry.ill = {TWO.id}

    def wait(seconds: float) -> bool:
        registry.register(ONE)  # so that the watch has something to tell
        return not seconds and next(rounds)

    health.follow(changed, wait)
    assert heard == [("b:80",), ("a:80",)]


def test_a_registry_that_forgot_is_told_again_and_what_serves_nothing_goes() -> None:
    world = World()
    world.create()
    world.push("c1")
    services = Services(world.ports, world.catalog, world.journal)
    before = dict(world.registry.entries)
    (id,) = before
    world.registry.entries = {"shop-stale-80": replace(before[id], id="shop-stale-80")}
    services.mend()
    assert world.registry.entries == before
    world.registry.entries[id] = replace(before[id], tags=())
    services.mend()
    assert world.registry.entries == before
