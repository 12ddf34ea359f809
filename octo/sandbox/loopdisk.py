"""Disks of a given size for sandboxes: an ext4 file system in a sparse file, mounted through a loop device.

Bytes and inodes both have an end that way, whatever the host's file system can do; an empty one of 2 GB is made and
mounted in about 20 ms and takes 400 KB.
"""

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from octo import process
from octo.errors import Unavailable
from octo.specs import Strike

INODE = 256  # bytes, of its table
_ROOM = 4 * 1024 * 1024  # bytes for what the file system needs itself, with 1/64 of its size
_FULL_BYTES, _FULL_FILES = 1024 * 1024, 8  # with less left than that, something was refused
_FORMAT = ("mkfs.ext4", "-q", "-F", "-m", "0", "-b", "4096", "-I", str(INODE), "-O", "^has_journal")
_OPTIONS = "loop,nosuid,nodev,noatime,noinit_itable"


@dataclass(frozen=True)
class LoopDisk:
    folder: Path  # FOLDER/disk.img is mounted at FOLDER/disk

    @property
    def top(self) -> Path:
        return self.folder / "disk"

    @property
    def image(self) -> Path:
        return self.folder / "disk.img"

    def make(self, size: int, files: int, folders: Sequence[str], owner: int) -> None:
        """Make and mount it, with `folders` for the owner in it. size: bytes it has room for. Raises Unavailable."""
        extra = ("-E", "nodiscard,lazy_itable_init=1", "-N", str(files + len(folders) + 16))
        mount = ("mount", "-o", _OPTIONS, str(self.image), str(self.top))
        try:
            with self.image.open("xb") as file:
                file.truncate(size + size // 64 + files * INODE + _ROOM)
            self.top.mkdir()
            for argv in ((*_FORMAT, *extra, str(self.image)), mount):
                done = process.run(argv)
                if done.code:
                    raise OSError(done.text)
        except OSError as error:
            self.remove()
            raise Unavailable(f"cannot make a disk for a build: {error}", hint="See: octo doctor") from None
        for name in folders:
            (self.top / name).mkdir(mode=0o700)
            os.chown(self.top / name, owner, owner)

    def full(self) -> Strike | None:
        """Of what nothing more fits on it: bytes or files; None when there is room for both."""
        try:
            now = os.statvfs(self.top)
        except OSError:
            return None
        if now.f_bavail * now.f_frsize < _FULL_BYTES:
            return Strike.DISK
        return Strike.FILES if now.f_favail < _FULL_FILES else None

    def remove(self) -> None:
        """Unmount it and remove the file. Twice is no error, and half of one goes as well."""
        while self.top.is_mount():
            if process.run(["umount", str(self.top)]).code and process.run(["umount", "-l", str(self.top)]).code:
                break
        self._detach()
        with contextlib.suppress(FileNotFoundError):
            self.top.rmdir()
        with contextlib.suppress(FileNotFoundError):
            # Somebody's mount namespace of his own may hold on to the device; the room is free all the same.
            os.truncate(self.image, 0)
            self.image.unlink()

    def _detach(self) -> None:
        """A loop device goes with its mount; one that never came to be mounted is freed here."""
        for file in Path("/sys/block").glob("loop*/loop/backing_file"):
            with contextlib.suppress(OSError):
                if file.read_text().strip() == str(self.image):
                    process.run(["losetup", "-d", f"/dev/{file.parts[3]}"])
