"""Which stack a build takes, and which versions must stay."""

import json
import os
from collections.abc import Iterable
from dataclasses import replace

import pytest

from octo.catalog import Catalog
from octo.catalog.writes import app_write, release_write
from octo.errors import BuildFailed
from octo.model import App, AppName, Build, BuildStatus, Release, ReleaseStatus
from octo.pipeline.admission import Admission
from octo.pipeline.attend import Session
from octo.pipeline.build import Builds, Order, Rules
from octo.pipeline.disk import DiskGuard
from octo.pipeline.permits import Permits
from octo.pipeline.plan import slug_blob
from octo.pipeline.source import Source
from octo.pipeline.stacks import needed
from octo.pipeline.submodules import Submodules
from octo.ports import Limits, SandboxSpec, SlugSpec, Streams
from octo.specs import GB
from tests.fakes import FakeConsole, FakeDisks
from tests.unit.octo.pipeline.parts import Stood, ports

LIMITS = Limits(GB, 1.0, 64, 60)


@pytest.fixture
def stood() -> Stood:
    return ports()


@pytest.fixture
def catalog(stood: Stood) -> Catalog:
    return Catalog(stood.ports.store)


@pytest.fixture
def app(catalog: Catalog) -> App:
    return catalog.create(AppName("shop"), now=1.0, owner=None)


# --- which one a build takes --------------------------------------------------------------------------------------


class Kitchen:
    """Builds whose sandbox makes a slug of nothing. `composed` has what images were made of."""

    def __init__(self, stood: Stood, catalog: Catalog) -> None:
        self.composed: list[SlugSpec] = []
        self.sandboxed: list[SandboxSpec] = []
        self._stood = stood
        stood.sandbox.act = self._act
        stood.builder.compose = self._compose  # type: ignore[attr-defined]
        submodules = Submodules(stood.sandbox, catalog, LIMITS)
        guard, permits, rules = DiskGuard(FakeDisks(), 0), Permits(stood.ports, catalog, {}), Rules(LIMITS, "octo")
        self._builds = Builds(
            stood.ports, catalog, rules, lambda write: FakeConsole(), Admission(1, 1), submodules, guard, permits
        )

    def build(self, app: App) -> Build:
        order = Order(
            app,
            Source("c0ffee", None, None),
            None,
            lambda id: Session({}, "/nowhere", lambda: None),
            lambda id, app: Session({}, "/nowhere", lambda: None),
            lambda app: True,
            lambda: False,
        )
        return self._builds.build(order, [b"tar"], FakeConsole())

    def stack_made(self) -> None:
        self._builds.warm_stack()

    def _act(self, spec: SandboxSpec, streams: Streams) -> int:
        self.sandboxed.append(spec)
        while os.read(streams.stdin, 4096):
            pass
        self._stood.blobs.put(slug_blob(spec.id), [b"slug"])
        os.write(streams.stdout, json.dumps({"buildpack": "x", "processes": {}, "slug": {"bytes": 4}}).encode())
        return 0

    def _compose(self, spec: SlugSpec, slug: Iterable[bytes]) -> str:
        self.composed.append(spec)
        return "sha256:" + "1" * 64


@pytest.mark.row("C5")
def test_an_app_builds_and_runs_on_the_stack_that_its_config_names(stood: Stood, catalog: Catalog, app: App) -> None:
    media = stood.stacks.build("media", {"packages": "ffmpeg"}, lambda data: None)
    kitchen = Kitchen(stood, catalog)
    by_default = kitchen.build(app)
    catalog.store.put_many(catalog.config_writes(app, {"STACK": "media"}))
    by_name = kitchen.build(app)
    assert [by_default.stack, by_name.stack] == ["octo-1", media.id]
    assert [s.stack for s in kitchen.sandboxed] == ["octo-1", media.id]
    assert [s.stack for s in kitchen.composed] == ["octo-1", media.id]


@pytest.mark.row("C5")
def test_a_stack_that_is_not_there_fails_the_build_and_says_how_to_make_it(
    stood: Stood, catalog: Catalog, app: App
) -> None:
    catalog.store.put_many(catalog.config_writes(app, {"STACK": "media"}))
    with pytest.raises(BuildFailed, match="media") as caught:
        Kitchen(stood, catalog).build(app)
    assert caught.value.hint.endswith("octo stack:build media")


# --- which ones must stay -----------------------------------------------------------------------------------------


def built(catalog: Catalog, app: App, number: int, stack: str, status: BuildStatus = BuildStatus.SUCCEEDED) -> Build:
    """A build and, when it went well, its release; the newest one is live."""
    image = "sha256:1" if status is BuildStatus.SUCCEEDED else ""
    build = Build(f"b{number}", app.id, "c0ffee", None, float(number), status, image=image, stack=stack)
    catalog.save_build(build)
    if status is BuildStatus.SUCCEEDED:
        release = Release(app.id, number, build.image, number + 0.5, build=build.id, status=ReleaseStatus.LIVE)
        catalog.store.put_many([release_write(release), app_write(replace(app, live=number))])
    return build


def test_a_stack_is_taken_over_ahead_only_where_dockerfiles_are_built(stood: Stood, catalog: Catalog, app: App) -> None:
    kitchen = Kitchen(stood, catalog)
    catalog.save_build(replace(built(catalog, app, 1, "octo-1"), buildpack="x"))
    kitchen.stack_made()
    assert stood.builder.warmed == 0
    built(catalog, app, 2, "")
    kitchen.stack_made()
    assert stood.builder.warmed == 1


def test_what_nothing_was_built_on_is_not_needed(catalog: Catalog, app: App) -> None:
    built(catalog, app, 1, "octo-1")
    assert needed(catalog, 2)("octo-1")
    assert not needed(catalog, 2)("octo-2")


def test_a_version_is_needed_until_its_last_image_may_go(catalog: Catalog, app: App) -> None:
    for number, stack in enumerate(("octo-1", "octo-2", "octo-3"), 1):
        built(catalog, app, number, stack)
    assert [needed(catalog, 2)(f"octo-{n}") for n in (1, 2, 3)] == [False, True, True]


def test_a_build_whose_image_is_gone_needs_none(catalog: Catalog, app: App) -> None:
    catalog.save_build(replace(built(catalog, app, 1, "octo-1"), image=""))
    assert not needed(catalog, 2)("octo-1")


def test_while_a_build_is_under_way_all_are_needed(catalog: Catalog, app: App) -> None:
    build = built(catalog, app, 1, "", BuildStatus.RUNNING)
    assert needed(catalog, 2)("octo-1")
    catalog.save_build(replace(build, status=BuildStatus.ABANDONED))
    assert not needed(catalog, 2)("octo-1")
