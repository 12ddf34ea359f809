"""Logs on their way to a syslog elsewhere (rows L33, L34, T13): the apps' containers, nginx's access log, single files.

octod itself follows them: no container with the engine's socket in it, as logspout was. What is to be shipped is kept
in the store; where to comes from the settings, or from octohost's file as it is at that moment.
"""

import contextlib
import logging
import os
import platform
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from octo.catalog import Catalog
from octo.daemon.syslog import Sender, Target, message, target
from octo.errors import OctoError
from octo.model import port_number
from octo.octohost import settings_of
from octo.ports import Running, Runtime
from octo.settings import Settings, read_octohost

PERIOD = 2.0  # seconds between two looks for new containers
PAUSE = 0.5  # seconds between two looks at a file
CAUGHT_UP = 1000  # lines of a container that has come since the last look
PIECE = 64 * 1024

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Wanted:
    """What is shipped."""

    octologs: bool = False  # containers and nginx to the remote syslog
    logspout: bool = False  # containers to logspout's target
    files: Mapping[str, str] = field(default_factory=dict)  # to the remote syslog: path, and the name it goes by


class Forwarder:
    def __init__(self, settings: Settings, runtime: Runtime, catalog: Catalog) -> None:
        self._settings, self._runtime, self._catalog = settings, runtime, catalog
        self._lock = threading.Lock()
        self._wanted = Wanted()
        self._senders: dict[Target, Sender] = {}
        self._sources: dict[tuple[Target, str], _Source] = {}
        self._changed = threading.Event()

    def remote_syslog(self) -> Target:
        """Raises OctoError in octohost's words."""
        host, port = self._set("remote_syslog_destination"), self._set("remote_syslog_port")
        for name, value in (("REMOTE_SYSLOG_PORT", port), ("REMOTE_SYSLOG_DESTINATION", host)):
            if not value:
                raise OctoError(f"Need to define {name} in /etc/default/octohost")
        return Target(host, port_number(port))

    def logspout(self) -> Target:
        """Raises OctoError in octohost's words."""
        url = self._set("logspout_target")
        if not url:
            raise OctoError("No LOGSPOUT_TARGET in /etc/default/octohost - not starting.")
        return target(url)

    def _set(self, name: str) -> str:
        now = settings_of(read_octohost(self._settings.octohost_file))
        return str(getattr(self._settings, name)) or now.get(name, "")

    def wanted(self) -> Wanted:
        return self._wanted

    def change(self, wanted: Wanted) -> None:
        """From now on, and after a restart of octod."""
        with self._lock:
            self._catalog.save_forwarding(wanted)
            self._wanted = wanted
        self.look()

    def follow(self, wait: Callable[[float], bool]) -> None:
        """Ship until `wait` (seconds) says that it is over. A thread's whole life."""
        with contextlib.suppress(OctoError):
            self._wanted = self._catalog.forwarding(Wanted)
        late = False
        while not wait(PERIOD if late else 0):
            try:
                self.look(late=late)
            except OctoError as error:
                log.warning("cannot look for logs to ship: %s", error.message)
            late = True
        with self._lock:
            self._keep({})

    def look(self, *, late: bool = False) -> None:
        """Begin with what is new and end with what has gone. late: of a new container all is new."""
        with self._lock:
            if self._wanted == Wanted() and not self._sources:
                return
            self._keep(dict(self._chosen(late)))

    def _chosen(self, late: bool) -> "Iterator[tuple[tuple[Target, str], Begin]]":
        """Each source under its target and its own name; where a target is not set any more there is none."""
        tail = CAUGHT_UP if late else 0
        running = [r for r in self._runtime.list() if r.state == "running"]
        for on, ask in ((self._wanted.octologs, self.remote_syslog), (self._wanted.logspout, self.logspout)):
            with contextlib.suppress(OctoError):
                for r in running if on else ():
                    begin = partial(_Container, runtime=self._runtime, running=r, app=self._name(r), tail=tail)
                    yield (ask(), r.name), begin
        files = dict(self._wanted.files)
        if self._wanted.octologs:
            files[str(self._settings.home / "nginx/logs/access.log")] = "nginx"
        with contextlib.suppress(OctoError):
            for path, name in files.items():
                yield (self.remote_syslog(), path), partial(_File, path=Path(path), name=name)

    def _name(self, running: Running) -> str:
        app = self._catalog.by_id(running.app)
        return app.name if app else running.app

    def _keep(self, chosen: "Mapping[tuple[Target, str], Begin]") -> None:
        for key in [k for k, source in self._sources.items() if k not in chosen or source.ended]:
            self._sources.pop(key).close()
        for key, begin in chosen.items():
            if key in self._sources:
                continue
            if key[0] not in self._senders:
                self._senders[key[0]] = Sender(key[0], platform.node())
            self._sources[key] = begin(self._senders[key[0]])
        for to in self._senders.keys() - {to for to, _ in self._sources}:
            self._senders.pop(to).close()


class _Source:
    """Something with lines, and the thread that reads it."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self.ended = False
        threading.Thread(target=self._run, daemon=True, name="forwarding").start()

    def _run(self) -> None:
        try:
            self.read()
        except (OctoError, OSError, ValueError) as error:
            log.info("the end of a log that was shipped: %s", error)
        finally:
            self.ended = True

    def read(self) -> None:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError


class _Container(_Source):
    def __init__(self, sender: Sender, runtime: Runtime, running: Running, app: str, tail: int) -> None:
        self._app, self._process = app, f"{running.process}.{running.index}"
        self._lines = runtime.logs(running.name, tail=tail, follow=True)
        super().__init__(sender)

    def read(self) -> None:
        for line in self._lines:
            time, _, text = line.partition(b" ")
            self._sender.send(message(time, platform.node(), self._app, self._process, text))

    def close(self) -> None:
        with contextlib.suppress(AttributeError, ValueError):
            self._lines.close()  # type: ignore[attr-defined]


class _File(_Source):
    """From its end on; one that is renamed and made anew, as by logrotate, is followed to its new beginning."""

    def __init__(self, sender: Sender, path: Path, name: str) -> None:
        self._path, self._name = path, name
        self._over = threading.Event()
        self._rest = b""
        self._opened = _open(path)
        if self._opened is not None:
            os.lseek(self._opened, 0, os.SEEK_END)
        super().__init__(sender)

    def read(self) -> None:
        try:
            while not self._over.wait(PAUSE):
                self._more()
                if self._is_another():
                    self._more()
                    self._shut()
                    self._opened = _open(self._path)
        finally:
            self._shut()

    def _more(self) -> None:
        while self._opened is not None and (data := os.read(self._opened, PIECE)):
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                self._sender.send(message(b"", platform.node(), self._name, "-", line))
            self._rest = self._rest[-PIECE:]

    def _is_another(self) -> bool:
        """The path leads elsewhere now, or the file was cut short."""
        try:
            now = self._path.stat()
        except OSError:
            return False
        if self._opened is None:
            return True
        had = os.fstat(self._opened)
        short = now.st_size < os.lseek(self._opened, 0, os.SEEK_CUR)
        return (now.st_dev, now.st_ino) != (had.st_dev, had.st_ino) or short

    def _shut(self) -> None:
        if self._opened is not None:
            os.close(self._opened)
        self._opened, self._rest = None, b""

    def close(self) -> None:
        self._over.set()


def _open(path: Path) -> int | None:
    try:
        return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return None


def with_file(wanted: Wanted, path: str, name: str | None) -> Wanted:
    """name None takes it away."""
    files = {**wanted.files, path: name}
    return replace(wanted, files={p: n for p, n in files.items() if n is not None})


Begin = Callable[[Sender], _Source]
