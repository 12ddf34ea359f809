"""Links, data apps and host ports through deploys, crashes and removals: two apps over one world."""

from collections.abc import Callable, Iterable, Mapping

import pytest

from octo.catalog.writes import app_write
from octo.errors import Conflict, DeployFailed
from octo.formation import wanted
from octo.model import App, AppName, Build, BuildStatus, Release
from octo.pipeline.deploy import Silent
from octo.pipeline.plan import Deploy, image_tag
from octo.pipeline.run import OneOff
from octo.pipeline.steering import steered
from octo.ports import Stream
from octo.runoptions import PLAIN, HostPort, Link, RunOptions
from tests.crash.world import Killed, World

LINKED = RunOptions(links=(Link("redis"),))
STORE = RunOptions(no_http_proxy=True, add_name=True)


def there(world: World, name: str) -> App:
    return world.catalog.app(AppName(name))


def push(
    world: World,
    name: str,
    options: RunOptions = PLAIN,
    *,
    processes: Mapping[str, str | None] | None = None,
    volumes: tuple[str, ...] = (),
    behaviour: str = "ok",
) -> None:
    """What a push of that app does once its image is built; the app is made when it is not there."""
    if world.store.get(f"octo/names/{name}") is None:
        world.catalog.create(AppName(name), now=world.clock.now(), owner=None)
    app = there(world, name)
    world.clock.time += 10
    now = world.clock.now()
    id = f"{int(now):08x}aaaaaa"
    build = Build(id, app.id, id, None, now, BuildStatus.SUCCEEDED, now, ports=(6379,), options=options)
    image = world.runtime.add(image_tag("octo", app.id, id), behaviour=behaviour, volumes=volumes)
    world.catalog.save_build(codec_with(build, image.id))
    kinds = processes or {"web": None}
    release = Release(app.id, 0, image.id, now, id, build=id, processes=kinds, config=world.catalog.config(app))
    release = steered(release, app.name, options, tags="", volumes=volumes)
    want = wanted(release.processes, world.catalog.scale(app))
    world.deployer.deploy(Deploy(app, release, fresh=True, want=want), Silent())


def codec_with(build: Build, image: str) -> Build:
    return Build(**{**build.__dict__, "image": image})


def found(world: World, name: str) -> list[str]:
    """The containers that `redis` leads to from `shop`."""
    return sorted(
        container
        for net in world.runtime.nets.values()
        for container, aliases in net.items()
        if name in aliases and world.runtime.inspect(container)
    )


def running(world: World, name: str) -> list[str]:
    return [r.name for r in world.runtime.list(there(world, name).id)]


@pytest.fixture
def world() -> World:
    made = World()
    push(made, "shop_redis", STORE)
    push(made, "shop", LINKED)
    return made


@pytest.mark.row("D5")
def test_a_link_leads_to_the_containers_that_serve_and_to_no_others(world: World) -> None:
    assert found(world, "redis") == found(world, "shop_redis") == running(world, "shop_redis")
    (net,) = world.runtime.nets.values()
    assert set(net) == {*running(world, "shop"), *running(world, "shop_redis")}
    env = world.runtime.specs[running(world, "shop")[0]].env
    assert env["REDIS_PORT_6379_TCP_ADDR"] == "redis" and env["REDIS_PORT"] == "tcp://redis:6379"
    assert world.runtime.specs[running(world, "shop_redis")[0]].hostname == "shop_redis"


def test_a_redeploy_of_the_store_is_found_before_the_old_one_goes(world: World) -> None:
    old = running(world, "shop_redis")
    seen: list[list[str]] = []
    real = world.runtime.stop

    def stop(name: str, grace: float) -> bool:
        seen.append(found(world, "redis"))
        return real(name, grace)

    world.runtime.stop = stop  # type: ignore[method-assign]
    push(world, "shop_redis", STORE)
    new = running(world, "shop_redis")
    assert seen == [sorted(old + new)] and found(world, "redis") == new != old


def test_a_store_that_does_not_work_is_never_found(world: World) -> None:
    old = found(world, "redis")
    with pytest.raises(DeployFailed):
        push(world, "shop_redis", STORE, behaviour="exits")
    assert found(world, "redis") == old == running(world, "shop_redis")


def test_only_web_is_found_where_there_is_one(world: World) -> None:
    push(world, "shop_redis", STORE, processes={"web": None, "worker": "w"})
    world.changes.scale(there(world, "shop_redis"), {"worker": 2, "web": 2}, user=None, console=Silent())
    assert len(found(world, "redis")) == 2 and all("-web." in name for name in found(world, "redis"))
    push(world, "shop_redis", STORE, processes={"one": "1", "two": "2"})
    assert len(found(world, "redis")) == 2


def test_a_one_off_command_of_the_store_is_not_taken_for_the_store(world: World) -> None:
    push(world, "shop_redis", STORE, processes={"redis": None})
    app = there(world, "shop_redis")
    oneoff = OneOff(world.runtime, world.catalog, "octo", world.deployer.outfitter)
    world.runtime.start(oneoff.prepare(app, "sh", tty=False))
    world.reconciler.again()
    assert len(running(world, "shop_redis")) == 2 and len(found(world, "redis")) == 1


def test_what_was_lost_is_put_back_and_what_nobody_needs_goes(world: World) -> None:
    world.runtime.nets.clear()
    world.runtime.nets["0" * 12 + "-" + "1" * 12 + "-old"] = {}
    world.reconciler.again()
    assert found(world, "redis") == running(world, "shop_redis") and len(world.runtime.nets) == 1
    push(world, "shop")
    world.reconciler.again()
    assert not world.runtime.nets


def test_a_store_that_is_made_anew_is_found_again_without_a_push_of_the_shop(world: World) -> None:
    world.changes.destroy(there(world, "shop_redis"), user=None)
    assert not world.runtime.nets
    world.changes.restart(there(world, "shop"), "", user=None, console=Silent())
    push(world, "shop_redis", STORE)
    world.reconciler.again()
    assert found(world, "redis") == running(world, "shop_redis")
    (net,) = world.runtime.nets.values()
    assert set(running(world, "shop")) < set(net)


def test_two_apps_deployed_at_once_find_each_other(world: World) -> None:
    """The store's new containers are proved while the shop, for the first time, begins to look for them."""
    push(world, "shop")
    world.reconciler.again()
    behind: list[Callable[[], object]] = []
    world.deployer._later = behind.append
    links = world.deployer.links
    real, done = links.announce, []

    def announce(app: App, containers: Iterable[str]) -> None:
        real(app, containers)
        if not done:
            done.append(True)
            push(world, "shop", LINKED)  # between the store's register and its commit

    links.announce = announce  # type: ignore[method-assign]
    push(world, "shop_redis", STORE)
    for act in behind:
        act()
    assert found(world, "redis") == running(world, "shop_redis")


SCENARIOS: Mapping[str, Callable[[World], None]] = {
    "push of the store": lambda world: push(world, "shop_redis", STORE),
    "push of the shop": lambda world: push(world, "shop", LINKED),
    "end of the link": lambda world: push(world, "shop"),
    "removal of the store": lambda world: world.changes.destroy(there(world, "shop_redis"), user=None),
    "removal of the shop": lambda world: world.changes.destroy(there(world, "shop"), user=None),
}


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("name", SCENARIOS)
def test_killed_at_any_write_the_link_is_whole_or_gone(name: str, *, after: bool) -> None:
    for at in range(1000):
        world = World()
        push(world, "shop_redis", STORE)
        push(world, "shop", LINKED)
        world.store.arm(at, after=after)
        try:
            SCENARIOS[name](world)
        except Killed:
            pass
        else:
            assert at > 3
            return
        world.boot()
        world.reconciler.at_start()
        names = {app.name: world.catalog.live(app) for app in world.catalog.apps()}
        shop = names.get(AppName("shop"))
        linked = shop and shop.options.links and AppName("shop_redis") in names
        assert len(world.runtime.nets) == bool(linked)
        assert found(world, "redis") == (running(world, "shop_redis") if linked else [])


@pytest.mark.row("D5")
def test_a_data_app_runs_nothing_that_lasts_and_its_volumes_are_its_neighbours() -> None:
    world = World()
    push(world, "shop_redis_data", volumes=("/data", "/etc/redis"))
    assert not world.runtime.list() and len(world.runtime.disks) == 2
    push(world, "shop_redis", RunOptions(volumes_from=True))
    mounts = world.runtime.specs[running(world, "shop_redis")[0]].mounts
    assert [(m.source in world.runtime.disks, m.path) for m in mounts] == [(True, "/data"), (True, "/etc/redis")]
    with pytest.raises(Conflict, match='"shop_redis" uses them'):
        world.changes.destroy(there(world, "shop_redis_data"), user=None, volumes=True)
    kept = dict(world.runtime.disks)
    world.changes.destroy(there(world, "shop_redis_data"), user=None)
    push(world, "shop_redis_data", volumes=("/data", "/etc/redis"))
    assert world.runtime.disks == kept
    with pytest.raises(Conflict, match="found by its name"):
        world.changes.rename(there(world, "shop_redis_data"), AppName("other"), user=None)
    world.changes.stop(there(world, "shop_redis"), user=None, console=Silent())
    world.changes.destroy(there(world, "shop_redis_data"), user=None, volumes=True)
    assert not world.runtime.disks


def test_a_data_app_whose_command_fails_is_not_released() -> None:
    world = World()
    with pytest.raises(DeployFailed, match="exit code 1"):
        push(world, "shop_data", volumes=("/data",), behaviour="exits")
    assert not world.runtime.list() and not there(world, "shop_data").live


@pytest.mark.row("D5")
def test_a_port_of_the_host_follows_the_release_and_stays_the_apps_while_it_is_stopped() -> None:
    world = World()
    app = world.catalog.create(AppName("mail"), now=1, owner=None)
    world.store.put_many([app_write(App(**{**app.__dict__, "allowed": ("port=25",)}))])
    push(world, "mail", RunOptions(no_http_proxy=True, ports=(HostPort(25, 2525),)))
    (name,) = running(world, "mail")
    address = world.runtime.containers[name].address
    (route,) = world.router.table
    assert (route.hosts, route.streams) == ((), (Stream("0.0.0.0", 25, (f"{address}:2525",)),))
    world.changes.stop(there(world, "mail"), user=None, console=Silent())
    assert world.router.table[0].streams == (Stream("0.0.0.0", 25),)
    world.changes.start(there(world, "mail"), user=None, console=Silent())
    world.router.open[f"{world.runtime.list()[0].address}:2525"] = 1
    before = world.clock.now()
    world.changes.restart(there(world, "mail"), "", user=None, console=Silent())
    assert world.clock.now() - before >= 5  # the client of the old container had all the time to end
    push(world, "mail")
    assert not [r for r in world.router.table if r.streams]


@pytest.mark.row("I3")
def test_containers_and_the_formation_are_one_truth(world: World) -> None:
    def count() -> int:
        return len(running(world, "shop"))

    def config(value: str | None) -> None:
        app = there(world, "shop")
        world.changes.config(app, {"CONTAINERS": value}, user=None, console=Silent(), restart=True)

    config("3")
    assert count() == 3
    world.changes.scale(there(world, "shop"), {"web": 2}, user=None, console=Silent())
    app = there(world, "shop")
    live = world.catalog.live(app)
    assert count() == 2 and live and world.catalog.config(app) == live.config == {"CONTAINERS": "2"}
    for version, containers in ((1, 1), (2, 2)):
        world.changes.rollback(there(world, "shop"), version, user=None, console=Silent())
        assert count() == containers
    world.store.put("octohost/shop/CONTAINERS", b"4")  # by somebody else
    world.changes.config(app, {"A": "1"}, user=None, console=Silent(), restart=True)
    assert count() == 4
    config(None)
    assert count() == 1
    world.changes.scale(there(world, "shop"), {"web": 5}, user=None, console=Silent())
    assert count() == 5 and "CONTAINERS" not in world.catalog.config(app)
