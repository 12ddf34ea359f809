"""The Sandbox as a Docker container: no network of Docker's, no capabilities, nothing writable but what its kind has.

The stack's image is its root, read-only, with octo's own resolv.conf and hosts over it. Why each option is needed:
reference list in ARCHITECTURE.md, "The receiver".
"""

import contextlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from octo import syscalls
from octo.cells import HOSTS, ID, Cell, Cells
from octo.cgroups import Cgroups, Group
from octo.engine import Engine
from octo.errors import Conflict, NotFound, OctoError, Unavailable
from octo.repositories import Repositories
from octo.specs import Ended, SandboxSpec, StackVersion, Streams, Strike
from octo.streamdoor import KILLED, TIMED_OUT, Halt, StreamDoor, Work, verdict

FIRST = ("/usr/bin/python3", "-I", "-S", "/octo/streams.py")
SHM = 64 * 1024 * 1024  # bytes of a build's /dev/shm, where Python's multiprocessing has its locks


@dataclass(frozen=True)
class DockerParts:
    """Where things lie on the host."""

    state: Path  # a folder per sandbox
    repositories: Path
    share: Path  # lxc/, buildpacks/ and octo/guest lie in it
    resolv: str = ""  # the resolv.conf of builds


class DockerSandbox:
    """stack: a version of a stack by its id, "" being the current one of the default stack.

    attach: gives the network namespace of a process (its host pid) a way out, by the id of the sandbox; detach undoes
    it, and knows nothing of other ids.
    later: runs what nobody waits for.
    """

    def __init__(
        self,
        engine: Engine,
        parts: DockerParts,
        *,
        instance: str,
        user: int,
        stack: Callable[[str], StackVersion],
        attach: Callable[[str, int], object],
        detach: Callable[[str], object],
        later: Callable[[Callable[[], object]], None],
    ) -> None:
        self._engine, self._parts, self._instance, self._user, self._stack = engine, parts, instance, user, stack
        self._attach, self._detach, self._later = attach, detach, later
        self._repositories = Repositories(parts.repositories, user)
        self._cgroups = Cgroups(f"{instance}-build")
        self._cells = Cells(parts.state / "cells", self._cgroups, user)
        self._alive: dict[str, _Run] = {}  # by id, from before its first trace until the last is gone

    def run(self, spec: SandboxSpec, streams: Streams) -> Ended:
        with StreamDoor(spec.socket_dir, spec.limits.seconds) as door:
            run = self._alive[spec.id] = _Run(spec.app, door)
            try:
                run.cell = self._cells.make(spec)
                code = self._attend(spec, run, run.cell, streams)
                ended = verdict(code, run.groups.events(), full=run.cell.looked())
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
        label = {"label": [f"octo.instance={self._instance}", "octo.sandbox"]}
        found = self._engine.get("containers", "json", query={"all": True, "filters": label})
        ours = {c["Labels"]["octo.sandbox"] for c in found if self._is_ours(c)}
        there = {*ours, *self._cells.list()}
        gone = sorted(there - {*keep, *self._alive})  # looked at last: who made one since then is in it
        for id in gone:
            cell = self._cells.cell(id)
            app = cell.app
            self._remove_container(id)
            cell.remove()
            self._detach(id)
            if ID.fullmatch(app) and app not in {run.app for run in self._alive.values()}:
                self._repositories.tidy(app)
        return gone

    def owns(self, id: str, pid: int) -> bool:
        run = self._alive.get(id)
        return bool(run and run.cell and run.groups.holds(pid))

    def forget(self, app: str) -> None:
        self._repositories.forget(app)

    def _is_ours(self, container: Any) -> bool:
        """By its exact name as well: an image's labels become its containers' labels."""
        id = container["Labels"]["octo.sandbox"]
        return bool(ID.fullmatch(id)) and f"/{self._name(id)}" in container["Names"]

    def _attend(self, spec: SandboxSpec, run: "_Run", cell: Cell, streams: Streams) -> int | None:
        run.door.check()
        self._start(spec, run, cell)
        pid = run.door.welcome(run.groups.holds, lambda: self._running(spec.id))
        if spec.build:
            self._attach(spec.id, pid)
        run.door.hand(Work(spec.argv, spec.env), streams)
        return run.door.result(cell.looked)

    def _start(self, spec: SandboxSpec, run: "_Run", cell: Cell) -> None:
        try:
            body, query = self._body(spec, cell), {"name": self._name(spec.id)}
            made = self._engine.post("containers", "create", body=body, query=query)
            run.created = True
            self._engine.post("containers", made["Id"], "start")
            if self._slices:
                run.slice = self._cgroups.adopt(self._engine.get("containers", made["Id"], "json")["State"]["Pid"])
        except NotFound as error:
            raise Unavailable(
                f"cannot start a sandbox: {error.message}", hint="Make the stack: ./setup stack"
            ) from None
        except OctoError as error:
            raise Unavailable(f"cannot start a sandbox: {error.message}", hint="See: octo doctor") from None

    def _end(self, spec: SandboxSpec, run: "_Run", *, clean: bool) -> None:
        """Nothing of it runs any more when this returns."""
        if run.cell:
            run.groups.kill()
        if not clean and spec.mounted and not spec.build and not spec.reads:
            self._repositories.tidy(spec.app)

    def _clear(self, spec: SandboxSpec, run: "_Run") -> None:
        try:
            if run.created:
                self._remove_container(spec.id)
            if spec.build:
                self._detach(spec.id)
            if run.cell:
                run.cell.remove()
        finally:
            self._alive.pop(spec.id, None)

    def _remove_container(self, id: str) -> None:
        name = self._name(id)
        try:
            self._engine.delete("containers", name, query={"force": True, "v": True})
        except Conflict:  # somebody else is removing it: gone is gone only when they have ended
            with contextlib.suppress(NotFound):
                self._engine.post("containers", name, "wait", query={"condition": "removed"})

    def _running(self, id: str) -> bool:
        found = self._engine.find("containers", self._name(id), "json")
        return bool(found and found["State"]["Running"])

    def _name(self, id: str) -> str:
        if not ID.fullmatch(id):
            raise ValueError(f"BUG: {id!r} is no sandbox id")
        return f"{self._instance}-rx-{id}"

    @cached_property
    def _slices(self) -> bool:
        """Whether the engine has systemd make its control groups, which takes the name of a slice only."""
        return bool(self._engine.get("info")["CgroupDriver"] == "systemd")

    def _body(self, spec: SandboxSpec, cell: Cell) -> dict[str, Any]:
        return {
            "Image": self._stack(spec.stack).image,
            "Entrypoint": list(FIRST),
            "Cmd": [],
            "User": f"{self._user}:{self._user}",
            "WorkingDir": "/",
            "Hostname": "sandbox",
            "Labels": {"octo.instance": self._instance, "octo.sandbox": spec.id, "octo.app": spec.app},
            "NetworkDisabled": True,
            "HostConfig": self._host(spec, cell),
        }

    def _host(self, spec: SandboxSpec, cell: Cell) -> dict[str, Any]:
        limits, rules = spec.limits, syscalls.for_docker(self._parts.share / "lxc" / "syscalls.toml")
        tmp = f"rw,nosuid,nodev,{'exec' if spec.build else 'noexec'},size={limits.tmp},nr_inodes=50000,mode=0700"
        return {
            "NetworkMode": "none",
            "IpcMode": "private" if spec.build else "none",
            "ShmSize": SHM,
            "ReadonlyRootfs": True,
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges", f"seccomp={json.dumps(rules)}"],
            "OomScoreAdj": 500,
            "CgroupParent": f"{self._instance}build.slice" if self._slices else cell.group.name,
            "Memory": limits.memory,
            "MemorySwap": limits.memory,
            "NanoCpus": int(limits.cpus * 1e9),
            "PidsLimit": limits.pids,
            "Ulimits": [
                {"Name": "nofile", "Soft": min(1024, limits.open_files), "Hard": limits.open_files},
                {"Name": "core", "Soft": 0, "Hard": 0},
            ],
            "Tmpfs": {"/tmp": f"{tmp},uid={self._user},gid={self._user}"},  # noqa: S108 - inside the sandbox
            "Mounts": self._mounts(spec, cell),
            "LogConfig": {"Type": "none"},
            "RestartPolicy": {"Name": "no"},
        }

    def _mounts(self, spec: SandboxSpec, cell: Cell) -> Sequence[Mapping[str, Any]]:
        share = self._parts.share
        closed = {"/run/octo": Path(spec.socket_dir), "/octo": share / "octo" / "guest"}
        for name, text in (("resolv.conf", self._parts.resolv), ("hosts", HOSTS)):
            file = cell.folder / name
            file.write_text(text)
            closed[f"/etc/{name}"] = file
        if spec.build:
            closed["/octo-buildpacks"] = share / "buildpacks"
            writable = {"/app": cell.disk.top / "app", "/work": cell.disk.top / "work"}
        else:
            mounted = self._repositories.ready(spec.app) if spec.mounted else cell.disk.top / "repo.git"
            writable = {"/app/repo.git": mounted}
        made = [_mount(source, target, read_only=True) for target, source in closed.items()]
        return made + [_mount(source, target, read_only=False) for target, source in writable.items()]


@dataclass
class _Run:
    """One sandbox that is under `run`, or whose last traces are being removed."""

    app: str
    door: StreamDoor
    cell: Cell | None = None
    created: bool = False  # the container
    slice: Group | None = None  # the container's own group, where systemd made it

    @property
    def groups(self) -> Group:
        if self.cell is None:
            raise AssertionError("BUG: the sandbox was not made")
        return self.slice or self.cell.group


def _mount(source: Path, target: str, *, read_only: bool) -> dict[str, Any]:
    return {"Type": "bind", "Source": str(source), "Target": target, "ReadOnly": read_only}
