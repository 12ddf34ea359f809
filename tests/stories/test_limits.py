"""What builds may take, who waits for whom, and what is left when octod or the pusher goes in the middle."""

import os
import re
import signal
import subprocess
from collections.abc import Iterator

import pytest

from tests.apps import buildpacks as apps
from tests.stories.conftest import Name, serving
from tests.stories.host import Host, Repository

MINE = "echo now it waits; exec sleep inf"
HUNGRY = "python3 -c 'x = bytearray(200 << 20); print(len(x), \"bytes had\")'"
CACHED = "if [ -e /work/cache/mark ]; then echo warm; else echo cold; fi; touch /work/cache/mark"


@pytest.fixture(scope="module", params=["lxc", "docker"])
def yard(request: pytest.FixtureRequest) -> Iterator[Host]:
    """One place to build, and 128 MB for it."""
    with serving(OCTO_SANDBOX=request.param, OCTO_BUILD_QUEUE="1", OCTO_BUILD_MEMORY_MB="128") as made:
        yield made


def until(push: "subprocess.Popen[str]", words: str) -> str:
    """What a push prints up to the line that has the words."""
    said = ""
    assert push.stdout
    for line in push.stdout:
        said += line
        if words in line:
            return said
    raise AssertionError(f"{words!r} never came:\n{said}")


def hang_up(push: "subprocess.Popen[str]") -> None:
    os.killpg(push.pid, signal.SIGKILL)
    push.communicate()


# --- limits of one app ---


@pytest.mark.row("C4")
def test_a_limit_of_an_app_is_what_its_next_build_may_take(yard: Host, names: Name) -> None:
    clone = Repository(yard, names("hungry"), apps.hostile(HUNGRY))
    said = clone.push(code=1)
    assert "ran out of memory (limit 128 MB)" in said
    assert f"octo limits:set {clone.app} memory=" in said
    row = r"memory\s+{}\s+{}"
    assert re.search(row.format("128M", "all apps"), yard.octo("limits", clone.app))
    yard.octo("limits:set", clone.app, "memory=600M")
    assert re.search(row.format("600M", "this app"), yard.octo("limits", clone.app))
    assert "bytes had" in clone.push()
    assert yard.get(clone.app) == (200, "here")
    yard.octo("limits:unset", clone.app, "memory")
    clone.commit({"more": "more"})
    assert "ran out of memory (limit 128 MB)" in clone.push(code=1)


@pytest.mark.row("C4")
def test_only_the_operator_sets_limits(yard: Host, names: Name) -> None:
    app = names("greedy")
    yard.octo("apps:create", app)
    assert "memory" in yard.ssh("limits", app).stdout
    for words in (("limits:set", app, "memory=64G"), ("limits:unset", app, "memory")):
        refused = yard.ssh(*words)
        assert refused.returncode != 0 and "only the operator may" in refused.stderr + refused.stdout
    assert not [limit for limit in yard.json("limits", app) if limit["own"]]


# --- the queue ---


@pytest.mark.row("C13")
def test_who_waits_for_a_place_to_build_reads_its_number(yard: Host, names: Name) -> None:
    first = Repository(yard, names("first"), apps.hostile(MINE)).start_push()
    until(first, "now it waits")
    clone = Repository(yard, names("second"), apps.static("second"))
    second = clone.start_push()
    until(second, "Waiting for a free place to build: number 1 in the queue")
    third = Repository(yard, names("third"), apps.static("third")).start_push()
    until(third, "Waiting for a free place to build: number 2 in the queue")
    hang_up(first)
    rest = second.communicate()[0]
    assert second.returncode == 0, rest
    rest = third.communicate()[0]
    assert third.returncode == 0, rest
    assert yard.get(clone.app) == (200, "<h1>second</h1>\n")
    (build,) = yard.json("builds", "-a", clone.app)
    assert "number 1 in the queue" in yard.octo("builds:output", "-a", clone.app, build["id"])


@pytest.mark.row("C13")
def test_who_hangs_up_in_the_queue_leaves_it(yard: Host, names: Name) -> None:
    first = Repository(yard, names("first"), apps.hostile(MINE)).start_push()
    until(first, "now it waits")
    second = Repository(yard, names("second"), apps.static("second")).start_push()
    until(second, "number 1 in the queue")
    third = Repository(yard, names("third"), apps.static("third")).start_push()
    until(third, "number 2 in the queue")
    hang_up(second)
    until(third, "number 1 in the queue")
    hang_up(first)
    rest = third.communicate()[0]
    assert third.returncode == 0, rest


@pytest.mark.row("B13")
def test_a_fetch_that_fails_does_not_disturb_a_push_to_the_same_app(yard: Host, names: Name) -> None:
    first = Repository(yard, names("first"), apps.hostile(MINE)).start_push()
    until(first, "now it waits")
    clone = Repository(yard, names("second"), apps.static("second"))
    second = clone.start_push()
    until(second, "number 1 in the queue")
    assert "not our ref" in Repository(yard, clone.app, {}).git("fetch", "octo", "1" * 40, code=128)
    hang_up(first)
    rest = second.communicate()[0]
    assert second.returncode == 0, rest
    assert yard.get(clone.app) == (200, "<h1>second</h1>\n")


# --- the cache, the disk ---


@pytest.mark.row("E5")
def test_a_purged_cache_makes_the_next_build_a_cold_one(yard: Host, names: Name) -> None:
    clone = Repository(yard, names("cached"), apps.hostile(CACHED))
    assert "       cold" in clone.push()
    clone.commit({"more": "1"})
    assert "       warm" in clone.push()
    blob = yard.home / "octo/blobs/caches" / f"{yard.json('apps:info', '-a', clone.app)['id']}.tgz"
    assert blob.exists()
    assert "Emptied the build cache" in yard.octo("build:cache:purge", "-a", clone.app)
    assert not blob.exists()
    clone.commit({"more": "2"})
    assert "       cold" in clone.push()
    assert yard.get(clone.app) == (200, "here")


def test_octo_disk_says_what_takes_the_room(yard: Host, names: Name) -> None:
    clone = Repository(yard, names("large"), {**apps.static("large"), "large": "x" * 3_000_000})
    clone.push()
    found = yard.json("disk", clone.app)
    assert found["images"] > 3_000_000
    (blob,) = (yard.home / "octo/blobs/slugs").glob("*.tgz")
    assert found["slugs"] == blob.stat().st_size
    assert found["repository"] > 0 and found["builds"] > 0
    assert found["total"] == sum(found[part] for part in ("images", "slugs", "cache", "repository", "builds"))
    said = yard.octo("disk")
    assert clone.app in said and "a push needs 1.00 GB." in said


def test_a_push_is_refused_with_figures_when_the_disk_is_nearly_full(yard: Host, names: Name) -> None:
    clone = Repository(yard, names("late"), apps.static("one"))
    clone.push()
    yard.stop()
    yard.env["OCTO_FREE_DISK_MB"] = "999999999"
    try:
        yard.start()
        clone.commit({"index.html": "two"})
        said = clone.push(code=None)
        assert re.search(r"cannot take the push: [0-9.]+ [MG]B are free on /\S*, 976562\.5 GB are needed", said), said
        assert "octo disk" in said
        assert "Pushes are refused" in yard.octo("disk")
        assert yard.get(clone.app) == (200, "<h1>one</h1>\n")
    finally:
        yard.stop()
        del yard.env["OCTO_FREE_DISK_MB"]
        yard.start()
    clone.push()
    assert yard.get(clone.app) == (200, "two")


# --- the middle of a build ---


def pushing(yard: Host, app: str) -> "tuple[Repository, subprocess.Popen[str]]":
    """An app that serves, and a push to it whose build goes on until somebody ends it."""
    clone = Repository(yard, app, apps.static("one"))
    clone.push()
    clone.commit(apps.hostile(MINE))
    push = clone.start_push()
    until(push, "now it waits")
    assert len(yard.sandboxed()) > 2
    return clone, push


@pytest.mark.row("C11")
def test_octod_killed_in_the_middle_of_a_build_leaves_nothing_once_it_is_back(yard: Host, names: Name) -> None:
    clone, push = pushing(yard, names("shop"))
    yard.kill()
    rest = push.communicate()[0]
    assert push.returncode != 0, rest
    yard.start()
    yard.idle()
    assert not yard.left_over()
    assert {b["status"] for b in yard.json("builds", "-a", clone.app)} == {"succeeded", "abandoned"}
    assert yard.get(clone.app) == (200, "<h1>one</h1>\n")
    clone.commit(apps.hostile("echo done"))
    clone.push()
    assert yard.get(clone.app) == (200, "here")


@pytest.mark.row("C11")
@pytest.mark.row("T4")
def test_a_pusher_who_hangs_up_ends_the_build(yard: Host, names: Name) -> None:
    clone, push = pushing(yard, names("shop"))
    hang_up(push)
    yard.idle()
    assert not yard.left_over()
    assert [b["status"] for b in yard.json("builds", "-a", clone.app)].count("abandoned") == 1
    assert yard.get(clone.app) == (200, "<h1>one</h1>\n")
    clone.commit(apps.hostile("echo done"))
    clone.push()
    assert yard.get(clone.app) == (200, "here")
