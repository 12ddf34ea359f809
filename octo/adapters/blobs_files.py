"""Blobs as files under one folder: whole or absent, by writing beside and renaming."""

import os
import secrets
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from octo.errors import NotFound, Usage

CHUNK = 256 * 1024  # bytes


class FileBlobs:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left in folder.glob(".new-*"):
            left.unlink()

    def put(self, name: str, chunks: Iterable[bytes]) -> int:
        target = self._path(name)
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = self._folder / f".new-{secrets.token_hex(8)}"
        try:
            with fresh.open("xb") as file:
                fresh.chmod(0o600)
                for chunk in chunks:
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
                size = file.tell()
            fresh.replace(target)
        except BaseException:
            fresh.unlink(missing_ok=True)
            raise
        return size

    def get(self, name: str) -> Iterable[bytes]:
        try:
            file = self._path(name).open("rb")
        except (FileNotFoundError, IsADirectoryError):
            raise NotFound(f'cannot find "{name}"') from None
        return _chunks(file)

    def delete(self, name: str) -> None:
        self._path(name).unlink(missing_ok=True)

    def list(self, prefix: str) -> Sequence[str]:
        names = (str(p.relative_to(self._folder)) for p in self._folder.rglob("*") if p.is_file())
        return sorted(n for n in names if n.startswith(prefix) and not n.startswith("."))

    def _path(self, name: str) -> Path:
        parts = name.split("/")
        if any(not p or p.startswith(".") or "\0" in p for p in parts):
            raise Usage(f"cannot use {name!r} as the name of a blob")
        return self._folder.joinpath(*parts)


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while chunk := file.read(CHUNK):
            yield chunk
