"""Where the room went: each layer counts once, for whom it would be free without."""

from types import SimpleNamespace

from octo.catalog import Catalog
from octo.disk import Room, Stored, Taken
from octo.model import App, AppName, Build
from octo.pipeline.account import FOREIGN, SHARED, STACKS, Account, Held, shares
from octo.ports import StackVersion
from octo.specs import GB, MB
from tests.fakes import FakeBlobs, FakeDisks, FakeStore


def image(name: str, *layers: tuple[str, int]) -> Stored:
    return Stored(name, (name,), layers)


def owner(stored: Stored) -> str:
    return stored.id.partition(":")[0]


def test_a_layer_counts_once_for_its_app() -> None:
    found = shares([image("a:1", ("base", 100), ("x", 7)), image("a:2", ("base", 100), ("y", 5))], owner)
    assert found == {"a": 112}


def test_a_layer_of_two_apps_is_neithers() -> None:
    found = shares([image("a:1", ("base", 100), ("x", 7)), image("b:1", ("base", 100), ("y", 5))], owner)
    assert found == {"a": 7, "b": 5, SHARED: 100}


def test_a_stacks_layer_is_the_stacks() -> None:
    images = [image(f"{STACKS}:1", ("root", 700)), image("a:1", ("root", 700), ("slug", 30))]
    assert shares(images, owner) == {STACKS: 700, "a": 30}


def test_what_a_foreign_image_has_too_would_not_be_free() -> None:
    images = [image(f"{FOREIGN}:1", ("python", 900), ("z", 1)), image("a:1", ("python", 900), ("x", 7))]
    assert shares(images, owner) == {FOREIGN: 901, "a": 7}


STACK = StackVersion("octo-1", "octo", "octo/stack:latest", "/stacks/octo-1", 0.0, 1000)


def made() -> tuple[Account, App, App]:
    disks, catalog = FakeDisks(), Catalog(FakeStore())
    stood = SimpleNamespace(blobs=FakeBlobs(), stacks=SimpleNamespace(list=lambda: [STACK]))
    shop, blog = (catalog.create(AppName(n), now=0, owner=None) for n in ("shop", "blog"))
    catalog.save_build(Build("1" * 14, shop.id, "c0ffee", None, 0.0, image="sha256:1", slug=3))
    stood.blobs.put(f"slugs/{'1' * 14}.tgz", [b"abc"])
    stood.blobs.put(f"caches/{shop.id}.tgz", [b"12345"])
    stood.blobs.put(f"builds/{shop.id}/{'1' * 14}", [b"1234567"])
    disks.repositories[shop.id] = Taken(11)
    stack = image("octo/stack:latest", ("root", 700))
    disks.stored = [stack, image(f"octo/{shop.id}:{'1' * 14}", ("root", 700), ("slug", 30))]
    disks.stored += [image(f"octo/{blog.id}:{'2' * 14}", ("python", 90), ("app", 9)), image("python:3", ("python", 90))]
    disks.engine = Taken(GB)
    return Account(stood, catalog, disks, instance="octo", least=1024 * MB), shop, blog


def test_a_report_names_what_each_app_takes_and_adds_up() -> None:
    report = made()[0].report()
    assert {a.name: h for a, h in report.apps} == {"shop": Held(30, 3, 5, 11, 7), "blog": Held(9)}
    assert {p.name: p.bytes for p in report.parts} == {
        "apps": 65, "shared": 0, "stacks": 1700, "build engine": GB, "octo's own": 1000,
    }  # fmt: skip
    assert report.rooms == [Room("/var/lib/octo", 100 * GB, 50 * GB)] and report.least == 1024 * MB


def test_one_app_is_reported_as_in_the_whole() -> None:
    account, shop, blog = made()
    assert {a.id: h for a, h in account.report().apps} == {a.id: account.app(a) for a in (shop, blog)}


def test_what_is_held_adds_up() -> None:
    assert (Held(1, 2, 3, 4, 5) + Held(10)).total == 25
