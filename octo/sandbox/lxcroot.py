"""The root folders of LXC sandboxes: a mount point for each folder of a stack, a curated /etc, and nothing else.

One for each stack version and resolv.conf, made once and shared: everything in it is read-only in a sandbox.
"""

import os
import shutil
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from octo.errors import Unavailable
from octo.sandbox.cells import HOSTS
from octo.specs import StackVersion

_MOUNTED = ("app", "octo", "octo-buildpacks", "proc", "run/octo", "sys", "dev", "tmp", "work", "home", "root")
# Folders of a stack that sandboxes have; links (bin -> usr/bin) are links there too.
_LAID_OVER = ("bin", "lib", "lib32", "lib64", "libx32", "opt", "sbin", "usr", "var")


class LxcRoots:
    def __init__(self, folder: Path, resolv: str) -> None:
        self._folder, self._resolv = folder, resolv

    def root(self, stack: StackVersion) -> Path:
        """The root folder for that version, made if need be. Raises Unavailable when the stack is not there."""
        key = sha256(f"{stack.tree}\0{self._resolv}".encode()).hexdigest()[:12]
        root = self._folder / f"{stack.id}-{key}"
        if not root.exists():
            if not Path(stack.tree, "etc").is_dir():
                hint = "Make the stack: ./setup stack"
                raise Unavailable(f'cannot start a sandbox: there is no stack at "{stack.tree}"', hint=hint)
            self._make(root, Path(stack.tree))
        return root

    def sweep(self) -> None:
        """Remove what is half-made, and the roots of stacks that are gone. Not while a root may be in the making."""
        for note in self._folder.glob("*.tree"):
            if not Path(note.read_text()).is_dir():
                shutil.rmtree(str(note).removesuffix(".tree"), ignore_errors=True)
                note.unlink()
        for made in self._folder.glob(".*"):
            shutil.rmtree(made, ignore_errors=True)

    @staticmethod
    def laid_over(tree: Path) -> Iterator[str]:
        """The folders that are to be mounted over the root."""
        for name in _LAID_OVER:
            if (tree / name).is_dir() and not (tree / name).is_symlink():
                yield name

    def _make(self, root: Path, tree: Path) -> None:
        self._folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        made = self._folder / f".{root.name}-{os.getpid()}-{os.urandom(4).hex()}"
        for name in (*_MOUNTED, *self.laid_over(tree)):
            (made / name).mkdir(parents=True)
        # App folders are mounted below these two for some sandboxes; root's own stays closed.
        (made / "app" / "repo.git").mkdir()
        (made / "root").chmod(0o700)
        for name in _LAID_OVER:
            if (tree / name).is_symlink():
                (made / name).symlink_to((tree / name).readlink())
        self._etc(made / "etc", tree / "etc")
        Path(f"{root}.tree").write_text(str(tree))
        try:
            made.rename(root)
        except OSError:  # somebody else has just made it
            shutil.rmtree(made)

    def _etc(self, etc: Path, given: Path) -> None:
        """The stack's own, without what only root may read, and octo's three files."""
        shutil.copytree(given, etc, symlinks=True, ignore=_closed)
        for name, text in (("hosts", HOSTS), ("hostname", "sandbox\n"), ("resolv.conf", self._resolv)):
            (etc / name).unlink(missing_ok=True)
            (etc / name).write_text(text)
            (etc / name).chmod(0o644)


def _closed(folder: str, names: list[str]) -> list[str]:
    return [n for n in names if not (os.lstat(f"{folder}/{n}").st_mode & 0o004 or os.path.islink(f"{folder}/{n}"))]
