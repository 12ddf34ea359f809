"""In-memory stand-ins, one per port; each passes its port's contract test. Docker's and nginx's are in files beside."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from octo.disk import Room, Stored, Taken
from octo.errors import Conflict, Locked, NotFound
from octo.model import Service
from octo.ports import Ended, Grant, Listed, SandboxSpec, Streams, Value, Write
from octo.signing import Signer, blob_name
from octo.specs import GB


class FakeStore:
    def __init__(self) -> None:
        self.rows: dict[str, Value] = {}
        self._deleted: dict[str, int] = {}
        self._version = 0
        self._changed = threading.Condition(threading.RLock())
        self._holders: dict[str, str] = {}

    def get(self, key: str) -> Value | None:
        return self.rows.get(key)

    def put(self, key: str, data: bytes, *, expect: int | None = None) -> int:
        self.put_many([Write(key, data, expect)])
        return self._version

    def put_many(self, writes: Sequence[Write]) -> None:
        with self._changed:
            for write in writes:
                row = self.rows.get(write.key)
                if write.expect is not None and write.expect != (row.version if row else 0):
                    raise Conflict(f'cannot write "{write.key}": it has changed meanwhile')
            self._version += 1
            for write in writes:
                if write.data is None:
                    self.rows.pop(write.key, None)
                    self._deleted[write.key] = self._version
                else:
                    self.rows[write.key] = Value(write.data, self._version)
            self._changed.notify_all()

    def delete(self, key: str) -> None:
        self.put_many([Write(key, None)])

    def list(self, prefix: str) -> Sequence[tuple[str, Value]]:
        return sorted(((k, v) for k, v in self.rows.items() if k.startswith(prefix)), key=lambda row: row[0])

    def watch(self, prefix: str, since: int, timeout: float) -> int:
        with self._changed:
            self._changed.wait_for(lambda: self._newest(prefix) > since, timeout)
            return max(self._newest(prefix), since)

    @contextmanager
    def lock(
        self, key: str, *, holder: str, wait: float = 0, waiting: Callable[[str], None] | None = None
    ) -> Iterator[None]:
        until = time.monotonic() + wait
        with self._changed:
            if key in self._holders and wait > 0 and waiting:
                waiting(self._holders[key])
            if not self._changed.wait_for(lambda: key not in self._holders, max(0, until - time.monotonic())):
                raise Locked("cannot take the lock", holder=self._holders[key])
            self._holders[key] = holder
        try:
            yield
        finally:
            with self._changed:
                del self._holders[key]
                self._changed.notify_all()

    def holder(self, key: str) -> str | None:
        return self._holders.get(key)

    def about(self) -> str:
        return f"{len(self.rows)} keys in memory"

    def leave(self) -> None:
        pass

    def _newest(self, prefix: str) -> int:
        live = [v.version for k, v in self.rows.items() if k.startswith(prefix)]
        return max([*live, *(v for k, v in self._deleted.items() if k.startswith(prefix))], default=0)


class FakeRegistry:
    def __init__(self) -> None:
        self.entries: dict[str, Service] = {}
        self.ill: set[str] = set()
        self._changes = FakeStore()

    def register(self, service: Service) -> None:
        self.entries[service.id] = service
        self._changes.put("all", b"")

    def deregister(self, id: str) -> None:
        self.entries.pop(id, None)
        self._changes.put("all", b"")

    def services(self, name: str | None = None) -> Sequence[Service]:
        return [s for _, s in sorted(self.entries.items()) if name is None or s.name == name]

    def catalog(self) -> Sequence[Listed]:
        return [Listed("here", s.id, s.name, s.address, s.port, s.tags) for s in self.services()]

    def failing(self) -> Sequence[str]:
        return sorted(self.ill & set(self.entries))

    def watch(self, since: int, timeout: float) -> int:
        return self._changes.watch("all", since, timeout)


class FakeBlobs:
    def __init__(self, signer: Signer | None = None) -> None:
        self.files: dict[str, bytes] = {}
        self._signer = signer or Signer()

    def put(self, name: str, chunks: Iterable[bytes]) -> int:
        name, data = blob_name(name), b"".join(chunks)
        self.files[name] = data
        return len(data)

    def get(self, name: str) -> Iterable[bytes]:
        if name not in self.files:
            raise NotFound(f'cannot find "{name}"')
        return iter([self.files[name]])

    def delete(self, name: str) -> None:
        self.files.pop(name, None)

    def list(self, prefix: str) -> Sequence[str]:
        return sorted(n for n in self.files if n.startswith(prefix))

    def size(self, name: str) -> int:
        return sum(map(len, self.get(name)))

    def sign(self, method: str, name: str, *, seconds: float, most: int = 0) -> str:
        return self._signer.sign(method, name, seconds=seconds, most=most)

    def check(self, method: str, target: str) -> Grant:
        return self._signer.check(method, target)

    def renew(self, target: str) -> None:
        self._signer.renew(target)


class FakeSandbox:
    """Runs nothing; `act` is what the sandboxed program would do."""

    def __init__(self, act: Callable[[SandboxSpec, Streams], int] = lambda spec, streams: 0) -> None:
        self.act = act
        self.running: set[str] = set()
        self.left: set[str] = set()
        self.forgotten: list[str] = []

    def run(self, spec: SandboxSpec, streams: Streams) -> Ended:
        self.running.add(spec.id)
        try:
            return Ended(self.act(spec, streams))
        finally:
            self.running.discard(spec.id)

    def stop(self, id: str) -> None:
        self.running.discard(id)

    def sweep(self, keep: Iterable[str]) -> Sequence[str]:
        gone = sorted(self.left - set(keep))
        self.left -= set(gone)
        return gone

    def owns(self, id: str, pid: int) -> bool:
        return id in self.running

    def forget(self, app: str) -> None:
        self.forgotten.append(app)


class FakeDisks:
    def __init__(self) -> None:
        self.free = [Room("/var/lib/octo", 100 * GB, 50 * GB)]
        self.stored: list[Stored] = []
        self.repositories: dict[str, Taken] = {}
        self.engine = Taken(0)

    def rooms(self) -> Sequence[Room]:
        return self.free

    def tags(self) -> Sequence[str]:
        return [tag for image in self.stored for tag in image.tags]

    def images(self) -> Sequence[Stored]:
        return self.stored

    def repository(self, app: str) -> Taken:
        return self.repositories.get(app, Taken(0))

    def build_engine(self) -> tuple[Taken, int]:
        return self.engine, 20 * GB

    def others(self) -> Taken:
        return Taken(1000)


class FakeClock:
    """Time goes on only by sleeping."""

    def __init__(self) -> None:
        self.time = 1_800_000_000.0

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds


class FakeConsole:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def step(self, text: str) -> None:
        self.lines.append(f"-----> {text}")

    def detail(self, text: str) -> None:
        self.lines.append(f"       {text}")

    def error(self, text: str) -> None:
        self.lines.append(f" !     {text}")

    def result(self, text: str) -> None:
        self.lines.append(f"=====> {text}")

    def raw(self, data: bytes) -> None:
        self.lines.append(data.decode("utf-8", "replace"))

    def formatted(self, data: bytes) -> None:
        self.raw(data)
