"""The slugs that are kept: each build has its own, and what is gone is told with its reason."""

import json
import os
import threading
from collections.abc import Sequence
from dataclasses import replace

import pytest

from octo.catalog import Catalog
from octo.catalog.writes import release_write
from octo.errors import NotFound
from octo.model import App, AppName, Build, BuildStatus, Release, ReleaseStatus
from octo.pipeline.admission import Admission
from octo.pipeline.attend import Session
from octo.pipeline.build import Builds, Order, Rules
from octo.pipeline.disk import DiskGuard
from octo.pipeline.effects import prune_images
from octo.pipeline.permits import Permits
from octo.pipeline.plan import slug_blob
from octo.pipeline.slugs import Slugs
from octo.pipeline.source import Source
from octo.pipeline.submodules import Submodules
from octo.ports import Limits, SandboxSpec, SlugSpec, Streams
from octo.slugname import Wanted
from octo.specs import GB
from tests.fakes import FakeConsole, FakeDisks
from tests.unit.octo.pipeline.parts import Stood, ports

LIMITS = Limits(GB, 1.0, 512, 900)
MAIN = "refs/heads/main"


@pytest.fixture
def stood() -> Stood:
    return ports()


@pytest.fixture
def catalog(stood: Stood) -> Catalog:
    return Catalog(stood.ports.store)


@pytest.fixture
def app(catalog: Catalog) -> App:
    return catalog.create(AppName("shop"), now=1.0, owner=None)


@pytest.fixture
def slugs(stood: Stood, catalog: Catalog) -> Slugs:
    return Slugs(stood.blobs, catalog)


def content(slugs: Slugs, build: Build) -> bytes:
    return b"".join(slugs.open(build)[1])


def two_at_once(stood: Stood, catalog: Catalog, app: App) -> Sequence[Build]:
    """Builds of one ref and commit; neither sandbox ends before both have begun, and each slug says whose it is."""
    together, done = threading.Barrier(2), []

    def act(spec: SandboxSpec, streams: Streams) -> int:
        while os.read(streams.stdin, 4096):
            pass
        together.wait(20)
        stood.blobs.put(slug_blob(spec.id), [f"slug of {spec.id}".encode()])
        together.wait(20)
        os.write(streams.stdout, json.dumps({"buildpack": "x", "processes": {}, "slug": {"bytes": 22}}).encode())
        return 0

    def compose(spec: SlugSpec, slug: object) -> str:
        return "sha256:" + "1" * 64

    def build() -> None:
        session = Session({}, "/nowhere", lambda: None)
        source = Source("c0ffee", None, None)
        order = Order(app, source, None, lambda _: session, lambda *_: session, lambda _: True, lambda: False, MAIN)
        done.append(builds.build(order, [b"tar"], FakeConsole()))

    stood.sandbox.act = act
    stood.builder.compose = compose  # type: ignore[attr-defined, method-assign, assignment]
    submodules, guard = Submodules(stood.sandbox, catalog, LIMITS), DiskGuard(FakeDisks(), 0)
    rules, place = Rules(LIMITS, "octo"), Admission(2, 2)
    permits = Permits(stood.ports, catalog, {})
    builds = Builds(stood.ports, catalog, rules, lambda write: FakeConsole(), place, submodules, guard, permits)
    threads = [threading.Thread(target=build) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return done


@pytest.mark.row("F5")
def test_two_builds_of_one_ref_and_commit_at_once_keep_a_slug_each(
    stood: Stood, catalog: Catalog, app: App, slugs: Slugs
) -> None:
    one, other = two_at_once(stood, catalog, app)
    assert (one.ref, one.commit) == (other.ref, other.commit) == (MAIN, "c0ffee") and one.id != other.id
    assert {b.id for b in slugs.find(app, Wanted(ref=MAIN, version="c0ffee"))} == {one.id, other.id}
    for build in (one, other):
        assert content(slugs, build) == f"slug of {build.id}".encode() and slugs.size(build) == 22


def built(catalog: Catalog, stood: Stood, app: App, number: int) -> Build:
    """A build with a slug of so many bytes and a release that served."""
    commit = f"{number:040x}"
    build = Build(
        f"b{number}", app.id, commit, None, number + 0.1, BuildStatus.SUCCEEDED, image="sha", stack="octo-1", ref=MAIN
    )
    catalog.save_build(build)
    stood.blobs.put(slug_blob(build.id), [b"x" * number])
    release = Release(app.id, number, "sha", number + 0.5, commit, build=build.id, status=ReleaseStatus.LIVE)
    catalog.store.put_many([release_write(release)])
    return build


@pytest.mark.row("F5")
def test_a_slug_that_was_pruned_is_told_with_what_brings_it_back(
    stood: Stood, catalog: Catalog, app: App, slugs: Slugs
) -> None:
    builds = [built(catalog, stood, app, number) for number in (1, 2, 3)]
    prune_images(stood.ports, catalog, replace(app, live=3), "octo", keep=2)
    assert [slugs.size(b) for b in catalog.builds(app)] == [None, 2, 3]
    with pytest.raises(NotFound, match="it has been removed") as caught:
        slugs.open(builds[0])
    assert "keep_releases" in caught.value.hint
    assert [b.id for b in slugs.find(app, Wanted(version="v1"))] == ["b1"]


@pytest.mark.parametrize(
    ("status", "stack", "why"),
    [
        (BuildStatus.RUNNING, "", "still being built"),
        (BuildStatus.FAILED, "", "not built to its end"),
        (BuildStatus.ABANDONED, "", "not built to its end"),
        (BuildStatus.SUCCEEDED, "", "a Dockerfile makes an image and no slug"),
        (BuildStatus.SUCCEEDED, "octo-1", "removed"),
    ],
)
def test_a_build_without_a_slug_says_why(
    stood: Stood, catalog: Catalog, app: App, slugs: Slugs, status: BuildStatus, stack: str, why: str
) -> None:
    """What a sandbox has sent of a build under way is nobody's yet."""
    build = replace(built(catalog, stood, app, 1), status=status, stack=stack)
    if why == "removed":
        stood.blobs.delete(slug_blob(build.id))
    with pytest.raises(NotFound, match=why) as caught:
        slugs.open(build)
    assert caught.value.hint and slugs.size(build) is None


def test_builds_of_one_second_are_found_in_the_order_of_their_beginning(
    stood: Stood, catalog: Catalog, app: App, slugs: Slugs
) -> None:
    first = replace(built(catalog, stood, app, 1), id="b9")
    catalog.save_build(replace(first, created_at=1.05))
    assert [b.id for b in slugs.find(app, Wanted())] == ["b9", "b1"]
