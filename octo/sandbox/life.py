"""The life of a sandbox, the same for every kind: made, started, called, attended, ended, cleared, swept.

A `Kind` says how one is started and what it leaves; adapters have one each.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from octo.sandbox.cells import ID, Cell, Cells
from octo.sandbox.cgroups import Cgroups, Group
from octo.sandbox.repositories import Repositories
from octo.sandbox.streamdoor import KILLED, TIMED_OUT, Halt, StreamDoor, Work, verdict
from octo.specs import Ended, SandboxSpec, StackVersion, Streams, Strike

FIRST = ("/usr/bin/python3", "-I", "-S", "/octo/streams.py")  # process 1
SHM = 64  # MB of a build's /dev/shm, where Python's multiprocessing has its locks
SOCKETS = "/run/octo"  # where a sandbox finds octod


@dataclass(frozen=True)
class SandboxHost:
    """What a host has for its sandboxes, of whichever kind.

    stack: a version of a stack by its id, "" being the current one of the default stack.
    attach: gives the network namespace of a process (its host pid) a way out, by the id of the sandbox; detach undoes
    it, and knows nothing of other ids.
    later: runs what nobody waits for.
    """

    state: Path  # a folder per sandbox
    repositories: Path
    share: Path  # lxc/, buildpacks/ and octo/guest lie in it
    instance: str
    user: int
    stack: Callable[[str], StackVersion]
    attach: Callable[[str, int], object]
    detach: Callable[[str], object]
    later: Callable[[Callable[[], object]], None]
    resolv: str = ""  # the resolv.conf of builds

    def cgroups(self, *, build: bool) -> Cgroups:
        """The parent of the groups of builds, or of receivers: to receive is a service, to build is not."""
        return Cgroups(f"{self.instance}-build") if build else Cgroups(f"{self.instance}-receive", little=False)

    @property
    def syscalls(self) -> Path:
        return self.share / "lxc" / "syscalls.toml"


@dataclass(frozen=True)
class Folders:
    """Folders of the host by the paths at which a sandbox sees them."""

    closed: Mapping[str, Path]
    writable: Mapping[str, Path]


class Inside(Protocol):
    """A sandbox that was started."""

    @property
    def group(self) -> Group:
        """Where its processes are."""

    @property
    def rules(self) -> bytes:
        """The filter of system calls that its first process is to put on; none: it has one already."""

    def alive(self) -> bool: ...

    def why(self) -> str:
        """What whoever starts it complained of, or ""."""

    def end(self) -> None:
        """End whoever could still put processes into the group."""

    def clear(self) -> None:
        """Remove what `start` made."""


class Kind(Protocol):
    def start(self, spec: SandboxSpec, cell: Cell, folders: Folders) -> Inside:
        """Start process 1, FIRST. Nothing is left when it raises."""

    def found(self) -> Iterable[str]:
        """The ids of all that this kind has on the host beside the cells."""

    def remove(self, id: str) -> None:
        """Remove what an octod that was killed left of one; what is not there is no error."""

    def tidy(self) -> None:
        """Remove what no sandbox uses. Called when there is none."""


@dataclass
class _Run:
    """One sandbox that is under `run`, or whose last traces are being removed."""

    app: str
    door: StreamDoor
    cell: Cell | None = None
    inside: Inside | None = None


class SandboxLife:
    """The Sandbox port, for one kind."""

    def __init__(self, host: SandboxHost, kind: Kind) -> None:
        self._host, self._kind = host, kind
        self._repositories = Repositories(host.repositories, host.user)
        self._cells = Cells(host.state / "cells", host.cgroups(build=True), host.cgroups(build=False), host.user)
        self._alive: dict[str, _Run] = {}  # by id, from before its first trace until the last is gone

    def run(self, spec: SandboxSpec, streams: Streams) -> Ended:
        with StreamDoor(spec.socket_dir, spec.limits.seconds) as door:
            run = self._alive[spec.id] = _Run(spec.app, door)
            try:
                run.cell = self._cells.make(spec)
                ended = self._attend(spec, run, run.cell, streams)
            except Halt:
                ended = Ended(TIMED_OUT, Strike.SECONDS) if door.expired else Ended(KILLED)
            except BaseException:
                self._end(spec, run, clean=False)
                self._clear(spec, run)
                raise
            self._end(spec, run, clean=ended == Ended(0))
        self._host.later(lambda: self._clear(spec, run))
        return ended

    def stop(self, id: str) -> None:
        run = self._alive.get(id)
        if run:
            run.door.stop()
            run.door.over.wait()

    def sweep(self, keep: Iterable[str]) -> Sequence[str]:
        there = {*self._kind.found(), *self._cells.list()}
        if not self._alive:
            self._kind.tidy()
        gone = sorted(there - {*keep, *self._alive})  # looked at last: who made one since then is in it
        for id in gone:
            cell = self._cells.cell(id)
            app = cell.app
            self._kind.remove(id)
            cell.remove()
            self._host.detach(id)
            if ID.fullmatch(app) and app not in {run.app for run in self._alive.values()}:
                self._repositories.tidy(app)
        return gone

    def owns(self, id: str, pid: int) -> bool:
        run = self._alive.get(id)
        return bool(run and run.inside and run.inside.group.holds(pid))

    def forget(self, app: str) -> None:
        self._repositories.forget(app)

    def _attend(self, spec: SandboxSpec, run: _Run, cell: Cell, streams: Streams) -> Ended:
        run.door.check()
        inside = run.inside = self._kind.start(spec, cell, self._folders(spec, cell))
        pid = run.door.welcome(inside.group.holds, inside.alive, inside.why)
        if spec.build:
            self._host.attach(spec.id, pid)
        run.door.hand(Work(spec.argv, spec.env, inside.rules), streams)
        code = run.door.result(cell.looked)
        return verdict(code, inside.group.events(), full=cell.looked())

    def _folders(self, spec: SandboxSpec, cell: Cell) -> Folders:
        share = self._host.share
        closed = {SOCKETS: Path(spec.socket_dir), "/octo": share / "octo" / "guest"}
        if spec.build:
            closed["/octo-buildpacks"] = share / "buildpacks"
            return Folders(closed, {"/app": cell.disk.top / "app", "/work": cell.disk.top / "work"})
        repository = self._repositories.ready(spec.app) if spec.mounted else cell.disk.top / "repo.git"
        return Folders(closed, {"/app/repo.git": repository})

    def _end(self, spec: SandboxSpec, run: _Run, *, clean: bool) -> None:
        """Nothing of it runs any more when this returns."""
        if run.inside:
            run.inside.end()
            run.inside.group.kill()
        if run.cell:
            run.cell.group.kill()
        if not clean and spec.mounted and not spec.build and not spec.reads:
            self._repositories.tidy(spec.app)

    def _clear(self, spec: SandboxSpec, run: _Run) -> None:
        try:
            if run.inside:
                run.inside.clear()
            if spec.build:
                self._host.detach(spec.id)
            if run.cell:
                run.cell.remove()
        finally:
            self._alive.pop(spec.id, None)
