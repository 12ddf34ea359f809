"""Blobs as files under one folder: whole or absent, by writing beside and renaming.

builds/APP/BUILD    what a build printed
slugs/BUILD.tgz     what a build made
caches/APP.tgz      what the app's next build may use; it can be lost
repos/APP.bundle    the app's repository, where repositories are archives
"""

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from octo.errors import Full, NotFound
from octo.ports import Grant
from octo.signing import Signer, blob_name

CHUNK = 256 * 1024  # bytes
# A cache that a power failure cuts short is found out by whoever unpacks it, and is made again; to wait until the disk
# has all of it made a put of 200 MB take 130 ms instead of 45, on a fast disk.
LOSABLE = ("caches/",)
TRIES = 100
FULL = (errno.ENOSPC, errno.EDQUOT)


class FileBlobs:
    def __init__(self, folder: Path, signer: Signer | None = None) -> None:
        self._folder, self._signer = folder, signer or Signer()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left in folder.glob(".new-*"):
            left.unlink()

    def put(self, name: str, chunks: Iterable[bytes]) -> int:
        target = self._path(name)
        fresh = self._folder / f".new-{secrets.token_hex(8)}"
        try:
            with fresh.open("xb") as file:
                fresh.chmod(0o600)
                for chunk in chunks:
                    file.write(chunk)
                size = file.tell()
                if not name.startswith(LOSABLE):
                    file.flush()
                    os.fsync(file.fileno())
            _rename(fresh, target)
        except BaseException as error:
            fresh.unlink(missing_ok=True)
            if isinstance(error, OSError) and error.errno in FULL:
                raise Full(f'cannot store "{name}": the disk is full', hint="See: octo disk") from None
            raise
        if not name.startswith(LOSABLE):
            _sync(target.parent)
        return size

    def get(self, name: str) -> Iterable[bytes]:
        try:
            file = self._path(name).open("rb")
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            raise NotFound(f'cannot find "{name}"') from None
        return _chunks(file)

    def delete(self, name: str) -> None:
        path = self._path(name)
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            path.unlink()
        for folder in path.parents:
            if folder == self._folder:
                break
            try:
                folder.rmdir()
            except OSError:  # it holds others, or is gone with its last one
                break

    def list(self, prefix: str) -> Sequence[str]:
        if not prefix:
            return sorted(self._below(self._folder, ""))
        within, _, _ = prefix.rpartition("/")
        top = self._path(within) if within else self._folder
        return sorted(n for n in self._below(top, f"{within}/" if within else "") if n.startswith(prefix))

    def size(self, name: str) -> int:
        path = self._path(name)
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            found = path.stat()
            if stat.S_ISREG(found.st_mode):
                return found.st_size
        raise NotFound(f'cannot find "{name}"')

    def sign(self, method: str, name: str, *, seconds: float, most: int = 0) -> str:
        return self._signer.sign(method, name, seconds=seconds, most=most)

    def check(self, method: str, target: str) -> Grant:
        return self._signer.check(method, target)

    def renew(self, target: str) -> None:
        self._signer.renew(target)

    def _path(self, name: str) -> Path:
        return self._folder / blob_name(name)

    def _below(self, folder: Path, prefix: str) -> Iterator[str]:
        try:
            entries = list(os.scandir(folder))
        except (FileNotFoundError, NotADirectoryError):
            return
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from self._below(Path(entry), f"{prefix}{entry.name}/")
            elif not entry.name.startswith("."):
                yield prefix + entry.name


def _rename(fresh: Path, target: Path) -> None:
    for attempt in range(TRIES):
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            fresh.replace(target)
            return
        except FileNotFoundError:  # a delete has just taken the empty folder away
            if attempt == TRIES - 1:
                raise


def _sync(folder: Path) -> None:
    """A rename is on the disk when its folder is. Source: fsync(2)."""
    with contextlib.suppress(FileNotFoundError):  # deleted meanwhile
        number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while chunk := file.read(CHUNK):
            yield chunk
