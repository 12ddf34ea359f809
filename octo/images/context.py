"""The files of a build: kept in an unnamed file, so that they can be looked at first, and sent again.

What is sent is what was pushed, without what .dockerignore leaves out. The classic builder is given another text than
the pushed Dockerfile: it lies beside it under another name, and .dockerignore names it, so that the engine takes it
away once it is read and no COPY sees it.
"""

import os
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Self

from octo.errors import BuildFailed
from octo.images import ignore
from octo.images.ignore import Ignored
from octo.images.tarwalk import FILE, LINK, MOST_EXTRA, Member, Walk

CHUNK = 256 * 1024  # bytes
LINKS = 10  # that a Dockerfile may lead through
NAME = "Dockerfile"
RECIPE = ".octo-recipe-6f1d9c2e"  # what nobody else calls a file; the same each time, as it tells pushes apart else
NO_DOCKERFILE = "There is no Dockerfile present."  # the seed's words


class Files:
    """Read the tar stream to its end; nothing is unpacked. most: bytes that it may have.

    `look` is called with every chunk, and ends the reading by raising.
    """

    def __init__(
        self, chunks: Iterable[bytes], most: int, look: Callable[[], None] = lambda: None, *, app: str = "APP"
    ) -> None:
        self._app = app
        self._found: dict[bytes, Member] = {}  # the last member of each name that octo looks at
        self._parts: list[tuple[int, int]] = []  # offsets: from, to
        self._names: set[str] = set()  # at the top, of what is sent
        self._ignored: Ignored | None = None
        self._file = tempfile.TemporaryFile(prefix="octo-context-")  # noqa: SIM115 - closed by __exit__
        self._walk = Walk(self._note)
        try:
            self._take(chunks, most, look)
            self._leave_out(look)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def dockerfile(self) -> bytes:
        """The text of the Dockerfile; a link is followed within the files. Raises BuildFailed."""
        if NAME.encode() not in self._found:
            raise failed(NO_DOCKERFILE, "Add a Dockerfile at the root of the repository.")
        text = self._text(NAME)
        if text is None:
            raise failed(
                "its Dockerfile is no file of at most 1 MB, nor a link to one of these files", "Put one there."
            )
        return text

    def beside(self, recipe: bytes) -> tuple[str, Mapping[str, bytes]]:
        """A name for a text to build from, and what must be added to the files so that only the engine sees it."""
        if self._ignored is None or ignore.NAME not in self._names:
            return RECIPE, {RECIPE: recipe, ignore.NAME: f"{ignore.NAME}\n{RECIPE}\n".encode()}
        if name := self._ignored.free_name(self._names):
            return name, {name: recipe}
        own = self._text(ignore.NAME) or b""
        return RECIPE, {RECIPE: recipe, ignore.NAME: own + f"\n{RECIPE}\n".encode()}  # as the docker command does it

    def chunks(self, added: Mapping[str, bytes]) -> Iterator[bytes]:
        """The tar, with these files behind the others: what comes last in a tar is what counts."""
        for begin, end in self._parts:
            self._file.seek(begin)
            while begin < end and (data := self._file.read(min(end - begin, CHUNK))):
                begin += len(data)
                yield data
        for name, text in added.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            yield member.tobuf() + text + bytes(-member.size % 512)
        yield bytes(1024)

    def _take(self, chunks: Iterable[bytes], most: int, look: Callable[[], None]) -> None:
        size = 0
        try:
            for chunk in chunks:
                look()
                self._walk.feed(chunk)
                self._file.write(chunk)
                size += len(chunk)
                if size > most:
                    hint = f"Leave out what it can do without, or ask the operator: octo limits:set {self._app} disk=4G"
                    raise failed(f"its files are more than {most // 2**20} MB, the limit", hint)
            self._walk.finish()
        except OSError as error:
            raise failed(f"its files did not arrive whole: {error.strerror or error}", "Push again.") from None

    def _leave_out(self, look: Callable[[], None]) -> None:
        text = self._text(ignore.NAME)
        if text is None:
            end = self._file.seek(0, os.SEEK_END) if self._walk.end is None else self._walk.end
            self._parts = [(0, end)]
            return
        ignored = self._ignored = Ignored(text)

        def sort(member: Member) -> None:
            name = os.fsdecode(_normal(member.name))
            if name and ignored(name):
                return
            self._names.add(name.partition("/")[0])
            if self._parts and self._parts[-1][1] == member.begin:
                self._parts[-1] = self._parts[-1][0], member.end
            else:
                self._parts.append((member.begin, member.end))

        self._again(Walk(sort), look)

    def _again(self, walk: Walk, look: Callable[[], None] = lambda: None) -> None:
        self._file.seek(0)
        while data := self._file.read(CHUNK):
            look()
            walk.feed(data)

    def _note(self, member: Member) -> None:
        name = _normal(member.name)
        if name in (NAME.encode(), ignore.NAME.encode()):
            self._found[name] = member

    def _text(self, of: str) -> bytes | None:
        """Of a file at the top; a link is followed within the files. None when there is none, or none to read."""
        name, member = of.encode(), self._found.get(of.encode())
        for _ in range(LINKS):
            if member is None or member.kind not in (FILE, LINK) or member.size > MOST_EXTRA:
                return None
            if member.kind == FILE:
                self._file.seek(member.at)
                return self._file.read(member.size)
            name = _normal(os.path.join(os.path.dirname(name), member.link))
            member = self._find(name)
        return None

    def _find(self, name: bytes) -> Member | None:
        """The last member of that name. Links are rare: reading it all again is cheaper than to keep every name."""
        found: list[Member] = []
        self._again(Walk(lambda member: found.append(member) if _normal(member.name) == name else None))
        return found[-1] if found else None


def _normal(name: bytes) -> bytes:
    return os.path.normpath(b"/" + name).lstrip(b"/")


def failed(why: str, hint: str) -> BuildFailed:
    return BuildFailed(f"cannot build the image: {why}", hint=hint)
