"""What both sandboxes keep on the host for one sandbox: a folder, a control group and, for a build, a disk.

The folder is made first and removed last: what an octod that was killed left is found by it.
"""

import contextlib
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from octo.sandbox.cgroups import Cgroups, Group
from octo.sandbox.loopdisk import LoopDisk
from octo.specs import SandboxSpec, Strike

ID = re.compile(r"[0-9a-f]{4,64}")
HOSTS = "127.0.0.1\tlocalhost sandbox\n::1\tlocalhost\n"
_APP = "app"  # a file in the folder: App.id


def folders(spec: SandboxSpec) -> Sequence[str]:
    """The folders of the sandbox's own disk; none: it has no disk."""
    if spec.build:
        return ("app", "work")
    return () if spec.mounted else ("repo.git",)


@dataclass
class Cell:
    id: str
    folder: Path
    group: Group
    disk: LoopDisk
    filled: Strike | None = field(default=None)  # of what the disk was full at some time

    @property
    def app(self) -> str:
        """App.id, as it was written down; "" when octod was killed before."""
        try:
            return (self.folder / _APP).read_text()
        except OSError:
            return ""

    def looked(self) -> Strike | None:
        """Of what the disk is full, or was when this was asked before: who meets a full disk often tidies up."""
        if self.filled is None and self.disk.image.exists():
            self.filled = self.disk.full()
        return self.filled

    def remove(self) -> None:
        """Kill what runs in it, and remove all there is. Twice is no error."""
        self.group.remove()
        self.disk.remove()
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self.folder)


class Cells:
    """builds, receivers: where the control groups of each are."""

    def __init__(self, folder: Path, builds: Cgroups, receivers: Cgroups, user: int) -> None:
        self._folder, self._builds, self._receivers, self._user = folder, builds, receivers, user

    def make(self, spec: SandboxSpec) -> Cell:
        """Raises Unavailable."""
        self._folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        cell = self.cell(spec.id)
        cell.remove()  # of the same id, left half-made by an earlier try
        cell.folder.mkdir(mode=0o711)
        (cell.folder / _APP).write_text(spec.app)
        try:
            cell.group = (self._builds if spec.build else self._receivers).make(spec.id, spec.limits)
            if folders(spec):
                cell.disk.make(spec.limits.disk, spec.limits.files, folders(spec), self._user)
        except BaseException:
            cell.remove()
            raise
        return cell

    def cell(self, id: str) -> Cell:
        """One by its id, whether it is there or not."""
        if not ID.fullmatch(id):
            raise ValueError(f"BUG: {id!r} is no sandbox id")
        folder = self._folder / id
        groups = self._receivers if id in self._receivers.list() else self._builds
        return Cell(id, folder, groups.group(id), LoopDisk(folder))

    def list(self) -> Sequence[str]:
        """The ids of all that are there, run or not."""
        if not self._folder.is_dir():
            return []
        return sorted(f.name for f in self._folder.iterdir() if ID.fullmatch(f.name) and f.is_dir())
