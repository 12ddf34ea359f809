"""Disks of a given size, on a real loop device."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from octo import process
from octo.errors import Unavailable
from octo.sandbox.loopdisk import LoopDisk
from octo.specs import Strike

MB = 1024 * 1024


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[LoopDisk]:
    made = LoopDisk(tmp_path)
    yield made
    made.remove()
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text() and not devices(tmp_path)
    assert list(tmp_path.iterdir()) == []


def devices(folder: Path) -> list[Path]:
    found = Path("/sys/block").glob("loop*/loop/backing_file")
    return [f for f in found if f.exists() and str(folder) in f.read_text()]


def fill(file: Path) -> None:
    with file.open("wb", buffering=0) as out:
        while True:
            out.write(bytes(MB))


def crowd(folder: Path) -> None:
    for number in range(1000):
        (folder / str(number)).touch()


def test_it_has_room_for_what_was_asked_and_no_more(disk: LoopDisk) -> None:
    disk.make(20 * MB, 500, ("app", "work"), 59204)
    assert disk.full() is None
    with pytest.raises(OSError, match="No space"):
        fill(disk.top / "app" / "x")
    assert 20 * MB <= (disk.top / "app" / "x").stat().st_size < 28 * MB and disk.full() is Strike.DISK


def test_its_files_have_an_end_too(disk: LoopDisk) -> None:
    disk.make(20 * MB, 500, ("app",), 59204)
    with pytest.raises(OSError, match="No space"):
        crowd(disk.top / "app")
    assert 500 <= len(list((disk.top / "app").iterdir())) < 600 and disk.full() is Strike.FILES


def test_its_folders_belong_to_the_user_and_nothing_in_it_has_rights(disk: LoopDisk) -> None:
    disk.make(20 * MB, 500, ("app", "work"), 59204)
    for name in ("app", "work"):
        now = (disk.top / name).stat()
        assert (now.st_uid, now.st_gid, now.st_mode & 0o7777) == (59204, 59204, 0o700)
    line = next(m for m in Path("/proc/self/mountinfo").read_text().splitlines() if str(disk.top) in m)
    assert {"nosuid", "nodev"} <= set(line.split()[5].split(","))
    assert os.stat(disk.image).st_blocks * 512 < 4 * MB  # sparse


def test_half_of_one_goes_as_well(disk: LoopDisk) -> None:
    disk.image.write_bytes(bytes(MB))
    disk.top.mkdir()
    assert process.run(["losetup", "-f", str(disk.image)]).code == 0 and devices(disk.folder)
    disk.remove()
    disk.remove()


def test_one_that_cannot_be_made_leaves_nothing(disk: LoopDisk) -> None:
    with pytest.raises(Unavailable):
        disk.make(1, 2**40, (), 59204)
