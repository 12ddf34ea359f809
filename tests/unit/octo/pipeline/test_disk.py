"""A push is refused before the disk is full; what nothing needs goes, and nothing else."""

from types import SimpleNamespace

import pytest

from octo.catalog import Catalog
from octo.disk import Room, Stored
from octo.errors import Full
from octo.model import App, AppName, Build, BuildStatus
from octo.pipeline.disk import FILES, DiskGuard, Pruner, megabytes, unneeded, untaggable
from octo.specs import GB, MB
from tests.fakes import FakeBlobs, FakeDisks, FakeStore
from tests.fakes_docker import FakeRuntime

A, B, GONE = "a" * 12, "b" * 12, "c" * 12
RUNNING, KEPT, PRUNED, FORGOTTEN = "1" * 14, "2" * 14, "3" * 14, "4" * 14


def build(id: str, *, image: str = "", status: BuildStatus = BuildStatus.SUCCEEDED, app: str = A) -> Build:
    return Build(id, app, "c0ffee", None, 0.0, status, image=image)


BUILDS = [build(RUNNING, status=BuildStatus.RUNNING), build(KEPT, image="sha256:1"), build(PRUNED)]


@pytest.fixture
def disks() -> FakeDisks:
    return FakeDisks()


@pytest.fixture
def guard(disks: FakeDisks) -> DiskGuard:
    return DiskGuard(disks, 1024 * MB)


def test_a_push_is_refused_with_figures_before_a_disk_is_full(guard: DiskGuard, disks: FakeDisks) -> None:
    disks.free.append(Room("/var/lib/docker", 20 * GB, 812 * MB))
    with pytest.raises(Full) as raised:
        guard.check("take the push")
    assert raised.value.message == "cannot take the push: 812 MB are free on /var/lib/docker, 1024 MB are needed"
    assert "octo disk" in raised.value.hint


def test_a_push_is_refused_when_no_more_files_can_be_made(guard: DiskGuard, disks: FakeDisks) -> None:
    disks.free.append(Room("/srv", 20 * GB, 10 * GB, files=812))
    with pytest.raises(Full, match=f"812 files can still be made on /srv, {FILES} are needed"):
        guard.check("build")


def test_enough_is_enough(guard: DiskGuard, disks: FakeDisks) -> None:
    disks.free = [Room("/srv", 20 * GB, 1024 * MB, files=FILES), Room("/btrfs", 20 * GB, 1024 * MB)]
    guard.check("take the push")


@pytest.mark.parametrize(("number", "said"), [(812.4 * MB, "812 MB"), (0, "0 MB"), (12.34 * GB, "12.3 GB")])
def test_figures_are_plain(number: float, said: str) -> None:
    assert megabytes(number) == said


# --- what goes ------------------------------------------------------------------------------------------------------

GOES = [f"builds/{GONE}/{KEPT}", f"builds/{A}/{FORGOTTEN}", f"caches/{GONE}.tgz", f"repos/{GONE}.bundle"]
GOES += [f"slugs/{PRUNED}.tgz", f"slugs/{FORGOTTEN}.tgz"]
STAYS = [f"builds/{A}/{PRUNED}", f"caches/{A}.tgz", f"repos/{B}.bundle", f"slugs/{KEPT}.tgz", f"slugs/{RUNNING}.tgz"]
# By another's hand: no exact name of octo's.
STAYS += ["builds", f"builds/{GONE}", f"caches/{GONE}.tgz.old", "slugs/mine.tgz", "notes.txt", f"x/slugs/{PRUNED}.tgz"]
STAYS += [f"slugs/{PRUNED.upper()}x.tgz", f"caches/{GONE}x.tgz"]


@pytest.mark.parametrize("name", GOES)
def test_a_blob_that_nothing_needs_goes(name: str) -> None:
    assert unneeded([name], [A, B], BUILDS) == [name]


@pytest.mark.parametrize("name", STAYS)
def test_a_blob_that_is_needed_or_is_not_octos_stays(name: str) -> None:
    assert unneeded([name], [A, B], BUILDS) == []


def test_a_cache_of_an_app_that_was_never_built_stays() -> None:
    assert unneeded([f"caches/{A}.tgz"], [A], []) == []


TAGS_GO = [f"octo/{GONE}:{KEPT}", f"octo/{A}:{PRUNED}", f"octo/{A}:{FORGOTTEN}"]
TAGS_STAY = [
    f"octo/{A}:{KEPT}",
    f"octo/{A}:{RUNNING}",
    f"octo2/{GONE}:{KEPT}",
    f"octo/{GONE}:latest",
    "octo/stack:latest",
]
TAGS_STAY += [f"registry/octo/{GONE}:{KEPT}", f"octo/{GONE}x:{KEPT}", "<none>:<none>", f"octoX{GONE}:{KEPT}"]


@pytest.mark.row("D6")
@pytest.mark.parametrize("tag", TAGS_GO)
def test_an_image_that_nothing_needs_goes(tag: str) -> None:
    assert untaggable([tag], "octo", [A, B], BUILDS) == [tag]


@pytest.mark.parametrize("tag", TAGS_STAY)
def test_an_image_that_is_needed_or_is_not_octos_stays(tag: str) -> None:
    assert untaggable([tag], "octo", [A, B], BUILDS) == []


def test_what_a_crash_left_is_swept_and_a_second_sweep_finds_nothing() -> None:
    disks, stood = FakeDisks(), SimpleNamespace(blobs=FakeBlobs(), runtime=FakeRuntime())
    catalog = Catalog(FakeStore())
    app: App = catalog.create(AppName("shop"), now=0, owner=None)
    for each in (build(KEPT, image="sha256:1", app=app.id), build(PRUNED, app=app.id)):
        catalog.save_build(each)
        stood.runtime.add(f"octo/{app.id}:{each.id}")
        stood.blobs.put(f"slugs/{each.id}.tgz", [b"x"])
    stood.runtime.add(f"octo/{GONE}:{KEPT}")
    stood.blobs.put(f"caches/{GONE}.tgz", [b"x"])
    disks.stored = [Stored("", (name,), ()) for name in stood.runtime.names]
    gone = Pruner(stood, catalog, disks, "octo").sweep()
    assert sorted(gone) == sorted(
        [f"caches/{GONE}.tgz", f"slugs/{PRUNED}.tgz", f"octo/{app.id}:{PRUNED}", f"octo/{GONE}:{KEPT}"]
    )
    assert stood.blobs.list("") == [f"slugs/{KEPT}.tgz"] and list(stood.runtime.names) == [f"octo/{app.id}:{KEPT}"]
    disks.stored = [Stored("", (name,), ()) for name in stood.runtime.names]
    assert Pruner(stood, catalog, disks, "octo").sweep() == []
