"""The engine that builds Dockerfiles: a second dockerd, apart from the host in every way.

Its own network namespace under the builds' rules, so that neither a build nor the engine itself (which fetches what ADD
and FROM name) reaches the host. Root inside is a user of no rights outside. Its data lie on a disk of their own that is
mounted for it alone, its sockets and pid files on a /run that goes with it (octo/buildengine/box.py): however it ends,
there is nothing to mend but processes. It starts when it is needed, and is stopped when it is not.

Several octods may share one folder: each holds a shared lock on it, and the last one to leave stops the engine.
"""

import contextlib
import hashlib
import json
import logging
import os
import select
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from octo import process
from octo.buildengine.disk import EngineDisk
from octo.buildengine.lock import Share
from octo.buildengine.spec import Box, Shape, box, config
from octo.engine import Engine
from octo.errors import OctoError, Unavailable, Usage
from octo.images.layers import Store
from octo.sandbox.cgroups import Cgroups
from octo.specs import GB, Limits

log = logging.getLogger(__name__)

GROUP = "engine"
OWN = Limits(1 * GB, float(os.cpu_count() or 1), 8192, 0)  # of dockerd itself, which unpacks what comes from anybody
START, STOP = 20.0, 10.0  # seconds
CHECKOUT = Path(__file__).resolve().parents[2]
SOCKET_LONGEST = 107  # bytes of a Unix socket's path


class Network(Protocol):
    """What octo/net/buildnet.py gives."""

    def namespace(self, name: str) -> Path: ...

    def remove_namespace(self, name: str) -> None: ...

    def nameservers(self) -> Sequence[str]: ...


class BuildEngine:
    """Safe for threads. idle: seconds without a build after which it is stopped. disk: bytes. dockerd: "" in PATH."""

    def __init__(
        self,
        folder: Path,
        *,
        instance: str,
        network: Network,
        disk: int,
        idle: float,
        syscalls: Path,
        dockerd: str = "",
    ) -> None:
        self.folder = folder
        self.cgroups = Cgroups(f"{instance}-engine")
        self.disk = EngineDisk(folder / "disk.img", folder / "data", disk)
        self._name = f"{instance}-engine"
        self._network, self._idle, self._syscalls, self._dockerd = network, idle, syscalls, dockerd
        if len(str(folder / "docker.sock")) > SOCKET_LONGEST:
            raise Usage(f'cannot use "{folder}" for the build engine: its path is too long for a Unix socket')
        self.engine = Engine(folder / "docker.sock")
        self._lock = threading.RLock()
        self._users = 0
        self._timer: threading.Timer | None = None
        self._store: tuple[Path | None, Store | None] = None, None
        self._warming: set[threading.Thread] = set()
        self._share = Share(folder)

    @contextlib.contextmanager
    def use(self) -> Iterator[Engine]:
        """Have it for the body of a `with`. Raises Unavailable."""
        with self._lock:
            self._wake()
            self._users += 1
        try:
            yield self.engine
        finally:
            with self._lock:
                self._users -= 1
                self._doze()

    def prewarm(self, then: Callable[[], object] = lambda: None) -> threading.Thread:
        """Start it behind the caller's back: a build is on its way. then: what else is to be ready."""
        made = threading.Thread(target=self._warm, args=[then], name="build engine", daemon=True)
        self._warming.add(made)
        made.start()
        return made

    def adopt(self) -> bool:
        """Whether it runs; from now on it is stopped when it is not needed. For what a killed octod left running."""
        with self._lock:
            if self._alive():
                self._wake()
                self._doze()
                return True
            return False

    def close(self) -> None:
        """Let go of it, and stop it when nobody else holds it."""
        for each in list(self._warming):
            each.join()
        with self._lock:
            self._let_go()

    def clear(self) -> None:
        """Remove all that is outside its folder. What other octods use stays."""
        self.close()
        self.cgroups.remove()

    def root(self) -> Path:
        """Its "/", as this process reaches it. Raises Unavailable."""
        pid = self._pid()
        if pid is None:
            raise Unavailable("cannot reach the build engine: it has ended", hint="Push again.")
        return Path(f"/proc/{pid}/root")

    def store(self) -> Store | None:
        """Its layers; asked once for each time that it is started."""
        root = self.root()
        if self._store[0] != root:
            self._store = root, Store.of(self.engine, root)
        return self._store[1]

    def free(self) -> int:
        """Bytes left on its disk."""
        return self.room()[0]

    def room(self) -> tuple[int, int]:
        """Bytes and files that its disk still takes."""
        found = os.statvfs(self.root() / str(self.disk.mounted).lstrip("/"))
        return found.f_bavail * found.f_frsize, found.f_favail

    # --- who holds it ------------------------------------------------------------------------------------

    def _warm(self, then: Callable[[], object]) -> None:
        try:
            with self.use():
                then()
        except OctoError as error:
            log.warning("%s", error.message)
        finally:
            self._warming.discard(threading.current_thread())

    def _wake(self) -> None:
        self._cancel()
        try:
            with self._share.alone():
                self._share.take()
                if not self._alive():
                    self._start()
        except OSError as error:
            raise Unavailable(f"cannot start the build engine: {error}", hint="See: octo doctor") from None

    def _doze(self) -> None:
        if not self._users and self._share.held:
            self._cancel()
            self._timer = threading.Timer(self._idle, self._expire)
            self._timer.daemon = True
            self._timer.start()

    def _expire(self) -> None:
        with self._lock:
            if not self._users:
                self._let_go()

    def _let_go(self) -> None:
        self._cancel()
        with self._share.alone():
            if self._share.leave():
                self._stop()

    def _cancel(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    # --- the process -----------------------------------------------------------------------------------------

    @property
    def _note(self) -> Path:
        return self.folder / "engine.json"

    def _noted(self) -> Box | None:
        try:
            return Box(**json.loads(self._note.read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def _pid(self) -> int | None:
        """Of dockerd, by what it was started with: a number alone may be somebody else's by now."""
        noted = self._noted()
        if noted and noted.pid:
            with contextlib.suppress(OSError):
                words = Path(f"/proc/{noted.pid}/cmdline").read_bytes().split(b"\0")
                if os.fsencode(self.folder / "daemon.json") in words:
                    return noted.pid
        return None

    def _alive(self) -> bool:
        pid, noted = self._pid(), self._noted()
        if pid is None or noted is None:
            return False
        try:
            self.engine.get("version")
            # A network that was removed and made again is another one.
            return os.stat(f"/proc/{pid}/ns/net").st_ino == os.stat(noted.network).st_ino
        except (OctoError, OSError):
            return False

    def _start(self) -> None:
        began = time.monotonic()
        if self._note.exists():
            self._stop()
        self.disk.prepare()
        dockerd = self._dockerd or shutil.which("dockerd", path=process.PATH)
        if not dockerd:
            raise Unavailable("cannot start the build engine: dockerd is not installed", hint="Run ./setup again.")
        shape = Shape(self.folder, self.disk, dockerd, self._uids(), self._network.nameservers())
        (self.folder / "daemon.json").write_text(json.dumps(config(shape, self._syscalls, self.cgroups.name)))
        group = self.cgroups.make(GROUP, OWN)
        folders = [str(h / group.name[1:]) for h in group.hierarchies if (h / group.name[1:]).is_dir()]
        made = box(shape, network=str(self._network.namespace(self._name)), group=group.name, folders=folders)
        self._note.write_text(json.dumps(made.as_dict()))
        self._run(made)
        self._wait()
        log.info("started the build engine in %.1f s", time.monotonic() - began)

    def _run(self, made: Box) -> None:
        argv = [sys.executable, "-m", "octo.buildengine.box", str(self._note)]
        for last in (False, True):
            done = process.run(argv, env={"PYTHONPATH": str(CHECKOUT), "PYTHONDONTWRITEBYTECODE": "1"})
            if not done.code:
                return
            if last or "mount" not in done.text:
                raise Unavailable(f"cannot start the build engine: {done.text}", hint="See: octo doctor")
            self.disk.mend()

    def _wait(self) -> None:
        until = time.monotonic() + START
        while time.monotonic() < until and (pid := self._pid()) is not None:
            with contextlib.suppress(OctoError):
                self.engine.get("version")
                return
            _ended(pid, 0.02)
        lines = (self.folder / "dockerd.log").read_text(errors="replace").strip().splitlines()
        self._stop()
        raise Unavailable(
            f"cannot start the build engine: {lines[-1] if lines else 'it does not answer'}",
            hint=f"Look into {self.folder}/dockerd.log.",
        )

    def _stop(self) -> None:
        """End it, or what is left of it. Its disk is not mounted any more when this returns."""
        pid = self._pid()
        if pid is not None:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGTERM)
                _ended(pid, STOP)
        noted, first = self._noted(), self._uids()
        self.disk.end_holders(first)
        if noted:
            parent, _, id = noted.group.strip("/").partition("/")
            Cgroups(parent).group(id).remove()
            with contextlib.suppress(OctoError):
                self._network.remove_namespace(Path(noted.network).name)
        for name in ("docker.sock", "engine.json", "daemon.json"):
            (self.folder / name).unlink(missing_ok=True)

    def _uids(self) -> int:
        """The first of 65,536 users of its own: above those of useradd (SUB_UID_MAX) and of systemd's containers."""
        slot = int.from_bytes(hashlib.sha256(os.fsencode(self.folder.resolve())).digest()[:4]) % 3500
        return 0x70000000 + 65536 * (1 + slot)


def _ended(pid: int, seconds: float) -> bool:
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        return True
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(seconds * 1000))
    finally:
        os.close(descriptor)
