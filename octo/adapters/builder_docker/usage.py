"""What one build takes while it runs: its events, and its share of the disk that all builds have together."""

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from octo.buildengine.engine import BuildEngine
from octo.buildengine.spec import BUILD_OOM
from octo.errors import OctoError
from octo.ports import Limits, Strike
from octo.sandbox.cgroups import Group
from octo.specs import MB

TIGHT, SCARCE = 64 * MB, 1000  # with fewer bytes or files left than that, somebody may have been refused


@dataclass
class Usage:
    """alone: no other build of this octo ran beside it, from its beginning to now.

    layers: counts the bytes of the layers that it has finished; None where nobody can tell whose they are.
    """

    place: BuildEngine
    group: Group
    limits: Limits
    free: int  # bytes there were room for when it began
    files: int  # and files
    alone: bool = True
    squeezed: bool = False  # the disk was full, and it was not this build that had filled it
    full: Strike | None = None  # it has written more than it may
    oom: int = 0
    forks: int = 0
    layers: Callable[[], int] | None = None
    _seen: set[int] = field(default_factory=set)  # processes that are marked

    def look(self) -> Strike | None:
        """Which limit struck that nothing else watches."""
        self._mark()
        self.note()
        try:
            free, files = self.place.room()
        except (OSError, OctoError):  # the engine has ended: the build hears of it by itself
            return None
        if self.free - free > self.limits.disk and self._own() > self.limits.disk:
            self.full = Strike.DISK
        elif self.files - files > self.limits.files and sum(_taken(t)[1] for t in self._tops()) > self.limits.files:
            self.full = Strike.FILES
        self.squeezed = self.squeezed or (self.full is None and (free < TIGHT or files < SCARCE))
        return self.full

    def note(self) -> None:
        """A step's events go with its own group, so they are gathered while it runs."""
        events = self.group.events()
        self.oom, self.forks = max(self.oom, events.oom), max(self.forks, events.forks)

    def strike(self, *, killed: bool) -> Strike | None:
        """The limit that a failed build ran into. killed: its last step was, which a full memory explains."""
        self.note()
        if self.full:
            return self.full
        peak = self._number("memory.max_usage_in_bytes") or self._number("memory.peak")
        if self.oom or (killed and peak > self.limits.memory - MB):  # the count of refusals goes with the step's group
            return Strike.MEMORY
        most = self._number("pids.peak")  # from Linux 6.10
        return Strike.PIDS if self.forks or most >= self.limits.pids else None

    def _number(self, file: str) -> int:
        """What a file of its control group says; 0 where the kernel has none of that name."""
        for top in self.group.hierarchies:
            with contextlib.suppress(OSError, ValueError):
                return int((top / self.group.name[1:] / file).read_text())
        return 0

    def _own(self) -> int:
        """Bytes that this build has written: what its processes write now, and the layers behind it."""
        if self.layers is None and self.alone:
            return self.free
        made = self.layers() if self.layers else 0
        return made + sum(_taken(top)[0] for top in self._tops())

    def _tops(self) -> set[Path]:
        """The folders with what its processes write now."""
        root = self.place.root()
        return {root / top.lstrip("/") for pid in self.group.processes() for top in _upper(pid)}

    def _mark(self) -> None:
        """When the host itself runs out of memory, builds go first; what they start from now on has it from them."""
        for pid in self.group.processes():
            if pid not in self._seen:
                self._seen.add(pid)
                with contextlib.suppress(OSError):
                    Path(f"/proc/{pid}/oom_score_adj").write_text(str(BUILD_OOM))


def _upper(pid: int) -> Iterator[str]:
    """Where what a process writes to its "/" is kept. Source: proc(5), mountinfo; overlayfs.rst."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines():
            words = line.split()
            if words[4] == "/":
                yield from (o.removeprefix("upperdir=") for o in words[-1].split(",") if o.startswith("upperdir="))


def _taken(top: Path) -> tuple[int, int]:
    """Bytes of all files below, and how many files and folders there are; no link is followed."""
    blocks, number = 0, 0
    for _, folders, files, folder in os.fwalk(top, follow_symlinks=False, onerror=None):
        number += len(folders) + len(files)
        for name in files:
            with contextlib.suppress(OSError):
                blocks += os.stat(name, dir_fd=folder, follow_symlinks=False).st_blocks
    return blocks * 512, number
