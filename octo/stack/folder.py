"""The folder in which stacks lie; several octos may share one.

<id>/root         the tree, for binds
<id>/stack.json   Record
current/<name>    link to the version that builds take
.new-*, .old-*    on its way in or out; what a killed octo left of them, the next one removes
.lock             held by who makes or removes one
"""

import contextlib
import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from octo import codec
from octo.errors import Usage

LATEST = "latest"  # a tag of the engine, and so no name
_NAME = re.compile(r"[a-z][a-z0-9-]{0,40}")
_ID = re.compile(r"[a-z][a-z0-9-]{0,40}-[0-9a-f]{12}")


@dataclass(frozen=True)
class Record:
    """What is known of one version, wherever its tree lies."""

    id: str
    name: str
    key: str  # of the plan by which it was made last
    created_at: float
    size: int  # bytes
    recipe: Mapping[str, str] = field(default_factory=dict)
    given: Mapping[str, str] = field(default_factory=dict)  # what the recipe has of this stack's own


class Folder:
    """Looking needs no lock: versions come and go by one rename."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def tree(self, id: str) -> Path:
        return self.path / id / "root"

    def every(self) -> Sequence[Record]:
        names = sorted(p.name for p in self.path.glob("*-*"))
        return [record for name in names if (record := self.find(name))]

    def find(self, id: str) -> Record | None:
        """None also for what is not whole."""
        if not _ID.fullmatch(id) or not self.tree(id).is_dir():
            return None
        try:
            return codec.loads(Record, (self.path / id / "stack.json").read_bytes())
        except (OSError, ValueError, TypeError):
            return None

    def current(self, name: str) -> Record | None:
        if not _NAME.fullmatch(name):
            return None
        try:
            return self.find(os.readlink(self.path / "current" / name).rpartition("/")[2])
        except OSError:
            return None

    def is_current(self, record: Record) -> bool:
        current = self.current(record.name)
        return current is not None and current.id == record.id

    def point(self, record: Record) -> None:
        """Make it the current one of its name."""
        links = self.path / "current"
        links.mkdir(mode=0o755, exist_ok=True)
        fresh = links / f".{record.name}"
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(f"../{record.id}")
        fresh.rename(links / record.name)

    def unpoint(self, name: str) -> None:
        (self.path / "current" / name).unlink(missing_ok=True)

    @contextlib.contextmanager
    def new(self) -> Iterator[Path]:
        """A folder on the same disk for the body of a `with`."""
        work = Path(tempfile.mkdtemp(prefix=".new-", dir=self.path))
        try:
            (work / "root").mkdir(mode=0o755)
            yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)

    def move_in(self, record: Record, work: Path) -> None:
        """Take the folder's root over as that version's."""
        _write(work / "stack.json", codec.dumps(record))
        work.chmod(0o755)  # unprivileged users pass through
        self.throw_away(record.id)  # half of it, at most
        work.rename(self.path / record.id)

    def note(self, record: Record) -> None:
        _write(self.path / record.id / "stack.json", codec.dumps(record))

    def throw_away(self, id: str) -> None:
        path = self.path / id
        if path.exists():
            old = Path(tempfile.mkdtemp(prefix=".old-", dir=self.path))
            path.rename(old)  # in the place of the empty one
            shutil.rmtree(old, ignore_errors=True)

    def clear(self) -> Sequence[str]:
        """Remove what killed octos left; to be called under the lock."""
        left = [*self.path.glob(".new-*"), *self.path.glob(".old-*")]
        for path in left:
            shutil.rmtree(path, ignore_errors=True)
        return [path.name for path in left]

    @contextlib.contextmanager
    def alone(self, waiting: Callable[[], None] | None) -> Iterator[None]:
        """Hold the lock. waiting: told once when somebody else has it; None: raise BlockingIOError then."""
        self.path.mkdir(mode=0o755, parents=True, exist_ok=True)
        with (self.path / ".lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if waiting is None:
                    raise
                waiting()
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def stack_name(text: str) -> str:
    """Parse the name of a stack: an id is none. Raises Usage."""
    if not _NAME.fullmatch(text) or _ID.fullmatch(text) or text == LATEST:
        raise Usage(
            f'cannot use "{text[:60]}" as the name of a stack',
            hint="Use lower-case letters, digits and dashes, a letter first, 41 characters at most.",
        )
    return text


def mounted(id: str) -> bool:
    """Whether any process of this machine has a part of the tree mounted, in whatever namespace."""
    seen: set[str] = set()
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            space = os.readlink(folder / "ns" / "mnt")
            if space not in seen:
                seen.add(space)
                if f"/{id}/root" in (folder / "mountinfo").read_text():
                    return True
    return False


def _write(path: Path, data: bytes) -> None:
    fresh = path.with_name(f".{path.name}")
    fresh.write_bytes(data)
    fresh.rename(path)
