"""The control groups that octo makes: parents, of little weight or not, and a group below for each sandbox or build.

Version 1 and version 2. What runs in a group may have groups of its own below (LXC's, Docker's): limits are set on the
group of octo, events are gathered from all below it, and it goes with all below it.
Source: Linux Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst.
"""

import contextlib
import logging
import os
import re
import select
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from octo.errors import Unavailable
from octo.specs import Limits

log = logging.getLogger(__name__)

ROOT = Path("/sys/fs/cgroup")
SHARES, WEIGHT = 128, 12  # of the processor: an eighth of what a group has that nobody configured (1024, 100)
PERIOD = 100_000  # microseconds
PATIENCE = 10.0  # seconds for killed processes to be gone
_NEEDED = ("memory", "cpu", "pids")
_PARENT = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_-]*")


@dataclass(frozen=True)
class Events:
    oom: int  # processes that were killed because memory ran out
    forks: int  # processes and threads that were refused because there were too many
    full: bool  # memory was at its limit, page cache counted: a hint, when who could say more is gone


class Cgroups:
    """A parent group of one octo, `/<name>`.

    little: what runs in it, however much that is, gives way to all else that wants a processor or a disk; else it
    counts, all together, as one service of the host.
    """

    def __init__(self, name: str, *, little: bool = True, root: Path = ROOT) -> None:
        if not _PARENT.fullmatch(name):
            raise ValueError(f"BUG: {name!r} is no name for a control group")
        self.name, self._little, self._root = name, little, root

    @property
    def unified(self) -> bool:
        """Whether it is version 2 that has the controllers."""
        return (self._root / "cgroup.controllers").exists()

    def usable(self) -> str:
        """ "", or why no group can be made here."""
        if self.unified:
            have = (self._root / "cgroup.controllers").read_text().split()
        else:
            have = [c for c in _NEEDED if (self._root / c / "cgroup.procs").exists()]
        missing = [c for c in _NEEDED if c not in have]
        if missing:
            return f'there is no control group for "{missing[0]}"'
        return "" if os.access(self._top(_NEEDED[0]), os.W_OK) else "the control groups cannot be written"

    def prepare(self) -> None:
        """Make the parent. Twice is the same as once. Raises Unavailable."""
        why = self.usable()
        if why:
            raise Unavailable(f"cannot limit builds: {why}", hint="See: octo doctor")
        if self.unified:
            self._prepare_unified()
            return
        for controller in (*_NEEDED, "blkio"):
            folder = self._top(controller) / self.name
            if self._top(controller).is_dir():
                folder.mkdir(exist_ok=True)
        if self._little:
            _put(self._top("cpu") / self.name / "cpu.shares", SHARES)
            for file in ("blkio.weight", "blkio.bfq.weight"):  # whichever the disk's scheduler has; of 10 to 1000
                _try(self._top("blkio") / self.name / file, 100)

    def make(self, id: str, limits: Limits) -> "Group":
        """Make a group with these limits. Raises Unavailable."""
        self.prepare()
        group = self.group(id)
        try:
            group.limit(limits)
        except OSError as error:
            group.remove()
            raise Unavailable(f"cannot limit a build: {error}", hint="See: octo doctor") from None
        return group

    def group(self, id: str) -> "Group":
        """A group by its id, whether it is there or not."""
        if not _PARENT.fullmatch(id):
            raise ValueError(f"BUG: {id!r} is no name for a control group")
        return Group(f"/{self.name}/{id}", tuple(self._hierarchies()), unified=self.unified)

    def adopt(self, pid: int) -> "Group":
        """The group that systemd made for a process; the slice that it put it in gets the parent's weight."""
        lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
        name = next(line.split(":", 2)[2] for line in lines if self.unified or "pids" in line.split(":")[1].split(","))
        group = Group(name, tuple(self._hierarchies()), unified=self.unified)
        if self._little:
            file, weight = ("cpu.weight", WEIGHT) if self.unified else ("cpu.shares", SHARES)
            _try(group.folder("cpu").parent / file, weight)
        return group

    def list(self) -> Sequence[str]:
        """The ids of all groups that are there."""
        tops = [top / self.name for top in self._hierarchies()]
        return sorted({g.name for top in tops if top.is_dir() for g in top.iterdir() if g.is_dir()})

    def remove(self) -> None:
        """Remove the parent, when nothing is left below it."""
        for top in self._hierarchies():
            with contextlib.suppress(OSError):
                (top / self.name).rmdir()

    def _prepare_unified(self) -> None:
        parent = self._root / self.name
        have = (self._root / "cgroup.controllers").read_text().split()
        wanted = " ".join(f"+{c}" for c in (*_NEEDED, "io") if c in have)
        _put(self._root / "cgroup.subtree_control", wanted)
        parent.mkdir(exist_ok=True)
        _put(parent / "cgroup.subtree_control", wanted)
        if self._little:
            _put(parent / "cpu.weight", WEIGHT)
            for file in ("io.weight", "io.bfq.weight"):  # whichever the disk's scheduler has; of 1 to 10,000
                _try(parent / file, f"default {WEIGHT}")

    def _top(self, controller: str) -> Path:
        return self._root if self.unified else self._root / controller

    def _hierarchies(self) -> Iterator[Path]:
        if self.unified:
            yield self._root
            return
        for folder in sorted(self._root.iterdir()):  # "cpu" may be a link to "cpu,cpuacct"
            if not folder.is_symlink() and (folder / "cgroup.procs").exists():
                yield folder


@dataclass(frozen=True)
class Group:
    """One group; on version 1 a folder of the same name in each hierarchy."""

    name: str  # "/PARENT/ID", as in /proc/PID/cgroup
    hierarchies: tuple[Path, ...]
    unified: bool

    def holds(self, pid: int) -> bool:
        """Whether the process runs in it, or in a group below."""
        try:
            lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
        except OSError:
            return False
        return any(f"{line.split(':', 2)[2]}/".startswith(f"{self.name}/") for line in lines)

    def events(self) -> Events:
        oom = forks = 0
        for folder in self._below("memory"):
            oom += _count(folder / ("memory.events" if self.unified else "memory.oom_control"), "oom_kill")
            if self.unified:
                break  # those of version 2 count what happened below, too
        for folder in self._below("pids"):
            forks += _count(folder / "pids.events", "max")
        top = self.folder("memory")
        full = _count(top / "memory.events", "max") if self.unified else _number(top / "memory.failcnt")
        return Events(oom, forks, bool(full))

    def processes(self) -> Sequence[int]:
        found: list[int] = []
        for folder in self._below("pids"):
            with contextlib.suppress(OSError):
                found += [int(p) for p in (folder / "cgroup.procs").read_text().split()]
        return found

    def kill(self) -> None:
        """Kill all that runs in it, and wait until it is gone. Its events are still there afterwards."""
        if self.unified:
            _try(self.folder("") / "cgroup.kill", 1)  # from Linux 5.14
        else:
            _try(self.folder("pids") / "pids.max", 0)  # nothing grows back
        until = time.monotonic() + PATIENCE
        while pids := self.processes():
            for pid in pids[1:]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            end(pids[0])
            if time.monotonic() > until:
                log.error("cannot end what runs in %s: %d processes are still there", self.name, len(pids))
                return

    def remove(self) -> None:
        """Kill what runs in it, and remove it with all below."""
        self.kill()
        for top in self.hierarchies:
            _remove(top / self.name[1:])

    def limit(self, limits: Limits) -> None:
        quota = f"{int(limits.cpus * PERIOD)}"
        values: dict[str, dict[str, object]] = {
            "memory": {"memory.limit_in_bytes": limits.memory, "memory.memsw.limit_in_bytes": limits.memory},
            "cpu": {"cpu.cfs_period_us": PERIOD, "cpu.cfs_quota_us": quota},
            "pids": {"pids.max": limits.pids},
        }
        if self.unified:
            values = {
                "memory": {"memory.max": limits.memory, "memory.swap.max": 0},
                "cpu": {"cpu.max": f"{quota} {PERIOD}"},
                "pids": {"pids.max": limits.pids},
            }
        for controller, files in values.items():
            folder = self.folder(controller)
            folder.mkdir(exist_ok=True)
            for file, value in files.items():
                # Without swap accounting the kernel has no file for it.
                (_try if "sw" in file else _put)(folder / file, value)

    def folder(self, controller: str) -> Path:
        if self.unified:
            return self.hierarchies[0] / self.name[1:]
        top = next((h for h in self.hierarchies if controller in h.name.split(",")), self.hierarchies[0])
        return top / self.name[1:]

    def _below(self, controller: str) -> Iterator[Path]:
        """The group's folder and all below it."""
        for folder, _, _ in os.walk(self.folder(controller)):
            yield Path(folder)


def _put(file: Path, value: object) -> None:
    file.write_text(str(value))


def _try(file: Path, value: object) -> None:
    if file.exists():
        with contextlib.suppress(OSError):
            _put(file, value)


def _count(file: Path, word: str) -> int:
    with contextlib.suppress(OSError):
        for line in file.read_text().splitlines():
            if line.split()[0] == word:
                return int(line.split()[1])
    return 0


def _number(file: Path) -> int:
    with contextlib.suppress(OSError):
        return int(file.read_text())
    return 0


def end(pid: int) -> None:
    """Kill one process, and wait a second at most until it has ended."""
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        return
    try:
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        poll.poll(1000)
    except ProcessLookupError:
        pass
    finally:
        os.close(descriptor)


def _remove(folder: Path) -> None:
    until = time.monotonic() + PATIENCE
    for inner, _, _ in os.walk(folder, topdown=False):
        while True:
            try:
                Path(inner).rmdir()
            except FileNotFoundError:
                break
            except OSError as error:  # what has just ended may still be counted for a moment
                if time.monotonic() > until:
                    log.error("cannot remove %s: %s", inner, error)
                    return
                time.sleep(0.001)
            else:
                break
