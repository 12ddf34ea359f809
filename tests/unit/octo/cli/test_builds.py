"""builds and builds:download: the commands and the real API behind them, on builds of every kind."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import pytest

import octo.cli
from octo.catalog.writes import app_write, release_write
from octo.cli.client import Api
from octo.cli.session import Session
from octo.daemon.access import Access, Actor
from octo.daemon.routes import application
from octo.model import App, AppName, Build, BuildStatus, Release, ReleaseStatus, UserName
from octo.pipeline.plan import slug_blob
from tests.crash.world import World
from tests.serving import serving

Run = Callable[..., tuple[int, str, str]]
MAIN = "refs/heads/main"


@dataclass
class Stage:
    world: World
    path: Path
    token: str

    def built(self, app: App, number: int, commit: str, ref: str = MAIN, **changes: object) -> Build:
        """A build with its own slug, and its release, which serves."""
        build = Build(
            f"6920aabb0000{number:02d}", app.id, commit, None, float(number), BuildStatus.SUCCEEDED, number + 0.5,
            "sha", "x", "octo-1", 6, ref=ref,
        )  # fmt: skip
        build = replace(build, **changes)  # type: ignore[arg-type]
        self.world.catalog.save_build(build)
        if build.status is BuildStatus.SUCCEEDED:
            release = Release(app.id, number, "sha", 1.0, commit, build=build.id, status=ReleaseStatus.LIVE)
            self.world.store.put_many([release_write(release), app_write(replace(app, live=number))])
        if build.stack:
            self.world.blobs.put(slug_blob(build.id), [f"slug {number}".encode()])
        return build


ONE, TWO, DRAFT = "c0ffee1" + "0" * 33, "c0ffee2" + "0" * 33, "beef" * 10


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """ann's app shop: of main 1, 2, 2 again and a failed one; 5 of draft/x; 6 of a Dockerfile; 7 from before refs."""
    world = World()
    octo = SimpleNamespace(
        catalog=world.catalog, ports=world.ports, url=lambda app: f"http://{app.name}", git_url=lambda app: ""
    )
    access, path = Access(world.catalog), tmp_path / "api.sock"
    made = Stage(world, path, access.grant(Actor(UserName("ann"))))
    app = world.catalog.create(AppName("shop"), now=1.0, owner=UserName("ann"))
    world.catalog.create(AppName("empty"), now=1.0, owner=None)
    made.built(app, 1, ONE)
    made.built(app, 2, TWO)
    made.built(app, 3, TWO)
    made.built(app, 4, TWO, status=BuildStatus.FAILED, stack="", slug=0)
    made.built(app, 5, DRAFT, "refs/heads/draft/x")
    made.built(app, 6, "d0" * 20, "refs/heads/docker", stack="", slug=0)
    made.built(app, 7, "01d0" * 10, "")
    with serving({path: application(octo, access, {})}):
        yield made


@pytest.mark.row("F5")
@pytest.mark.parametrize(
    ("words", "slug"),
    [
        ("shop main", 3),  # the newest that has a slug
        ("-a shop refs/heads/main", 3),
        (f"shop main@{ONE}", 1),
        ("shop main@c0ffee1", 1),
        ("shop main@v1", 1),
        ("shop @c0ffee2", 3),
        ("shop c0ffee1", 1),
        ("shop v2", 2),
        ("shop 6920aabb000002", 2),
        ("shop 6920aabb000002 --raw", 2),
        ("shop draft/x", 5),
        ("shop", 7),  # the one that serves
        (f"ann/shop/main/{ONE}", 1),
        ("ann/shop/draft%2Fx/beef", 5),
        ("ann/shop/main/v2", 2),
    ],
)
def test_a_slug_is_fetched_by_what_it_was_pushed_as(run: Run, words: str, slug: int) -> None:
    code, out, err = run("builds:download", *words.split(), user=True)
    assert (code, out) == (0, f"slug {slug}") and f"build 6920aabb0000{slug:02d}: 6" in err


@pytest.mark.row("F5")
@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        ("shop c0ffee", 2, 'which is meant by "c0ffee"'),
        ("shop 6920aabb0", 2, 'which is meant by "6920aabb0"'),
        ("shop nosuch", 1, 'cannot find such a build of "shop"'),
        ("shop main@beef", 1, "cannot find such a build"),
        ("bob/shop/main/c0ffee1", 1, "cannot find such a build"),
        ("ann/shop/draft/x/beef", 2, "cannot use"),
        ("ann/shop/draft%2fx/beef", 2, "cannot use"),
        ("ann/nosuch/main/c0ffee", 20, "cannot find the app"),
        ("shop docker", 1, "a Dockerfile makes an image and no slug"),
        ("shop 6920aabb000004", 1, "not built to its end"),
        ("empty", 1, 'no release of "empty" serves'),
        ("shop main more", 2, "one too many"),
        ("shop ../../etc", 2, "to find a slug"),
        ("../x", 2, "as the name of a slug"),
    ],
)
def test_what_cannot_be_fetched_is_told_and_nothing_is_written(run: Run, words: str, code: int, why: str) -> None:
    said = run("builds:download", *words.split())
    assert said[:2] == (code, "") and why in said[2]


def test_the_slug_that_the_pruning_took_is_told_and_an_older_kept_one_is_not_passed_off(run: Run, stage: Stage) -> None:
    stage.world.blobs.delete(slug_blob("6920aabb000001"))
    code, out, err = run("builds:download", "shop", f"main@{ONE}")
    assert (code, out) == (1, "") and "it has been removed" in err and "keep_releases" in err


@pytest.mark.row("F5")
def test_nobody_fetches_without_the_right_to_read_the_app(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["shop", "main"], ["nosuch", "main"], ["ann/shop/main/c0ffee1"]):
        assert octo.cli.main(["builds:download", *words], Session(Api(stage.path, "stranger"))) == 1
        said = capsys.readouterr()
        assert said.out == "" and said.err.startswith(" !     not an authorized user\n")


def test_builds_show_ref_commit_and_what_can_be_fetched(run: Run, stage: Stage) -> None:
    stage.world.blobs.delete(slug_blob("6920aabb000001"))
    lines = [line.split() for line in run("builds", "shop")[1].splitlines()]
    assert lines[0][:6] == ["BUILD", "STATUS", "REF", "COMMIT", "RELEASE", "SLUG"]
    assert lines[3][:6] == ["6920aabb000005", "succeeded", "draft/x", "beefbeef", "v5", "6"]
    assert lines[7][:6] == ["6920aabb000001", "succeeded", "main", "c0ffee10", "v1", "removed"]
    assert lines[2][:5] == ["6920aabb000006", "succeeded", "docker", "d0d0d0d0", "v6"] and lines[2][5] != "6"
    shown = run("builds:info", "shop", "6920aabb000005")[1]
    assert f"ann/shop/draft%2Fx/{DRAFT}" in shown and " draft/x\n" in shown
