"""The files of a build: kept in an unnamed file, so that they can be looked at first, and sent again."""

import os
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator
from typing import Self

from octo.errors import BuildFailed
from octo.images.tarwalk import FILE, LINK, MOST_EXTRA, Member, Walk

CHUNK = 256 * 1024  # bytes
LINKS = 10  # that a Dockerfile may lead through
NAME = "Dockerfile"
NO_DOCKERFILE = "There is no Dockerfile present."  # the seed's words


class Files:
    """Read the tar stream to its end; nothing is unpacked. most: bytes that it may have.

    `look` is called with every chunk, and ends the reading by raising.
    """

    def __init__(self, chunks: Iterable[bytes], most: int, look: Callable[[], None] = lambda: None) -> None:
        self._dockerfile: Member | None = None
        self._file = tempfile.TemporaryFile(prefix="octo-context-")  # noqa: SIM115 - closed by __exit__
        self._walk = Walk(self._note)
        try:
            self._take(chunks, most, look)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def dockerfile(self) -> bytes:
        """The text of the Dockerfile; a link is followed within the files. Raises BuildFailed."""
        name, member = NAME.encode(), self._dockerfile
        if member is None:
            raise failed(NO_DOCKERFILE, "Add a Dockerfile at the root of the repository.")
        for _ in range(LINKS):
            if member is None or member.kind not in (FILE, LINK) or member.size > MOST_EXTRA:
                break
            if member.kind == FILE:
                self._file.seek(member.at)
                return self._file.read(member.size)
            name = _normal(os.path.join(os.path.dirname(name), member.link))
            member = self._find(name)
        raise failed("its Dockerfile is no file of at most 1 MB, nor a link to one of these files", "Put one there.")

    def chunks(self, dockerfile: bytes) -> Iterator[bytes]:
        """The tar, with this text as its Dockerfile: what comes last in a tar is what counts."""
        left = self._file.seek(0, os.SEEK_END) if self._walk.end is None else self._walk.end
        self._file.seek(0)
        while left and (data := self._file.read(min(left, CHUNK))):
            left -= len(data)
            yield data
        member = tarfile.TarInfo(NAME)
        member.size = len(dockerfile)
        yield member.tobuf() + dockerfile + bytes(-member.size % 512) + bytes(1024)

    def _take(self, chunks: Iterable[bytes], most: int, look: Callable[[], None]) -> None:
        size = 0
        try:
            for chunk in chunks:
                look()
                self._walk.feed(chunk)
                self._file.write(chunk)
                size += len(chunk)
                if size > most:
                    raise failed(
                        f"its files are more than {most // 2**20} MB, the limit", "Leave out what it can do without."
                    )
            self._walk.finish()
        except OSError as error:
            raise failed(f"its files did not arrive whole: {error.strerror or error}", "Push again.") from None

    def _note(self, member: Member) -> None:
        if _normal(member.name) == NAME.encode():
            self._dockerfile = member

    def _find(self, name: bytes) -> Member | None:
        """The last member of that name. Links are rare: reading it all again is cheaper than to keep every name."""
        found: list[Member] = []
        walk = Walk(lambda member: found.append(member) if _normal(member.name) == name else None)
        self._file.seek(0)
        while data := self._file.read(CHUNK):
            walk.feed(data)
        return found[-1] if found else None


def _normal(name: bytes) -> bytes:
    return os.path.normpath(b"/" + name).lstrip(b"/")


def failed(why: str, hint: str) -> BuildFailed:
    return BuildFailed(f"cannot build the image: {why}", hint=hint)
