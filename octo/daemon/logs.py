"""The log lines of an app's containers, merged: "TIME app[web.1]: text"."""

import contextlib
import heapq
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from octo.ports import Running, Runtime

ROOM = 1000  # lines that wait for a slow reader; then the containers' streams wait too


@dataclass(frozen=True)
class LogSession:
    app: str  # App.id
    lines: int
    follow: bool
    process: str  # "web", "web.1" or "" for all


def merged(runtime: Runtime, session: LogSession) -> Iterable[bytes]:
    """The last `lines` lines of all containers by time; when following, what comes, until all of them have ended."""
    chosen = [r for r in runtime.list(session.app) if _matches(r, session.process)]
    if session.follow:
        return Followed(runtime, chosen, session.lines)
    streams = [_named(r, runtime.logs(r.name, tail=session.lines, follow=False)) for r in chosen]
    everything = list(heapq.merge(*streams))
    return everything[-session.lines :] if session.lines else []


def _matches(running: Running, process: str) -> bool:
    return not process or process in (running.process, f"{running.process}.{running.index}")


def _named(running: Running, lines: Iterable[bytes]) -> Iterator[bytes]:
    for line in lines:
        time, _, text = line.partition(b" ")
        yield b"%s app[%s.%d]: %s\n" % (time, running.process.encode(), running.index, text.rstrip(b"\n"))


class Followed:
    """Lines as they come, pumped by one thread per container. `close` ends them from any thread, silent ones too."""

    def __init__(self, runtime: Runtime, chosen: Sequence[Running], tail: int) -> None:
        self._changed = threading.Condition()
        self._arrived: deque[bytes] = deque()
        self._left = len(chosen)
        self._closed = False
        self._streams = [runtime.logs(r.name, tail=tail, follow=True) for r in chosen]
        for running, lines in zip(chosen, self._streams, strict=True):
            threading.Thread(target=self._pump, args=[running, lines], daemon=True, name="logs").start()

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        with self._changed:
            self._changed.wait_for(lambda: self._arrived or self._closed or not self._left)
            if not self._arrived or self._closed:
                raise StopIteration
            self._changed.notify_all()
            return self._arrived.popleft()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for stream in self._streams:
            with contextlib.suppress(AttributeError, ValueError):
                stream.close()  # type: ignore[attr-defined]

    def _pump(self, running: Running, lines: Iterable[bytes]) -> None:
        try:
            for line in _named(running, lines):
                with self._changed:
                    self._changed.wait_for(lambda: self._closed or len(self._arrived) < ROOM)
                    if self._closed:
                        break
                    self._arrived.append(line)
                    self._changed.notify_all()
        finally:
            with self._changed:
                self._left -= 1
                self._changed.notify_all()
