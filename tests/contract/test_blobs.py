"""Blobs' promises, kept by the fake and by files."""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from octo import wiring
from octo.adapters.blobs_files import FileBlobs
from octo.errors import Forbidden, Full, NotFound, Usage
from octo.pipeline.plan import cache_blob, repository_blob, slug_blob
from octo.ports import Blobs, Grant
from octo.signing import Signer
from tests.contract.disk_parts import small_disk
from tests.fakes import FakeBlobs, FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=["fake", "files"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path, clock: FakeClock) -> Blobs:
    signer = Signer(clock.now)
    return FakeBlobs(signer) if request.param == "fake" else FileBlobs(tmp_path / "blobs", signer)


def test_what_was_put_is_got(blobs: Blobs) -> None:
    assert blobs.put("builds/a/1", [b"one", b"two"]) == 6
    assert b"".join(blobs.get("builds/a/1")) == b"onetwo"
    assert blobs.size("builds/a/1") == 6


def test_a_put_that_breaks_leaves_what_was_there(blobs: Blobs) -> None:
    blobs.put("a", [b"old"])

    def broken() -> Iterator[bytes]:
        yield b"half"
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        blobs.put("a", broken())
    assert b"".join(blobs.get("a")) == b"old"
    assert list(blobs.list("")) == ["a"]


def test_an_absent_blob_is_told_and_may_be_deleted(blobs: Blobs) -> None:
    blobs.put("b/c", [b"x"])
    for name in ("a", "b", "b/c/d"):  # nothing, a folder, below a blob
        blobs.delete("a")
        with pytest.raises(NotFound):
            b"".join(blobs.get(name))
        with pytest.raises(NotFound):
            blobs.size(name)


def test_a_list_is_sorted_and_holds_the_prefix(blobs: Blobs) -> None:
    for name in ("builds/b/1", "builds/a/2", "builds/a/1", "builds/ab/1", "caches/a.tgz"):
        blobs.put(name, [b"x"])
    assert list(blobs.list("builds/a/")) == ["builds/a/1", "builds/a/2"]
    assert list(blobs.list("builds/a")) == ["builds/a/1", "builds/a/2", "builds/ab/1"]
    assert list(blobs.list("")) == ["builds/a/1", "builds/a/2", "builds/ab/1", "builds/b/1", "caches/a.tgz"]
    assert list(blobs.list("slugs/")) == []


BAD = [
    "",
    "../x",
    "a/../../x",
    "/etc/x",
    "a//b",
    ".hidden",
    "a/.",
    "nul\0",
    "a/",
    "a\nb",
    "a b",
    "a?b",
    "ä",
    "-x",
    "a%2fb",
]


@pytest.mark.row("F3")
@pytest.mark.parametrize("name", BAD)
def test_no_name_leads_out_of_the_folder(blobs: Blobs, name: str) -> None:
    with pytest.raises(Usage):
        blobs.put(name, [b"x"])
    with pytest.raises(Usage):
        blobs.sign("GET", name, seconds=60)


@pytest.mark.row("F3")
def test_the_names_are_those_of_the_layout(blobs: Blobs) -> None:
    assert repository_blob("0123456789ab") == "repos/0123456789ab.bundle"
    assert slug_blob("6920aabb0c0ffe") == "slugs/6920aabb0c0ffe.tgz"
    assert cache_blob("0123456789ab") == "caches/0123456789ab.tgz"
    for name in (repository_blob("0123456789ab"), slug_blob("6920aabb0c0ffe"), cache_blob("0123456789ab")):
        blobs.put(name, [b"x"])
        assert blobs.check("GET", blobs.sign("GET", name, seconds=60)).name == name


# --- signed paths ---------------------------------------------------------------------------------------------------


@pytest.mark.row("F1")
def test_a_signed_path_allows_what_it_was_signed_for_once(blobs: Blobs) -> None:
    put = blobs.sign("PUT", "slugs/1.tgz", seconds=3600, most=1000)
    get = blobs.sign("GET", "slugs/1.tgz", seconds=600)
    assert blobs.check("PUT", put) == Grant("PUT", "slugs/1.tgz", 1000)
    assert blobs.check("GET", get) == Grant("GET", "slugs/1.tgz", 0)
    for method, target in (("PUT", put), ("GET", get)):
        with pytest.raises(Forbidden, match="used"):
            blobs.check(method, target)


@pytest.mark.row("F1")
def test_a_signed_path_ends_with_its_time(blobs: Blobs, clock: FakeClock) -> None:
    target = blobs.sign("GET", "slugs/1.tgz", seconds=600)
    clock.sleep(601)
    with pytest.raises(Forbidden, match="expired"):
        blobs.check("GET", target)


def test_a_used_path_stays_used_until_its_end(blobs: Blobs, clock: FakeClock) -> None:
    target = blobs.sign("GET", "slugs/1.tgz", seconds=600)
    blobs.check("GET", target)
    for _ in range(599):
        clock.sleep(1)
        with pytest.raises(Forbidden):
            blobs.check("GET", target)


def test_a_path_of_which_nothing_came_can_be_renewed(blobs: Blobs, clock: FakeClock) -> None:
    target = blobs.sign("PUT", "slugs/1.tgz", seconds=3600, most=9)
    blobs.check("PUT", target)
    blobs.renew(target)
    assert blobs.check("PUT", target).most == 9
    blobs.renew(target)
    clock.sleep(3601)
    with pytest.raises(Forbidden, match="expired"):
        blobs.check("PUT", target)
    blobs.renew("nonsense")


@pytest.mark.row("F1")
@pytest.mark.parametrize(
    ("method", "seconds", "most"),
    [("GET", 601, 0), ("PUT", 3601, 9), ("GET", 0, 0), ("PUT", 60, 0), ("PUT", 60, -1), ("GET", 60, 9)],
)
def test_nothing_is_signed_for_long_or_without_a_size(blobs: Blobs, method: str, seconds: float, most: int) -> None:
    with pytest.raises(ValueError, match="BUG"):
        blobs.sign(method, "slugs/1.tgz", seconds=seconds, most=most)


@pytest.mark.row("F4")
def test_another_process_signs_with_another_key(blobs: Blobs, clock: FakeClock) -> None:
    with pytest.raises(Forbidden):
        blobs.check("GET", FakeBlobs(Signer(clock.now)).sign("GET", "slugs/1.tgz", seconds=60))


CHANGES: dict[str, Callable[[str], str]] = {
    "another object": lambda t: t.replace("slugs/1", "slugs/2"),
    "another kind": lambda t: t.replace("slugs/1.tgz", "repos/1.bundle"),
    "a longer life": lambda t: re.sub(r"expires=(\d+)", lambda m: f"expires={int(m[1]) + 1}", t),
    "leading zero": lambda t: t.replace("expires=", "expires=0"),
    "more bytes": lambda t: t.replace("most=1000", "most=1001"),
    "another nonce": lambda t: re.sub("nonce=[0-9a-f]{32}", "nonce=" + "0" * 32, t),
    "encoded slash": lambda t: t.replace("slugs/1", "slugs%2f1"),
    "dots": lambda t: t.replace("slugs/1", "caches/../slugs/1"),
    "encoded dots": lambda t: t.replace("slugs/1", "caches%2f..%2fslugs/1"),
    "a field twice": lambda t: t + "&most=100000",
    "a field twice, in front": lambda t: t.replace("?", "?expires=9999999999&"),
    "fields in another order": lambda t: re.sub(r"\?(expires=\d+)&(most=\d+)", r"?\2&\1", t),
    "shorter signature": lambda t: t[:-1],
    "longer signature": lambda t: t + "0",
    "empty signature": lambda t: re.sub("signature=.*", "signature=", t),
    "no signature": lambda t: re.sub("&signature=.*", "", t),
    "upper case": lambda t: re.sub("[0-9a-f]{64}$", lambda m: m[0].upper(), t),
    "a NUL": lambda t: t + "%00",
    "a line end": lambda t: t + "\n",
    "a fragment": lambda t: t + "#x",
    "one digit": lambda t: t[:-1] + ("0" if t[-1] != "0" else "1"),
    "letters of another alphabet": lambda t: re.sub("most=1000", "most=\u0661\u0660\u0660\u0660", t),
}


@pytest.mark.row("F1")
@pytest.mark.parametrize("change", CHANGES)
def test_an_altered_path_is_refused_and_the_true_one_still_works(blobs: Blobs, change: str) -> None:
    target = blobs.sign("PUT", "slugs/1.tgz", seconds=3600, most=1000)
    altered = CHANGES[change](target)
    assert altered != target
    with pytest.raises(Forbidden):
        blobs.check("PUT", altered)
    assert blobs.check("PUT", target).most == 1000


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "POST", "put", "PUT ", ""])
def test_a_path_for_one_method_is_none_for_another(blobs: Blobs, method: str) -> None:
    target = blobs.sign("PUT", "slugs/1.tgz", seconds=3600, most=1000)
    with pytest.raises(Forbidden):
        blobs.check(method, target)


# --- files alone ----------------------------------------------------------------------------------------------------


def test_files_are_closed_to_others_and_half_written_ones_are_swept(tmp_path: Path) -> None:
    folder = tmp_path / "blobs"
    FileBlobs(folder).put("a", [b"x"])
    (folder / ".new-0123").write_bytes(b"half")
    FileBlobs(folder)
    assert [p.name for p in folder.iterdir()] == ["a"]
    assert folder.stat().st_mode & 0o077 == 0 and (folder / "a").stat().st_mode & 0o077 == 0


def test_the_last_blob_of_a_folder_takes_it_along(tmp_path: Path) -> None:
    blobs = FileBlobs(tmp_path / "blobs")
    for name in ("builds/a/1", "builds/a/2", "builds/b/1"):
        blobs.put(name, [b"x"])
    blobs.delete("builds/a/1")
    assert (tmp_path / "blobs/builds/a").is_dir()
    blobs.delete("builds/a/2")
    blobs.delete("builds/a/2")
    assert not (tmp_path / "blobs/builds/a").exists()
    blobs.delete("builds/b/1")
    assert os.listdir(tmp_path / "blobs") == []


@pytest.mark.row("F2")
def test_a_url_names_what_keeps_the_blobs(tmp_path: Path) -> None:
    wiring.blobs_at(f"file://{tmp_path}/there").put("a", [b"x"])
    assert (tmp_path / "there/a").read_bytes() == b"x"


@pytest.mark.parametrize("url", ["s3://bucket/blobs", "file://blobs", "/var/lib/blobs", "file:/blobs", ""])
def test_a_url_of_a_kind_that_octo_does_not_know_is_refused(url: str) -> None:
    with pytest.raises(Usage, match="octo knows file:///FOLDER"):
        wiring.blobs_at(url)


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    with small_disk(tmp_path / "blobs", "size=64k"):
        blobs = FileBlobs(tmp_path / "blobs")
        with pytest.raises(Full, match="the disk is full"):
            blobs.put("slugs/1.tgz", [b"x" * 100_000])
        assert os.listdir(tmp_path / "blobs") == []
        blobs.put("slugs/1.tgz", [b"x"])


@pytest.mark.row("F4")
def test_no_key_lies_beside_the_blobs(tmp_path: Path) -> None:
    blobs = FileBlobs(tmp_path / "blobs")
    blobs.check("GET", blobs.sign("GET", "slugs/1.tgz", seconds=60))
    assert os.listdir(tmp_path / "blobs") == []


def test_a_link_among_the_blobs_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets/key").write_bytes(b"secret")
    blobs = FileBlobs(tmp_path / "blobs")
    (tmp_path / "blobs/builds").symlink_to(tmp_path / "secrets")
    assert list(blobs.list("")) == ["builds"]
