"""What an image and the config keys that steer octo make of a build and its release."""

from collections.abc import Mapping

import pytest

from octo.catalog import Catalog
from octo.errors import Forbidden, OctoError, Usage
from octo.model import AppName, Build, Release, Slot
from octo.pipeline.admission import Admission
from octo.pipeline.attend import Session
from octo.pipeline.build import Builds, Order, Rules
from octo.pipeline.disk import DiskGuard
from octo.pipeline.permits import Permits
from octo.pipeline.services import service_of
from octo.pipeline.source import Source
from octo.pipeline.steering import check, steered
from octo.pipeline.submodules import Submodules
from octo.ports import Limits
from octo.runoptions import PLAIN, HostPort, Link, RunOptions
from tests.fakes import FakeConsole, FakeDisks
from tests.unit.octo.pipeline.parts import ports

LIMITS = Limits(1 << 30, 1.0, 100, 60.0)
NAME = AppName("shop")


class Place:
    def __init__(self) -> None:
        self.stood = ports()
        self.catalog = Catalog(self.stood.ports.store)
        self.app = self.catalog.create(NAME, now=1, owner=None)
        submodules, guard = Submodules(self.stood.sandbox, self.catalog, LIMITS), DiskGuard(FakeDisks(), 0)
        rules, permits = Rules(LIMITS, "octo"), Permits(self.stood.ports, self.catalog, {})
        self._builds = Builds(
            self.stood.ports, self.catalog, rules, lambda _: FakeConsole(), Admission(1, 1), submodules, guard, permits
        )

    def build(self, dockerfile: str, **config: str) -> Build:
        self.stood.ports.store.put_many(self.catalog.config_writes(self.app, config))
        session = Session({}, "/nowhere", lambda: None)
        source = Source("c0ffee", dockerfile, None)
        order = Order(self.app, source, None, lambda _: session, lambda *_: session, lambda _: True, lambda: False)
        return self._builds.build(order, [b"tar"], FakeConsole())


def release(config: Mapping[str, str], **more: object) -> Release:
    return Release("a" * 12, 3, "sha256:x", 0, config=config, processes={"web": None}, **more)  # type: ignore[arg-type]


@pytest.mark.row("J2")
def test_tags_in_the_images_env_count_where_the_config_has_none() -> None:
    place = Place()
    place.stood.builder.env = {"CONSUL_TAGS": "http, blue", "PATH": "/bin"}
    build = place.build("FROM octo/stack\nENV CONSUL_TAGS http, blue\n")
    slot = Slot(place.app.id, 3, "web", 1, "octo-shop-web.1", "10.0.0.2", 5000)
    for config, tags in (({}, ("http", "blue", "v3")), ({"CONSUL_TAGS": "green"}, ("green", "v3"))):
        made = steered(release(config), NAME, build.options, tags=build.tags, volumes=())
        assert service_of(place.app, slot, made.config, made.tags).tags == tags


@pytest.mark.row("D5")
def test_what_a_dockerfile_asks_for_is_kept_with_its_build_and_what_runs_with_the_release() -> None:
    place = Place()
    place.stood.builder.volumes = ("/data",)
    build = place.build("FROM octo/stack\n# ADD_NAME\n", LINK_SERVICE="", VOLUMES_FROM="")
    assert (build.options, build.volumes) == (RunOptions(add_name=True), ("/data",))
    made = steered(release({"LINK_SERVICE": "redis"}), NAME, build.options, tags="", volumes=build.volumes)
    assert made.options == RunOptions(add_name=True, links=(Link("redis"),)) and made.volumes == ("/data",)


@pytest.mark.row("D5")
@pytest.mark.parametrize(
    ("dockerfile", "config", "why"),
    [
        ("# MOUNT_FROM_HOST /\n", {}, "line 2"),
        ("# MOUNT_FROM_HOST /srv\n", {}, "only the operator can allow"),
        ("# PORTS_FROM_HOST 25 25\n", {}, "only the operator can allow"),
        ("", {"LINK_SERVICE": "db other"}, "only the operator can allow"),
        ("", {"MEMORY_LIMIT": "1 potato"}, "MEMORY_LIMIT"),
        ("", {"CONTAINERS": "many"}, "CONTAINERS"),
    ],
)
def test_what_cannot_run_is_refused_before_it_is_built(dockerfile: str, config: dict[str, str], why: str) -> None:
    place = Place()
    with pytest.raises(OctoError, match=why):
        place.build(f"FROM octo/stack\n{dockerfile}", **config)
    assert not place.stood.builder.built
    (build,) = place.catalog.builds(place.app)
    assert why in build.reason


def test_comments_of_a_dockerfile_that_is_not_used_count_for_nothing() -> None:
    place = Place()
    with pytest.raises(OctoError) as failed:  # the fake sandbox compiles nothing
        place.build("FROM octo/stack\n# MOUNT_FROM_HOST /srv\n", BUILDPACK_URL="https://packs.test/x")
    assert not isinstance(failed.value, Forbidden)


@pytest.mark.row("I4", "H6")
@pytest.mark.parametrize(
    ("asked", "config"), [(RunOptions(no_http_proxy=True), {}), (PLAIN, {"NO_HTTP_PROXY": "any value"})]
)
def test_without_proxy_is_a_worker_whoever_says_so(asked: RunOptions, config: dict[str, str]) -> None:
    assert not steered(release(config, routed=True), NAME, asked, tags="", volumes=()).routed
    assert steered(release({}, routed=True), NAME, PLAIN, tags="", volumes=()).routed


@pytest.mark.row("H6")
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("PORT", "http"),
        ("MEMORY_LIMIT", "1k"),
        ("CONTAINERS", "1000"),
        ("CUSTOM_CHECK", "health"),
        ("CUSTOM_CHECK_INTERVAL", "soon"),
        ("CONSUL_TAGS", "a\nb"),
        ("CONSUL_TAGS", "x" * 256),
        ("LINK_SERVICE", "a b c"),
        ("MOUNT_FROM_HOST", ".."),
        ("PORTS_FROM_HOST", "25"),
    ],
)
def test_a_key_that_steers_octo_is_refused_for_a_value_that_is_off(key: str, value: str) -> None:
    with pytest.raises(Usage):
        check({"A": "1", key: value})


def test_good_values_and_other_keys_pass() -> None:
    check({"A": "\n", "CONTAINERS": "2", "CUSTOM_CHECK": "/up", "PORTS_FROM_HOST": "25 25", "CONSUL_TAGS": "http,a"})
    kept = steered(release({}), AppName("shop_data"), RunOptions(ports=(HostPort(1, 1),)), tags="", volumes=["/x"])
    assert kept.processes == {} and kept.volumes == ("/x",)
