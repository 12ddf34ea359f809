"""The Sandbox as a Docker container: no network, no capabilities, nothing writable but /app/repo.git and /tmp.

The stack image is its root, read-only. Three mounts: the app's repository, the folder with this receiver's sockets,
and octo/guest. The limits and why each option is needed: reference list in ARCHITECTURE.md, "The receiver".
"""

import contextlib
import os
import re
import shutil
import socket
import threading
import time
from array import array
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from octo.engine import Engine
from octo.errors import Conflict, NotFound, OctoError, Unavailable
from octo.ports import SandboxSpec, Streams

KILLED, TIMED_OUT = 137, 124
START = 30.0  # seconds until the first process of a sandbox must have called
_ID = re.compile(r"[0-9a-f]{4,64}")


class DockerSandbox:
    def __init__(
        self,
        engine: Engine,
        *,
        instance: str,
        image: str,
        user: int,
        repositories: Path,
        guest: Path,
        later: Callable[[Callable[[], object]], None],
    ) -> None:
        self._engine, self._instance, self._image = engine, instance, image
        self._user, self._repositories, self._guest, self._later = user, repositories, guest, later
        repositories.mkdir(mode=0o711, parents=True, exist_ok=True)
        self._containers: dict[str, str] = {}  # sandbox id -> container id, of those that run now
        self._alive: dict[str, str] = {}  # sandbox id -> app, from before its container is made until it is gone
        self._expired: set[str] = set()  # ids whose wall clock struck

    def run(self, spec: SandboxSpec, streams: Streams) -> int:
        self._alive[spec.id] = spec.app
        try:
            return self._run(spec, streams)
        finally:
            del self._alive[spec.id]

    def _run(self, spec: SandboxSpec, streams: Streams) -> int:
        timer = threading.Timer(spec.limits.seconds, self._expire, [spec.id])
        timer.daemon = True
        with socket.socket(socket.AF_UNIX) as door:
            path = Path(spec.socket_dir, "streams.sock")
            door.bind(str(path))
            path.chmod(0o666)  # the folder above is closed to everybody on the host but root
            door.listen(1)
            code, ended = KILLED, False
            try:
                self._start(spec)
                timer.start()
                code, ended = self._attend(spec, door, streams)
            finally:
                timer.cancel()
                path.unlink(missing_ok=True)
                self._remove(spec, ended=ended, clean=ended and code == 0)
        if spec.id in self._expired:
            self._expired.discard(spec.id)
            return TIMED_OUT
        return code

    def _remove(self, spec: SandboxSpec, *, ended: bool, clean: bool) -> None:
        """A sandbox whose program has ended is removed behind the answer, which need not wait 150 ms for it."""
        if ended:
            self._later(lambda: self.stop(spec.id))
        else:
            self.stop(spec.id)
        if not clean:
            tidy(self._repository(spec.app))

    def stop(self, id: str) -> None:
        self._containers.pop(id, None)
        name = self._name(id)
        try:
            self._engine.delete("containers", name, query={"force": True, "v": True})
        except Conflict:  # somebody else is removing it: gone is gone only when they have ended
            with contextlib.suppress(NotFound):
                self._engine.post("containers", name, "wait", query={"condition": "removed"})

    def sweep(self, keep: Iterable[str]) -> Sequence[str]:
        label = {"label": [f"octo.instance={self._instance}", "octo.sandbox"]}
        found = self._engine.get("containers", "json", query={"all": True, "filters": label})
        ours = {c["Labels"]["octo.sandbox"]: c["Labels"]["octo.app"] for c in found if self._is_ours(c)}
        stay = {*keep, *self._alive}  # looked at after the engine: who made a container since then is in it
        gone = sorted(set(ours) - stay)
        for id in gone:
            self.stop(id)
            if ours[id] not in self._alive.values():  # else a push to that app is at its repository
                tidy(self._repository(ours[id]))
        return gone

    def owns(self, id: str, pid: int) -> bool:
        container = self._containers.get(id)
        try:
            return bool(container) and str(container) in Path(f"/proc/{pid}/cgroup").read_text()
        except OSError:
            return False

    def forget(self, app: str) -> None:
        shutil.rmtree(self._repository(app), ignore_errors=True)

    def _is_ours(self, container: Any) -> bool:
        """By its exact name as well: an image's labels become its containers' labels."""
        id = container["Labels"]["octo.sandbox"]
        return bool(_ID.fullmatch(id)) and f"/{self._name(id)}" in container["Names"]

    def _start(self, spec: SandboxSpec) -> None:
        repository = self._repository(spec.app)
        if not repository.exists():
            repository.mkdir(mode=0o700)
            os.chown(repository, self._user, self._user)
        try:
            made = self._engine.post(
                "containers", "create", body=self._body(spec, repository), query={"name": self._name(spec.id)}
            )
            self._containers[spec.id] = made["Id"]
            self._engine.post("containers", made["Id"], "start")
        except NotFound as error:
            raise Unavailable(
                f'cannot start a receiver from "{self._image}": {error.message}', hint="Make the stack: ./setup stack"
            ) from None
        except OctoError as error:
            raise Unavailable(f"cannot start a receiver: {error.message}", hint="See: octo doctor") from None

    def _attend(self, spec: SandboxSpec, door: socket.socket, streams: Streams) -> tuple[int, bool]:
        """Hand the streams over, and wait for the exit code; False with it when the program did not end by itself."""
        door.settimeout(0.25)
        until = time.monotonic() + START
        while True:
            try:
                guest, _ = door.accept()
                break
            except TimeoutError:
                if spec.id not in self._containers:
                    return KILLED, False
                if time.monotonic() > until or not self._running(spec.id):
                    raise Unavailable("cannot start a receiver: it did not come up", hint="See: octo doctor") from None
        with guest:
            if not self.owns(spec.id, _pid(guest)):
                return KILLED, False
            rights = array("i", [streams.stdin, streams.stdout, streams.stderr]).tobytes()
            guest.sendmsg([b"s"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
            said = b""
            with contextlib.suppress(ConnectionResetError):
                while part := guest.recv(64):
                    said += part
        return (int(said.split()[1]), True) if said.startswith(b"exit ") else (KILLED, False)

    def _expire(self, id: str) -> None:
        self._expired.add(id)
        with contextlib.suppress(OctoError):
            self.stop(id)

    def _running(self, id: str) -> bool:
        found = self._engine.find("containers", self._name(id), "json")
        return bool(found and found["State"]["Running"])

    def _name(self, id: str) -> str:
        if not _ID.fullmatch(id):
            raise ValueError(f"BUG: {id!r} is no sandbox id")
        return f"{self._instance}-rx-{id}"

    def _repository(self, app: str) -> Path:
        if not _ID.fullmatch(app):
            raise ValueError(f"BUG: {app!r} is no app id")
        return self._repositories / f"{app}.git"

    def _body(self, spec: SandboxSpec, repository: Path) -> dict[str, Any]:
        owner = f"{self._user}:{self._user}"
        tmp = f"rw,nosuid,nodev,noexec,size=256m,nr_inodes=50000,uid={self._user},gid={self._user},mode=0700"
        return {
            "Image": self._image,
            "Entrypoint": ["/usr/bin/python3", "-I", "-S", "/octo/streams.py"],
            "Cmd": list(spec.argv),
            "Env": [f"{k}={v}" for k, v in spec.env.items()],
            "User": owner,
            "WorkingDir": "/",
            "Labels": {"octo.instance": self._instance, "octo.sandbox": spec.id, "octo.app": spec.app},
            "NetworkDisabled": True,
            "HostConfig": {
                "NetworkMode": "none",
                "IpcMode": "none",
                "ReadonlyRootfs": True,
                "CapDrop": ["ALL"],
                "SecurityOpt": ["no-new-privileges"],
                "Memory": spec.limits.memory,
                "MemorySwap": spec.limits.memory,
                "NanoCpus": int(spec.limits.cpus * 1e9),
                "PidsLimit": spec.limits.pids,
                "Ulimits": [
                    {"Name": "nofile", "Soft": 1024, "Hard": 4096},
                    {"Name": "core", "Soft": 0, "Hard": 0},
                ],
                "Tmpfs": {"/tmp": tmp},  # noqa: S108 - inside the sandbox
                "Mounts": [
                    _mount(repository, "/app/repo.git", read_only=False),
                    _mount(Path(spec.socket_dir), "/run/octo", read_only=True),
                    _mount(self._guest, "/octo", read_only=True),
                ],
                "LogConfig": {"Type": "none"},
                "RestartPolicy": {"Name": "no"},
            },
        }


def _mount(source: Path, target: str, *, read_only: bool) -> dict[str, Any]:
    return {"Type": "bind", "Source": str(source), "Target": target, "ReadOnly": read_only}


def _pid(peer: socket.socket) -> int:
    return array("i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]


def tidy(repository: Path) -> None:
    """Remove what a killed git left: quarantines, lock files, half packs. Never git's work, and no link is followed."""
    try:
        top = os.open(repository, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return
    try:
        for _, folders, files, at in os.fwalk(".", dir_fd=top, follow_symlinks=False):
            for name in [f for f in folders if f.startswith("tmp_objdir-")]:
                folders.remove(name)
                shutil.rmtree(name, dir_fd=at, ignore_errors=True)
            for name in files:
                if name.endswith(".lock") or name.startswith(("tmp_", ".tmp-")):
                    os.unlink(name, dir_fd=at)
    finally:
        os.close(top)
