"""The Sandbox as a Docker container: no network of Docker's, no capabilities, nothing writable but what its kind has.

The stack's image is its root, read-only, with octo's own resolv.conf and hosts over it. What each option is for:
ARCHITECTURE.md, "Sandboxes".
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from octo.engine import Engine
from octo.errors import NotFound, OctoError, Unavailable
from octo.sandbox import syscalls
from octo.sandbox.cells import HOSTS, ID, Cell
from octo.sandbox.cgroups import Group
from octo.sandbox.life import FIRST, SHM, Folders, SandboxHost
from octo.specs import MB, SandboxSpec


class DockerKind:
    def __init__(self, engine: Engine, host: SandboxHost) -> None:
        self._engine, self._host = engine, host

    def start(self, spec: SandboxSpec, cell: Cell, folders: Folders) -> "Started":
        try:
            body, query = self._body(spec, cell, folders), {"name": self._name(spec.id)}
            made = self._engine.post("containers", "create", body=body, query=query)
            try:
                self._engine.post("containers", made["Id"], "start")
                group = self._group(made["Id"], spec, cell)
            except BaseException:
                self.remove(spec.id)
                raise
        except NotFound as error:
            raise Unavailable(
                f"cannot start a sandbox: {error.message}", hint="Make the stack: ./setup stack"
            ) from None
        except OctoError as error:
            raise Unavailable(f"cannot start a sandbox: {error.message}", hint="See: octo doctor") from None
        return Started(group, lambda: self._running(spec.id), lambda: self.remove(spec.id))

    def found(self) -> Sequence[str]:
        label = {"label": [f"octo.instance={self._host.instance}", "octo.sandbox"]}
        found = self._engine.get("containers", "json", query={"all": True, "filters": label})
        return [container["Labels"]["octo.sandbox"] for container in found if self._is_ours(container)]

    def remove(self, id: str) -> None:
        self._engine.remove_container(self._name(id))

    def tidy(self) -> None:
        """Containers are all there is."""

    def _is_ours(self, container: Any) -> bool:
        """By its exact name as well: an image's labels become its containers' labels."""
        id = container["Labels"]["octo.sandbox"]
        return bool(ID.fullmatch(id)) and f"/{self._name(id)}" in container["Names"]

    def _running(self, id: str) -> bool:
        found = self._engine.find("containers", self._name(id), "json")
        return bool(found and found["State"]["Running"])

    def _group(self, container: str, spec: SandboxSpec, cell: Cell) -> Group:
        if not self._slices:
            return cell.group
        pid = self._engine.get("containers", container, "json")["State"]["Pid"]
        return self._host.cgroups(build=spec.build).adopt(pid)

    def _name(self, id: str) -> str:
        if not ID.fullmatch(id):
            raise ValueError(f"BUG: {id!r} is no sandbox id")
        return f"{self._host.instance}-rx-{id}"

    def _slice(self, spec: SandboxSpec) -> str:
        return f"{self._host.instance}{'build' if spec.build else 'receive'}.slice"

    @cached_property
    def _slices(self) -> bool:
        """Whether the engine has systemd make its control groups, which takes the name of a slice only."""
        return bool(self._engine.get("info")["CgroupDriver"] == "systemd")

    def _body(self, spec: SandboxSpec, cell: Cell, folders: Folders) -> dict[str, Any]:
        return {
            "Image": self._host.stack(spec.stack).image,
            "Entrypoint": list(FIRST),
            "Cmd": [],
            "User": f"{self._host.user}:{self._host.user}",
            "WorkingDir": "/",
            "Hostname": "sandbox",
            "Labels": {"octo.instance": self._host.instance, "octo.sandbox": spec.id, "octo.app": spec.app},
            "NetworkDisabled": True,
            "HostConfig": {**self._rules(spec), **self._limits(spec, cell), "Mounts": self._mounts(cell, folders)},
        }

    def _rules(self, spec: SandboxSpec) -> dict[str, Any]:
        rules, user = syscalls.for_docker(self._host.syscalls), self._host.user
        executable = "exec" if spec.build else "noexec"
        tmp = f"rw,nosuid,nodev,{executable},size={spec.limits.tmp},nr_inodes=50000,mode=0700,uid={user},gid={user}"
        return {
            "NetworkMode": "none",
            "IpcMode": "private" if spec.build else "none",
            "ShmSize": SHM * MB,
            "ReadonlyRootfs": True,
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges", f"seccomp={json.dumps(rules)}"],
            "Tmpfs": {"/tmp": tmp},  # noqa: S108 - inside the sandbox
            "LogConfig": {"Type": "none"},
            "RestartPolicy": {"Name": "no"},
        }

    def _limits(self, spec: SandboxSpec, cell: Cell) -> dict[str, Any]:
        limits = spec.limits
        return {
            "OomScoreAdj": 500,
            "CgroupParent": self._slice(spec) if self._slices else cell.group.name,
            "Memory": limits.memory,
            "MemorySwap": limits.memory,
            "NanoCpus": int(limits.cpus * 1e9),
            "PidsLimit": limits.pids,
            "Ulimits": [
                {"Name": "nofile", "Soft": min(1024, limits.open_files), "Hard": limits.open_files},
                {"Name": "core", "Soft": 0, "Hard": 0},
            ],
        }

    def _mounts(self, cell: Cell, folders: Folders) -> Sequence[Mapping[str, Any]]:
        closed = dict(folders.closed)
        for name, text in (("resolv.conf", self._host.resolv), ("hosts", HOSTS)):
            file = cell.folder / name
            file.write_text(text)
            closed[f"/etc/{name}"] = file
        made = [_mount(source, target, read_only=True) for target, source in closed.items()]
        return made + [_mount(source, target, read_only=False) for target, source in folders.writable.items()]


@dataclass(frozen=True)
class Started:
    group: Group  # octo's, or the container's own where systemd makes them
    alive: Callable[[], bool]
    clear: Callable[[], None]
    rules: bytes = b""  # the engine puts them on

    def why(self) -> str:
        return ""

    def end(self) -> None:
        """A container's processes are made in its group, by the engine: killing those is the end."""


def _mount(source: Path, target: str, *, read_only: bool) -> dict[str, Any]:
    return {"Type": "bind", "Source": str(source), "Target": target, "ReadOnly": read_only}
