"""Blobs' promises, kept by the fake and by files."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from octo.adapters.blobs_files import FileBlobs
from octo.errors import NotFound, Usage
from octo.ports import Blobs
from tests.fakes import FakeBlobs


@pytest.fixture(params=["fake", "files"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    return FakeBlobs() if request.param == "fake" else FileBlobs(tmp_path / "blobs")


def test_what_was_put_is_got(blobs: Blobs) -> None:
    assert blobs.put("builds/a/1", [b"one", b"two"]) == 6
    assert b"".join(blobs.get("builds/a/1")) == b"onetwo"


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
    blobs.delete("a")
    with pytest.raises(NotFound):
        b"".join(blobs.get("a"))


def test_a_list_is_sorted_and_holds_the_prefix(blobs: Blobs) -> None:
    for name in ("builds/b/1", "builds/a/2", "builds/a/1"):
        blobs.put(name, [b"x"])
    assert list(blobs.list("builds/a/")) == ["builds/a/1", "builds/a/2"]


@pytest.mark.parametrize("name", ["", "../x", "a/../../x", "/etc/x", "a//b", ".hidden", "a/.", "nul\0"])
def test_no_name_leads_out_of_the_folder(blobs: Blobs, name: str) -> None:
    with pytest.raises(Usage):
        blobs.put(name, [b"x"])


def test_files_are_closed_to_others_and_half_written_ones_are_swept(tmp_path: Path) -> None:
    folder = tmp_path / "blobs"
    FileBlobs(folder).put("a", [b"x"])
    (folder / ".new-0123").write_bytes(b"half")
    FileBlobs(folder)
    assert [p.name for p in folder.iterdir()] == ["a"]
    assert folder.stat().st_mode & 0o077 == 0 and (folder / "a").stat().st_mode & 0o077 == 0
