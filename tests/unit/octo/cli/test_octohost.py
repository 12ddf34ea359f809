"""octohost's commands on processes: the commands, and the real API behind them, on a world of stand-ins."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from octo.catalog.writes import app_write
from octo.daemon.access import Access, Actor
from octo.daemon.routes import application
from octo.disk import Stored
from octo.model import AppName, UserName
from octo.pipeline.disk import Pruner
from octo.pipeline.health import Health
from octo.pipeline.single import chosen
from octo.ports import Running
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

    def live(self) -> int:
        return self.world.there().live


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """shop serves its v1; blog was never pushed."""
    world, disks = World(), FakeDisks()
    world.create()
    world.catalog.create(AppName("blog"), now=1.0, owner=None)
    world.push("c0ffee")
    octo = SimpleNamespace(
        catalog=world.catalog,
        ports=world.ports,
        changes=world.changes,
        journal=world.journal,
        reconciler=world.reconciler,
        background=lambda act: act(),
        pruner=Pruner(world.ports, world.catalog, disks, "octo"),
        settings=SimpleNamespace(grace_seconds=1, instance="octo"),
        url=lambda app: "",
        git_url=lambda app: "",
    )
    access, path = Access(world.catalog), tmp_path / "api.sock"
    with serving({path: application(octo, access, {})}):
        yield Stage(world, disks, path, access.grant(Actor(UserName("ann"))))


@pytest.mark.row("L7")
def test_reload_takes_the_config_as_it_is_stored_and_keeps_the_image(run: Run, stage: Stage) -> None:
    image = stage.world.catalog.release(stage.world.there(), 1).image
    stage.world.store.put("octohost/shop/NEW", b"by hand")
    code, out, _ = run("reload", "shop", user=True)
    live = stage.world.catalog.live(stage.world.there())
    assert code == 0 and out.endswith("=====> Reloaded shop: v2 is live.\n")
    assert live and (live.version, live.image, dict(live.config)) == (2, image, {"NEW": "by hand"})
    stage.world.check()
    assert run("reload", "blog")[0] == 1


@pytest.mark.row("L4")
def test_stop_ends_that_apps_containers_alone(run: Run, stage: Stage) -> None:
    other = Running(
        "f00d" * 16, "octo-shopper-v1-web.1-x", "other", 1, "web", 1, "10.213.0.99", "running", 0, False, 0, ""
    )
    stage.world.runtime.containers[other.name] = other
    assert run("stop", "shop", user=True)[0] == 0
    assert [r.name for r in stage.world.runtime.list()] == [other.name]
    assert stage.world.registry.entries == {} and stage.world.there().stopped
    (ended,) = stage.world.runtime.stopped
    assert ended[1] > 0  # gracefully


@pytest.mark.row("L5")
def test_kill_ends_one_container_of_that_app_and_another_takes_its_place(run: Run, stage: Stage) -> None:
    run("ps:scale", "shop", "web=2")
    first, second = stage.world.runtime.list()
    for wrong in ("f00d", "abc", "", "web.9", second.id[:2]):
        assert run("kill", "shop", wrong, user=True)[0] in (1, 2)
    assert run("kill", "blog", first.id)[0] == 1
    code, out, _ = run("kill", "shop", first.id, user=True)
    assert code == 0 and out.startswith(f"Killed {first.name}. Another takes its place")
    left = [r.name for r in stage.world.runtime.list()]
    assert first.name not in left and second.name in left and len(left) == 2
    assert all(s.address != first.address for s in stage.world.registry.services("shop"))
    stage.world.check()


def test_a_container_is_found_by_what_names_it_alone() -> None:
    def running(id: str, index: int) -> Running:
        return Running(id, f"octo-shop-v1-web.{index}-x", "a", 1, "web", index, "", "running", 0, False, 0, "")

    two = [running("abcdef01", 1), running("abcdee02", 2)]
    assert chosen(two, "web.2").index == chosen(two, "abcdee").index == chosen(two, "octo-shop-v1-web.2-x").index == 2
    with pytest.raises(Exception, match="it could be abcdef01, abcdee02"):
        chosen(two, "abcde")


@pytest.mark.row("L8")
def test_remove_takes_all_but_the_config_which_a_new_app_of_the_name_has_again(run: Run, stage: Stage) -> None:
    run("config:set", "shop/KEPT", "s3cret")
    code, out, err = run("remove", "shop", user=True)
    assert (code, out) == (0, "Removed the source for shop.\n") and "octo remove:config shop" in err
    assert run("remove", "shop") == (20, "", " !     There is no source with that name.\n       See: octo apps\n")
    assert stage.world.runtime.list() == [] and stage.world.app() is None
    assert [k for k in stage.world.store.rows if "/shop" in k] == ["octohost/shop/KEPT"]
    stage.world.create()
    assert run("config:get", "shop/KEPT")[1] == "s3cret\n"
    assert run("remove", "shop", "--config") == (0, "Removed the source for shop.\n", "")
    assert not [k for k in stage.world.store.rows if "/shop" in k]


@pytest.mark.row("L10")
def test_octohosts_old_names_change_nothing_and_say_what_is_so(run: Run, stage: Stage) -> None:
    before = dict(stage.world.store.rows)
    for name in ("remove:consul_watch", "remove:nginx_config", "add:upstart", "remove:upstart"):
        code, out, err = run(name, "shop", user=True)
        assert (code, err) == (0, "") and "shop" in out + name and out.count("\n") == 1
        assert run(name, "nosuch")[0] == 20
    assert stage.world.store.rows == before


@pytest.mark.row("L2")
def test_clean_removes_what_has_ended_and_images_of_no_app(run: Run, stage: Stage) -> None:
    assert run("clean")[1].splitlines() == [
        "Cleaning old exited containers.",
        "No exited containers to delete.",
        "Showing remaining containers.",
        *(f"{r.name} (running)" for r in stage.world.runtime.list()),
        "Cleaning out all unused images.",
        "No unused images to delete.",
        "Showing remaining images.",
    ]
    (live,) = stage.world.runtime.list()
    ended = [replace(live, name=n, process=p, state=s) for n, p, s in (
        ("octo-shop-v0-web.1-x", "web", "exited"), ("octo-shop-v0-web.2-x", "web", "created"),
        ("shop_data", "web", "exited"), ("octo-shop-v1-run-x", "run", "exited"),
    )]  # fmt: skip
    stage.world.runtime.containers |= {r.name: r for r in ended}
    tag, foreign = "octo/0123456789ab:0123456789abcd", "other/0123456789ab:0123456789abcd"
    for name in (tag, foreign):
        stage.world.runtime.add(name)
    stage.disks.stored = [Stored("x", (tag, foreign), ())]
    found = json.loads(run("clean", "--format", "json")[1])
    assert found["containers"]["removed"] == ["octo-shop-v0-web.1-x"]
    assert sorted(r.name for r in stage.world.runtime.list()) == sorted([live.name, *(r.name for r in ended[1:])])
    assert found["images"]["removed"] == [tag] and foreign in stage.world.runtime.names
    assert run("clean", user=True)[0] == 1  # the operator's alone


@pytest.mark.row("L2")
def test_clean_leaves_what_a_change_under_way_may_need(run: Run, stage: Stage) -> None:
    (live,) = stage.world.runtime.list()
    stage.world.runtime.containers["octo-old"] = replace(live, name="octo-old", state="exited")
    with stage.world.catalog.lock(stage.world.there(), holder="a push"):
        assert json.loads(run("clean", "--format", "json")[1])["containers"]["removed"] == []
    assert json.loads(run("clean", "--format", "json")[1])["containers"]["removed"] == ["octo-old"]


@pytest.mark.row("L1")
def test_an_app_that_fails_all_its_checks_is_down(stage: Stage) -> None:
    health = Health(stage.world.registry)
    stage.world.registry.ill = {s.id for s in stage.world.registry.services()}
    health.look()
    (service,) = stage.world.registry.services("shop")
    address = f"{service.address}:{service.port}"
    assert health.fails([address]) and not health.fails([address, "10.0.0.1:80"]) and not health.fails([])


def test_an_app_removed_in_the_middle_keeps_its_config_all_the_same(stage: Stage) -> None:
    """The journal remembers that the config stays."""
    app = stage.world.there()
    stage.world.store.put_many([app_write(app), *stage.world.catalog.config_writes(app, {"A": "1"})])
    stage.world.changes.destroy(app, user=None, keep_config=True)
    stage.world.boot()
    stage.world.reconciler.at_start()
    assert stage.world.catalog.kept_config(AppName("shop")) == ["octohost/shop/A"]
