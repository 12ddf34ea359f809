"""A copy of an octohost server's files, laid out as they were there; any of them may be missing.

Strangers may have written parts of it, and root reads it: no link is followed, only plain files of a bounded size are
read, and what is opened is the very thing that was looked at.
"""

import os
import re
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from octo.errors import NotFound, Usage
from octo.model import shown

REPOSITORIES = "home/git"
SUFFIX = ".git"
DEFAULTS = "etc/default/octohost"
TEMPLATES = ("etc/octohost/templates", "etc/nginx/templates")
KV, EXPORT = "kv.json", "config.export"
PLAIN = re.compile(r"[A-Za-z0-9](?!.*\.\.)[A-Za-z0-9_.-]{0,100}")  # a name that comes to the same name of an app
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK  # a pipe in its place must not hold us


class Copy:
    """top: a descriptor of the folder, which is the caller's."""

    def __init__(self, top: int) -> None:
        self._top = top

    def read(self, path: str, most: int) -> bytes | None:
        """A whole file; None when there is none. Raises Usage for what is no plain file, or longer than `most`."""
        try:
            with self._folder(str(PurePosixPath(path).parent)) as folder:
                number = os.open(PurePosixPath(path).name, _FILE, dir_fd=folder)
        except FileNotFoundError:
            return None
        except OSError:
            raise _refused(path, "it, or a folder above it, is a link or no plain file") from None
        try:
            if not stat.S_ISREG(os.fstat(number).st_mode):
                raise _refused(path, "it is no plain file")
            with open(number, "rb", closefd=False) as file:
                data = file.read(most + 1)
        finally:
            os.close(number)
        if len(data) > most:
            raise _refused(path, f"it is longer than {most // 1024} KB")
        return data

    def text(self, path: str, most: int) -> str | None:
        """As `read`, of text in UTF-8."""
        data = self.read(path, most)
        try:
            return None if data is None else data.decode()
        except UnicodeDecodeError:
            raise _refused(path, "it is no text in UTF-8") from None

    def repositories(self) -> Sequence[str]:
        """Names in home/git that end in .git, whatever they are, sorted. Raises Usage."""
        try:
            with self._folder(REPOSITORIES) as folder:
                return sorted(name for name in os.listdir(folder) if name.endswith(SUFFIX))
        except FileNotFoundError:
            return ()
        except OSError:
            raise _refused(REPOSITORIES, "it is a link or no folder") from None

    @contextmanager
    def repository(self, name: str) -> Iterator[int]:
        """A descriptor of one of `repositories`. Raises NotFound."""
        path = f"{REPOSITORIES}/{name}"
        if not PLAIN.fullmatch(name):
            raise NotFound(f"cannot import {shown(path)}: that is no name of a repository of octohost's")
        try:
            with self._folder(path) as top:
                os.close(os.open("objects", _FOLDER, dir_fd=top))
                number = os.dup(top)
        except OSError:
            raise NotFound(f"cannot import {shown(path)}: it is no bare git repository") from None
        try:
            yield number
        finally:
            os.close(number)

    @contextmanager
    def _folder(self, path: str) -> Iterator[int]:
        """Go down part by part, following no link. Raises OSError."""
        number = os.dup(self._top)
        try:
            for part in PurePosixPath(path).parts:
                below = os.open(part, _FOLDER, dir_fd=number)
                os.close(number)
                number = below
            yield number
        finally:
            os.close(number)


@contextmanager
def opened(folder: Path) -> Iterator[Copy]:
    """Raises Usage, NotFound."""
    if not folder.is_absolute() or ".." in folder.parts:
        raise Usage(f"cannot import {shown(str(folder))}: it is not a whole path", hint="Begin it with a slash.")
    try:
        top = os.open(folder, _FOLDER)
    except OSError as error:
        raise NotFound(f"cannot import {shown(str(folder))}: {error.strerror}") from None
    try:
        yield Copy(top)
    finally:
        os.close(top)


def _refused(path: str, why: str) -> Usage:
    return Usage(
        f"cannot read {shown(path)} of the copy: {why}", hint="Copy the files themselves; nothing was changed."
    )
