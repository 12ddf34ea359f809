"""Config that others write into the store."""

import pytest

from octo.catalog.writes import CONFIG
from octo.errors import Taken
from octo.model import AppName
from octo.pipeline.foreign import Foreign
from tests.crash.world import World
from tests.fakes import FakeConsole


def foreign(world: World) -> Foreign:
    return Foreign(world.catalog, world.changes, settle=0, later=lambda act: act() and None)


def put(world: World, key: str, value: bytes | None) -> None:
    path = f"{CONFIG}shop/{key}"
    world.store.delete(path) if value is None else world.store.put(path, value)


def pushed() -> World:
    world = World()
    world.create()
    world.push("one")
    return world


def test_what_octo_wrote_itself_is_not_foreign_and_waits_when_it_was_told_to() -> None:
    world = pushed()
    app = world.there()
    world.changes.config(app, {"A": "1"}, user=None, console=FakeConsole(), restart=True)
    world.changes.config(app, {"B": "2"}, user=None, console=FakeConsole(), restart=False)
    foreign(world).look()
    assert [r.config for r in world.catalog.releases(app)][-1] == {"A": "1"}


def test_a_change_that_fails_is_tried_again_only_when_it_changes() -> None:
    world = pushed()
    watching = foreign(world)
    put(world, "PORT", b"none")
    watching.look()
    watching.look()
    (why,) = watching.problems()
    assert why == 'shop: cannot use "none" as a port'
    assert len(world.catalog.releases(world.there())) == 1
    put(world, "PORT", b"5001")
    watching.look()
    assert watching.problems() == []
    assert world.catalog.releases(world.there())[-1].port == 5001


def test_a_change_taken_back_before_it_was_looked_at_makes_no_release() -> None:
    world = pushed()
    put(world, "A", b"1")
    assert world.catalog.strange()
    put(world, "A", None)
    assert not world.catalog.strange()
    foreign(world).look()
    assert len(world.catalog.releases(world.there())) == 1


def test_what_no_config_can_have_is_named_and_never_handed_on() -> None:
    world = pushed()
    for key, value in (("a b", b"1"), ("BAD", b"\xff"), ("NUL", b"a\0b"), ("deep/KEY", b"1"), ("LONG", b"x" * 70_000)):
        put(world, key, value)
    assert not world.catalog.strange() and world.catalog.config(world.there()) == {}
    assert len(foreign(world).problems()) == 5


def test_a_stopped_app_gets_the_release_and_stays_stopped() -> None:
    world = pushed()
    world.changes.stop(world.there(), user=None, console=FakeConsole())
    put(world, "A", b"1")
    foreign(world).look()
    app = world.there()
    assert app.stopped and app.live == 2 and not world.runtime.list(app.id)


def test_domains_in_the_store_are_the_apps_at_once_and_no_release() -> None:
    world = pushed()
    put(world, "DOMAINS", b"www.shop.test,shop.test")
    foreign(world).look()
    app = world.there()
    assert {d.hostname for d in world.catalog.domains(app)} == {"www.shop.test", "shop.test"}
    assert world.catalog.config(app)["DOMAINS"] == "shop.test www.shop.test"
    assert not world.catalog.strange() and len(world.catalog.releases(app)) == 1
    put(world, "DOMAINS", b"no domain; }")
    watching = foreign(world)
    watching.look()
    watching.look()
    assert "as a domain" in watching.problems()[0]
    assert len(world.catalog.domains(app)) == 2


def test_what_waits_for_the_next_release_waits_through_a_scale_and_a_change_of_domains() -> None:
    world = pushed()
    app = world.there()
    world.changes.config(app, {"CONTAINERS": "1"}, user=None, console=FakeConsole(), restart=True)
    world.changes.config(app, {"LATER": "1"}, user=None, console=FakeConsole(), restart=False)
    world.changes.scale(world.there(), {"web": 2}, user=None, console=FakeConsole())
    assert world.catalog.config(app)["CONTAINERS"] == "2" and not world.catalog.strange()
    put(world, "DOMAINS", b"www.shop.test")
    foreign(world).look()
    assert [d.hostname for d in world.catalog.domains(app)] == ["www.shop.test"]
    assert "LATER" not in world.catalog.releases(app)[-1].config


def test_no_app_is_renamed_onto_config_that_is_kept_of_another() -> None:
    world = pushed()
    world.store.put(f"{CONFIG}old/SECRET", b"1")
    with pytest.raises(Taken, match='config under "old"'):
        world.changes.rename(world.there(), AppName("old"), user=None)
