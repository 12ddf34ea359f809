"""Repositories as archives among the blobs: fetched for a push, stored after it. In both kinds of sandbox."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.apps import buildpacks as apps
from tests.stories.conftest import serving
from tests.stories.host import Host, Repository
from tests.stories.test_submodules import add_submodule

Make = Callable[..., Repository]
HANG = "echo now it hangs; exec sleep inf"


@pytest.fixture(scope="module", params=["lxc", "docker"])
def yard(request: pytest.FixtureRequest) -> Iterator[Host]:
    with serving(OCTO_SANDBOX=request.param, OCTO_REPOSITORIES="bundle") as made:
        yield made


@pytest.fixture
def make(yard: Host) -> Iterator[Make]:
    """Makes clones for apps of their own, which are destroyed afterwards; nothing may be left of them."""
    made: list[Repository] = []

    def clone(files: dict[str, str]) -> Repository:
        made.append(Repository(yard, f"shop-{os.urandom(3).hex()}", files))
        return made[-1]

    yield clone
    archives = [archive(yard, each.app) for each in made]
    for each in made:
        yard.octo("apps:destroy", each.app, "--confirm", each.app)
    yard.idle()
    assert not yard.left_over()
    assert not [file for file in archives if file.exists()]


def archive(yard: Host, app: str) -> Path:
    return yard.home / "octo/blobs/repos" / f"{yard.json('apps:info', '-a', app)['id']}.bundle"


def heads(file: Path) -> dict[str, str]:
    done = subprocess.run(["git", "bundle", "list-heads", str(file)], capture_output=True, text=True, check=True)
    return {ref: commit for commit, ref in (line.split() for line in done.stdout.splitlines())}


def commit_of(clone: Repository, name: str = "main") -> str:
    return clone.git("rev-parse", name).strip()


@pytest.mark.row("B2")
@pytest.mark.row("B5")
@pytest.mark.row("B13")
@pytest.mark.row("F2")
@pytest.mark.row("F3")
def test_a_repository_is_stored_after_a_push_and_fetched_for_the_next(yard: Host, make: Make) -> None:
    clone = make(apps.static("one"))
    clone.push()
    file = archive(yard, clone.app)
    first = commit_of(clone)
    assert heads(file)["refs/heads/main"] == first
    assert not list((yard.home / "octo/repos").iterdir())
    copy = Repository(yard, clone.app, {})
    copy.git("fetch", "-q", "octo")
    copy.git("reset", "-q", "--hard", "octo/main")
    clone.commit({"index.html": "two"})
    clone.git("tag", "v2")
    clone.push("main", "v2", "main~1:refs/heads/side")
    assert yard.get(clone.app) == (200, "two")
    wanted = {"refs/heads/main": commit_of(clone), "refs/heads/side": first, "refs/tags/v2": commit_of(clone)}
    assert {ref: commit for ref, commit in heads(file).items() if ref != "HEAD"} == wanted
    copy.git("pull", "-q", "octo", "main")
    assert (copy.folder / "index.html").read_text() == "two"
    clone.git("clone", "-q", yard.url(clone.app), f"{copy.folder}-again")
    assert Path(f"{copy.folder}-again", "index.html").read_text() == "two"
    assert clone.push(":side") and "refs/heads/side" not in heads(file)


@pytest.mark.row("B2")
@pytest.mark.row("B4")
def test_a_push_that_fails_leaves_what_is_stored_as_it_is(yard: Host, make: Make) -> None:
    clone = make(apps.static("good"))
    clone.push()
    file = archive(yard, clone.app)
    before, stored = commit_of(clone), file.read_bytes()
    clone.commit(apps.hostile("exit 7"))
    assert "[remote rejected]" in clone.push("main", "main:side", code=1)
    assert file.read_bytes() == stored
    assert clone.remote_ref() == before and not clone.remote_ref("refs/heads/side")
    assert yard.get(clone.app) == (200, "<h1>good</h1>\n")


def test_a_push_whose_pusher_goes_leaves_what_is_stored_as_it_is(yard: Host, make: Make) -> None:
    clone = make(apps.static("good"))
    clone.push()
    stored = archive(yard, clone.app).read_bytes()
    clone.commit(apps.hostile(HANG))
    push = clone.start_push()
    assert push.stdout
    assert any("now it hangs" in line for line in push.stdout)
    os.killpg(push.pid, 9)
    push.communicate()
    yard.idle()
    assert archive(yard, clone.app).read_bytes() == stored
    assert not yard.left_over()


@pytest.mark.row("B2")
@pytest.mark.parametrize("damage", ["cut", "changed", "empty"])
def test_a_broken_archive_is_told_and_taken_for_empty(yard: Host, make: Make, damage: str) -> None:
    clone = make(apps.static("one"))
    clone.push()
    file = archive(yard, clone.app)
    sound = file.read_bytes()
    changed = bytes(b ^ (0xFF if at == len(sound) - 30 else 0) for at, b in enumerate(sound))
    file.write_bytes({"cut": sound[:-40], "changed": changed, "empty": b""}[damage])
    said = clone.git("ls-remote", "octo")
    assert "cannot read the stored repository: it is broken, and taken for empty" in said and "refs/" not in said
    clone.commit({"index.html": "two"})
    assert "taken for empty" in clone.push()
    assert heads(file)["refs/heads/main"] == commit_of(clone)
    assert yard.get(clone.app) == (200, "two")
    assert "taken for empty" not in clone.git("ls-remote", "octo")


@pytest.mark.row("B2")
def test_an_archive_that_cannot_be_stored_is_told_and_the_next_push_stores_it(yard: Host, make: Make) -> None:
    clone = make(apps.static("one"))
    clone.push()
    file = archive(yard, clone.app)
    sound = file.read_bytes()
    file.unlink()
    file.mkdir()  # in the way
    clone.commit({"index.html": "two"})
    said = clone.push()
    assert "cannot store the repository" in said and "push again" in said
    assert yard.get(clone.app) == (200, "two")
    file.rmdir()
    file.write_bytes(sound)
    assert "Already live as v2" in clone.push()
    assert heads(file)["refs/heads/main"] == commit_of(clone)


@pytest.mark.row("B14")
def test_a_submodule_that_is_another_app_comes_from_its_archive(yard: Host, make: Make) -> None:
    lib = make({"page.html": "from the library"})
    lib.push("main:refs/tags/kept")
    shop = make({"Procfile": "web: cp lib/page.html index.html; exec python3 -m http.server $PORT\n"})
    add_submodule(shop, "lib", commit_of(lib), f"../{lib.app}.git")
    shop.push()
    assert yard.get(shop.app) == (200, "from the library")


@pytest.mark.row("L6")
@pytest.mark.row("L30")
def test_an_import_and_a_restart_work_on_archives_too(yard: Host, make: Make) -> None:
    clone = make(apps.static("brought"))
    clone.git("clone", "-q", "--bare", str(clone.folder), f"{clone.folder}.git")
    assert "v1 is live" in yard.octo("apps:import", clone.app, f"{clone.folder}.git")
    assert yard.get(clone.app) == (200, "<h1>brought</h1>\n")
    assert heads(archive(yard, clone.app))["refs/heads/main"] == commit_of(clone)
    assert "done, v2" in yard.octo("restart", clone.app)
    assert yard.get(clone.app) == (200, "<h1>brought</h1>\n")
