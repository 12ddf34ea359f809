"""The log lines of an app's containers, merged: "TIME app[web.1]: text"."""

import contextlib
import heapq
import queue
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from octo.ports import Running, Runtime


@dataclass(frozen=True)
class LogSession:
    app: str  # App.id
    lines: int
    follow: bool
    process: str  # "web", "web.1" or "" for all


def merged(runtime: Runtime, session: LogSession) -> Iterator[bytes]:
    """The last `lines` lines of all containers by time, then, when following, what comes."""
    chosen = [r for r in runtime.list(session.app) if _matches(r, session.process)]
    if session.follow:
        yield from _followed(runtime, chosen, session.lines)
        return
    streams = [_named(r, runtime.logs(r.name, tail=session.lines, follow=False)) for r in chosen]
    everything = list(heapq.merge(*streams))
    yield from everything[-session.lines :] if session.lines else []


def _matches(running: Running, process: str) -> bool:
    return not process or process in (running.process, f"{running.process}.{running.index}")


def _named(running: Running, lines: Iterable[bytes]) -> Iterator[bytes]:
    for line in lines:
        time, _, text = line.partition(b" ")
        yield b"%s app[%s.%d]: %s\n" % (time, running.process.encode(), running.index, text.rstrip(b"\n"))


def _followed(runtime: Runtime, chosen: list[Running], tail: int) -> Iterator[bytes]:
    """One thread per container; ends when all have ended. Closing the generator closes the streams."""
    arrived: queue.Queue[bytes | None] = queue.Queue(1000)
    streams = [runtime.logs(r.name, tail=tail, follow=True) for r in chosen]

    def pump(running: Running, lines: Iterable[bytes]) -> None:
        try:
            for line in _named(running, lines):
                arrived.put(line)
        finally:
            arrived.put(None)

    for running, lines in zip(chosen, streams, strict=True):
        threading.Thread(target=pump, args=[running, lines], daemon=True, name="logs").start()
    left = len(chosen)
    try:
        while left:
            line = arrived.get()
            if line is None:
                left -= 1
            else:
                yield line
    finally:
        for stream in streams:
            with contextlib.suppress(AttributeError, ValueError):
                stream.close()  # type: ignore[attr-defined]
