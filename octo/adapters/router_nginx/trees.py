"""The configuration on disk: `trees/<generation>/` per table, and `current`, a link to the one that serves.

All of it belongs to root and is only read by nginx; keys, and blocks with an app's config in them, by nobody else.
Nothing is fsynced: a tree that a power cut damaged differs from what `start` renders, and is written again.
"""

import json
import os
import shutil
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from octo import codec
from octo.adapters.router_nginx.render import ROUTES
from octo.ports import Route

MARKER = "marker.conf"
_SECRET = ("certificates/", "containers/")


@dataclass(frozen=True)
class Tree:
    path: Path

    @property
    def generation(self) -> str:
        return self.path.name

    def holds(self, files: Mapping[str, bytes]) -> bool:
        """Whether the tree is exactly these files, and its marker."""
        try:
            present = {str(f.relative_to(self.path)) for f in self.path.rglob("*") if f.is_file()}
            same = all((self.path / name).read_bytes() == data for name, data in files.items())
        except OSError:
            return False
        return same and present == {*files, MARKER}

    def read(self, name: str) -> bytes | None:
        try:
            return (self.path / name).read_bytes()
        except OSError:
            return None

    def text(self, name: str) -> str | None:
        data = self.read(name)
        return None if data is None else data.decode("utf-8", "replace")

    def routes(self) -> Sequence[Route] | None:
        """The table it was made of; None when it cannot be read."""
        try:
            routes: Sequence[Route] = codec.build(tuple[Route, ...], json.loads((self.path / ROUTES).read_bytes()))
        except (OSError, ValueError, TypeError, AttributeError):
            return None
        return routes


class Trees:
    def __init__(self, prefix: Path, *, group: int) -> None:
        """group: nginx's."""
        self._all = prefix / "trees"
        self._current = prefix / "current"
        self._group = group

    def prepare(self) -> None:
        self._all.mkdir(mode=0o755, exist_ok=True)
        self._all.chmod(0o755)

    def current(self) -> Tree | None:
        try:
            tree = Tree(self._all / Path(os.readlink(self._current)).name)
        except OSError:
            return None
        return tree if tree.path.is_dir() else None

    def next_generation(self) -> str:
        """A name that no tree had before, also not one that failed; younger ones sort last."""
        return str(time.time_ns())

    def write(self, generation: str, files: Mapping[str, bytes]) -> Tree:
        """Write a tree that nothing points to yet; raises OSError and leaves nothing then."""
        tree = Tree(self._all / generation)
        try:
            for name, data in files.items():
                _write(tree.path / name, data, *self._rights(name))
        except OSError:
            self.remove(tree)
            raise
        return tree

    def point(self, tree: Tree | None) -> None:
        """Make `current` point to the tree in one step; None: to nothing."""
        if tree is None:
            self._current.unlink(missing_ok=True)
            return
        fresh = self._current.with_name("current.new")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(Path("trees") / tree.generation)
        fresh.replace(self._current)

    def last_routes(self) -> Sequence[Route]:
        """The table that served last; where its tree is damaged, the one before; else none."""
        current = self.current()
        trees = ([current] if current else []) + self._youngest_first()
        return next((routes for tree in trees if (routes := tree.routes()) is not None), ())

    def prune(self, keep: Collection[Tree | None]) -> None:
        for tree in self._youngest_first():
            if tree not in keep:
                self.remove(tree)

    def remove(self, tree: Tree) -> None:
        shutil.rmtree(tree.path, ignore_errors=True)

    def _rights(self, name: str) -> tuple[int, int]:
        """Mode and group of a file."""
        if name == ROUTES or name.endswith(".template"):
            return 0o600, 0
        return (0o640, self._group) if name.startswith(_SECRET) else (0o644, 0)

    def _youngest_first(self) -> list[Tree]:
        return [Tree(path) for path in sorted(self._all.iterdir(), reverse=True)]


def _write(file: Path, data: bytes, mode: int, group: int) -> None:
    # The umask of the caller may be 077, and nginx must read this: so modes are set, not asked for.
    for folder in (file.parent.parent, file.parent):
        if not folder.is_dir():
            folder.mkdir()
            folder.chmod(0o755)
    with open(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as opened:
        os.fchown(opened.fileno(), 0, group)
        os.fchmod(opened.fileno(), mode)
        opened.write(data)
