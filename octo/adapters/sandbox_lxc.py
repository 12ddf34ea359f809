"""The Sandbox as an LXC container: openruko's way, and the fast one.

Its root is a folder of mount points (lxcroot.py) with the stack's folders laid over it, read-only. Each container has
user, process and network namespaces of its own, no capabilities, a filter of system calls, and the limits of its
control group. The configuration and why each line is there: lxc/sandbox.conf.
"""

import contextlib
import os
import shutil
import string
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from octo import process, syscalls
from octo.cells import ID, Cell, Cells
from octo.cgroups import Cgroups, end
from octo.errors import OctoError, Unavailable
from octo.lxcroot import LxcRoots
from octo.repositories import Repositories
from octo.specs import Ended, SandboxSpec, StackVersion, Streams, Strike
from octo.streamdoor import KILLED, TIMED_OUT, Halt, StreamDoor, Work, verdict

FIRST = ("/usr/bin/python3", "-I", "-S", "/octo/streams.py")
# Host uids and gids of everybody inside but the one user: above those of containers and of users by any convention.
# Source: systemd's docs/UIDS-GIDS.md, "unused".
RANGE, SIZE = 0x70000000, 65536
OLDEST = (4, 0, 6)  # LXC; Debian 11's
SHM = 64  # MB of a build's /dev/shm, where Python's multiprocessing has its locks
_OPEN = "bind,rw,nosuid,nodev"
_CLOSED = "bind,ro,nosuid,nodev"
# What would tell of the host in /proc and /sys, where the kernel has it.
_HIDDEN_FILES = ("kcore", "keys", "latency_stats", "timer_list", "timer_stats", "sched_debug", "kmsg", "kallsyms")
_HIDDEN_FOLDERS = ("/proc/acpi", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap", "/sys/fs/cgroup")


@dataclass(frozen=True)
class LxcParts:
    """Where things lie on the host."""

    state: Path  # a folder per sandbox, and the roots
    repositories: Path
    share: Path  # lxc/, buildpacks/ and octo/guest lie in it
    resolv: str = ""  # the resolv.conf of builds


class LxcSandbox:
    """stack: a version of a stack by its id, "" being the current one of the default stack.

    attach: gives the network namespace of a process (its host pid) a way out, by the id of the sandbox; detach undoes
    it, and knows nothing of other ids.
    later: runs what nobody waits for.
    """

    def __init__(
        self,
        parts: LxcParts,
        *,
        instance: str,
        user: int,
        stack: Callable[[str], StackVersion],
        attach: Callable[[str, int], object],
        detach: Callable[[str], object],
        later: Callable[[Callable[[], object]], None],
    ) -> None:
        self._parts, self._instance, self._user, self._stack = parts, instance, user, stack
        self._attach, self._detach, self._later = attach, detach, later
        self._repositories = Repositories(parts.repositories, user)
        self._cells = Cells(parts.state / "cells", Cgroups(f"{instance}-build"), user)
        self._roots = LxcRoots(parts.state / "roots", parts.resolv)
        self._alive: dict[str, _Run] = {}  # by id, from before its first trace until the last is gone

    def run(self, spec: SandboxSpec, streams: Streams) -> Ended:
        with StreamDoor(spec.socket_dir, spec.limits.seconds) as door:
            run = self._alive[spec.id] = _Run(spec.app, door)
            try:
                run.cell = self._cells.make(spec)
                code = self._attend(spec, run, streams)
                ended = verdict(code, run.cell.group.events(), full=run.cell.looked())
            except Halt:
                ended = Ended(TIMED_OUT, Strike.SECONDS) if door.expired else Ended(KILLED)
            except BaseException:
                self._end(spec, run, clean=False)
                self._clear(spec, run)
                raise
            self._end(spec, run, clean=ended == Ended(0))
        self._later(lambda: self._clear(spec, run))
        return ended

    def stop(self, id: str) -> None:
        run = self._alive.get(id)
        if run:
            run.door.stop()
            run.door.over.wait()

    def sweep(self, keep: Iterable[str]) -> Sequence[str]:
        there = self._cells.list()
        if not self._alive:
            self._roots.sweep()
        gone = [id for id in there if id not in {*keep, *self._alive}]
        for id in gone:
            cell = self._cells.cell(id)
            app = cell.app
            self._end_start(id)
            cell.remove()
            self._detach(id)
            if ID.fullmatch(app) and app not in {run.app for run in self._alive.values()}:
                self._repositories.tidy(app)
        return gone

    def owns(self, id: str, pid: int) -> bool:
        run = self._alive.get(id)
        return bool(run and run.cell and run.cell.group.holds(pid))

    def forget(self, app: str) -> None:
        self._repositories.forget(app)

    def _attend(self, spec: SandboxSpec, run: "_Run", streams: Streams) -> int | None:
        cell, door = run.there, run.door
        door.check()
        program = run.program = self._start(spec, cell, run.said)
        try:
            pid = door.welcome(cell.group.holds, lambda: program.poll() is None)
        except Unavailable as error:
            raise Unavailable(f"{error.message}: {run.words()}", hint=error.hint) from None
        if spec.build:
            self._attach(spec.id, pid)
        door.hand(Work(spec.argv, spec.env, syscalls.compiled(self._parts.share / "lxc" / "syscalls.toml")), streams)
        return door.result(cell.looked)

    def _start(self, spec: SandboxSpec, cell: Cell, said: int) -> process.Program:
        config = cell.folder / "config"
        config.write_text(self._config(spec, cell))
        argv = [*self._command(spec.id), "-F", "-f", str(config), "--", *FIRST]
        # Without newuidmap in its PATH, LXC writes the map itself: no lines in /etc/subuid, two programs less.
        return process.spawn(argv, env={"PATH": "/nowhere"}, stdout=said, stderr=said)

    def _config(self, spec: SandboxSpec, cell: Cell) -> str:
        template = string.Template((self._parts.share / "lxc" / "sandbox.conf").read_text())
        stack = self._stack(spec.stack)
        text = template.substitute(
            root=self._roots.root(stack),
            idmap="\n".join(f"lxc.idmap = {kind} {line}" for kind in "ug" for line in idmap(self._user)),
            user=self._user,
            files_soft=min(1024, spec.limits.open_files),
            files_hard=spec.limits.open_files,
            group=cell.group.name[1:],
        )
        return text + "".join(
            f"lxc.mount.entry = {entry} 0 0\n" for entry in self._mounts(spec, cell, Path(stack.tree))
        )

    def _mounts(self, spec: SandboxSpec, cell: Cell, tree: Path) -> Iterator[str]:
        for name in LxcRoots.laid_over(tree):
            yield _bind(tree / name, name, _CLOSED)
        for name in _HIDDEN_FILES:
            if Path("/proc", name).exists():
                yield _bind(Path("/dev/null"), f"proc/{name}", _CLOSED)
        for name in _HIDDEN_FOLDERS:
            if Path(name).is_dir():
                yield f"tmpfs {name[1:]} tmpfs ro,nosuid,nodev,noexec,size=4k,mode=0555"
        owner = f"uid={self._user},gid={self._user},mode=0700"
        executable = "" if spec.build else "noexec,"
        yield f"tmpfs tmp tmpfs rw,nosuid,nodev,{executable}size={spec.limits.tmp},nr_inodes=50000,{owner}"
        _open_way(Path(spec.socket_dir).parent)
        yield _bind(Path(spec.socket_dir), "run/octo", _CLOSED + ",noexec")
        yield _bind(self._parts.share / "octo" / "guest", "octo", _CLOSED)
        if spec.build:
            yield _bind(cell.disk.top / "app", "app", _OPEN)
            yield _bind(cell.disk.top / "work", "work", _OPEN)
            yield _bind(self._parts.share / "buildpacks", "octo-buildpacks", _CLOSED)
            yield f"tmpfs dev/shm tmpfs rw,nosuid,nodev,noexec,create=dir,size={SHM}m,{owner}"
        else:
            repository = self._repositories.ready(spec.app) if spec.mounted else cell.disk.top / "repo.git"
            yield _bind(repository, "app/repo.git", _OPEN)

    def _end(self, spec: SandboxSpec, run: "_Run", *, clean: bool) -> None:
        """Nothing of it runs any more when this returns."""
        if run.program:  # first: before it has put itself into the group it would go on making it
            run.program.kill()
            run.program.wait()
        if run.cell:
            run.cell.group.kill()
        if not clean and spec.mounted and not spec.build and not spec.reads:
            self._repositories.tidy(spec.app)

    def _end_start(self, id: str) -> None:
        """End an lxc-start of an octod that was killed, which may be about to make the group that is to go."""
        words = self._command(id)
        for file in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                if file.read_bytes().split(b"\0")[: len(words)] == [os.fsencode(w) for w in words]:
                    end(int(file.parent.name))

    def _command(self, id: str) -> Sequence[str]:
        return ("/usr/bin/lxc-start", "-n", f"{self._instance}-{id}", "-P", str(self._parts.state))

    def _clear(self, spec: SandboxSpec, run: "_Run") -> None:
        os.close(run.said)
        try:
            if spec.build:
                self._detach(spec.id)
            if run.cell:
                run.cell.remove()
        finally:
            self._alive.pop(spec.id, None)


@dataclass
class _Run:
    """One sandbox that is under `run`, or whose last traces are being removed."""

    app: str
    door: StreamDoor
    cell: Cell | None = None
    program: process.Program | None = None
    said: int = field(default_factory=lambda: os.memfd_create("lxc"))  # what lxc-start had to say

    @property
    def there(self) -> Cell:
        if self.cell is None:
            raise AssertionError("BUG: the sandbox was not made")
        return self.cell

    def words(self) -> str:
        """The first thing that lxc-start complained of."""
        lines = os.pread(self.said, 10_000, 0).decode("utf-8", "replace").splitlines()
        return lines[0].rpartition(": ")[2] if lines else "it said nothing"


def usable(share: Path) -> str:
    """ "", or why there can be no LXC sandboxes here, in words for an operator."""
    if not shutil.which("lxc-start", path=process.PATH):
        return "LXC is not installed"
    try:
        version = process.run(["lxc-start", "--version"]).out.decode().strip()
        syscalls.compiled(share / "lxc" / "syscalls.toml")
    except OctoError as error:
        return error.message
    if tuple(int(n) for n in version.split("~")[0].split(".") if n.isdigit()) < OLDEST:
        return f"LXC {version} is too old"
    most = Path("/proc/sys/user/max_user_namespaces")
    if not Path("/proc/self/ns/user").exists() or (most.exists() and most.read_text().strip() == "0"):
        return "the kernel has no user namespaces"
    closed = next((p for p in (share, *share.parents) if not p.stat().st_mode & 0o001), None)
    if closed:
        return f'"{closed}" is closed to other users'
    return Cgroups("octo").usable()


def idmap(user: int) -> Sequence[str]:
    """ "INSIDE OUTSIDE COUNT" lines: this one id is the same outside, all others lie in octo's range."""
    return (f"0 {RANGE} {user}", f"{user} {user} 1", f"{user + 1} {RANGE + user + 1} {SIZE - user - 1}")


def _bind(source: Path, target: str, options: str) -> str:
    return f"{_word(str(source))} {target} none {options}"


def _word(path: str) -> str:
    """A path as fstab(5) wants it."""
    return path.replace("\\", "\\134").replace(" ", "\\040").replace("\t", "\\011").replace("\n", "\\012")


def _open_way(folder: Path) -> None:
    """Let LXC, which mounts as the container's own root, get through a folder that is closed to everybody else.

    Only its group comes to be able to, and no process but LXC's has that group.
    """
    now = folder.stat()
    if not now.st_mode & 0o001 and now.st_gid != RANGE:
        os.chown(folder, -1, RANGE)
        folder.chmod(now.st_mode & 0o777 | 0o010)
