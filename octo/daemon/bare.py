"""A bare repository of this host as a tar, for a sandbox: read without following a link, and without running git.

Strangers may have written it: nothing in it is believed here but that a regular file has bytes.
"""

import contextlib
import os
import stat
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from octo.errors import NotFound, Usage

TREES = ("objects", "refs")
FILES = ("HEAD", "packed-refs", "shallow")
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK  # a pipe in its place must not hold us


@contextmanager
def opened(path: Path) -> Iterator[int]:
    """A descriptor of the repository: of the folder itself, or of the .git in it. Raises NotFound, Usage."""
    if not path.is_absolute():
        raise Usage(f'cannot import "{path}": it is not a whole path', hint="Begin it with a slash.")
    for place in (path, path / ".git"):
        with contextlib.suppress(OSError), contextlib.ExitStack() as held:
            top = os.open(place, _FOLDER)
            held.callback(os.close, top)
            os.close(os.open("objects", _FOLDER, dir_fd=top))
            held.pop_all()
            break
    else:
        raise NotFound(f'cannot import "{path}": it is no git repository', hint="Name a folder such as /srv/shop.git.")
    try:
        yield top
    finally:
        os.close(top)


def write_tar(top: int, writer: int) -> None:
    """Write the files of an `opened` repository as a tar, and close `writer`.

    That the reader has gone, or that a file grew shorter meanwhile, is no error: who unpacks it says what is missing.
    """
    with contextlib.suppress(OSError), open(writer, "wb") as pipe, tarfile.open(fileobj=pipe, mode="w|") as tar:
        for name in FILES:
            _add(tar, top, name, name)
        for tree in TREES:
            _tree(tar, top, tree)


def _tree(tar: tarfile.TarFile, top: int, tree: str) -> None:
    try:
        folder = os.open(tree, _FOLDER, dir_fd=top)
    except OSError:
        return
    try:
        for where, _, files, at in os.fwalk(".", dir_fd=folder, follow_symlinks=False):
            for name in files:
                _add(tar, at, name, os.path.normpath(f"{tree}/{where}/{name}"))
    finally:
        os.close(folder)


def _add(tar: tarfile.TarFile, folder: int, name: str, called: str) -> None:
    try:
        number = os.open(name, _FILE, dir_fd=folder)
    except OSError:  # absent, a link, or gone meanwhile
        return
    with open(number, "rb") as file:
        about = os.fstat(number)
        if stat.S_ISREG(about.st_mode):
            member = tarfile.TarInfo(called)
            member.size = about.st_size
            tar.addfile(member, file)
