"""A source with no Dockerfile to a slug: the buildpacks, run in a sandbox of their own.

The sandbox knows its sources, the app's config, and three signed URLs: two for the app's cache, one for the slug. What
it says is text from outside like any other. The protocol is that of octo/guest/buildpack_runner.py.
"""

import contextlib
import json
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from octo import codec, procfile
from octo.errors import BuildFailed, OctoError, Usage
from octo.limits import STRUCK, how_to_raise, size_words
from octo.model import CONTROL_KEYS, config_key, config_value
from octo.pipeline.attend import LOOK, Job, Session, attend
from octo.ports import Console, Ended, Limits, Sandbox, Strike

RESULT_LIMIT = 256 * 1024  # bytes
AHEAD = 16  # chunks that may wait for their reader


@dataclass(frozen=True)
class Slug:
    bytes: int = 0
    unpacked: int = 0
    files: int = 0


@dataclass(frozen=True)
class Compiled:
    """What the runner says of what it built."""

    buildpack: str = ""
    processes: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, str] = field(default_factory=dict)  # defaults of bin/release
    slug: Slug = Slug()
    took: Mapping[str, float] = field(default_factory=dict)  # seconds per step


def compiled(
    sandbox: Sandbox,
    job: Job,
    sources: Iterable[bytes],
    session: Session,
    console: Console,
    cancelled: Callable[[], bool],
) -> Compiled:
    """Run the buildpacks on a tar of sources. Raises BuildFailed, for a limit too, and Cancelled."""
    kept = bytearray()

    def keep(data: bytes) -> None:
        if len(kept) <= RESULT_LIMIT:
            kept.extend(data)

    ended = attend(sandbox, job, sources, session, keep, console.formatted, cancelled)
    if ended.code or ended.strike is Strike.OUTPUT:
        raise refusal(job, ended)
    return _result(bytes(kept))


@contextmanager
def streamed(
    sandbox: Sandbox,
    job: Job,
    sources: Iterable[bytes],
    session: Session,
    console: Console,
    cancelled: Callable[[], bool],
) -> Iterator[Iterable[bytes]]:
    """The runner's standard output as it comes: the whole tree as a tar, in its mode "source".

    Reading it raises BuildFailed when the sandbox failed. The sandbox ends with the `with` block at the latest.
    """
    pieces = _Pieces()

    def work() -> None:
        try:
            ended = attend(
                sandbox,
                job,
                sources,
                session,
                pieces.put,
                console.formatted,
                lambda: pieces.left.is_set() or cancelled(),
            )
            pieces.put(refusal(job, ended) if ended.code or ended.strike else None)
        except BaseException as error:  # noqa: BLE001 - who reads raises it
            pieces.put(error)

    worker = threading.Thread(target=work, name="sources")
    worker.start()
    try:
        yield pieces.chunks()
    finally:
        pieces.left.set()
        worker.join()


class _Pieces:
    """A few chunks on their way from a thread to a reader who may leave early."""

    def __init__(self) -> None:
        self.left = threading.Event()
        self._queue: queue.Queue[bytes | BaseException | None] = queue.Queue(AHEAD)

    def put(self, piece: bytes | BaseException | None) -> None:
        while not self.left.is_set():
            with contextlib.suppress(queue.Full):
                self._queue.put(piece, timeout=LOOK)
                return

    def chunks(self) -> Iterator[bytes]:
        while (piece := self._queue.get()) is not None:
            if isinstance(piece, BaseException):
                raise piece
            yield piece


def _result(text: bytes) -> Compiled:
    try:
        found: Compiled = codec.build(Compiled, json.loads(text))
        if not _sound(found):
            raise TypeError
        "".join((*found.processes, *found.processes.values(), found.buildpack)).encode()  # JSON can name half a letter
        config = {config_key(k): config_value(v) for k, v in found.config.items()}
    except (ValueError, TypeError, AttributeError, RecursionError, KeyError, Usage):
        raise BuildFailed("cannot build: the buildpack ended without saying what it built") from None
    for name, command in found.processes.items():
        procfile.parse(f"{name}: {command}")
    return Compiled(
        found.buildpack[:80],
        found.processes,
        {k: v for k, v in config.items() if k not in CONTROL_KEYS},
        found.slug,
        found.took,
    )


def _sound(found: Compiled) -> bool:
    """Whether each value is of its kind: the codec takes what JSON gives."""
    texts = [found.buildpack, *found.processes.values(), *found.config.values()]
    numbers = (found.slug.bytes, found.slug.unpacked, found.slug.files)
    return all(isinstance(t, str) for t in texts) and all(type(n) is int and n >= 0 for n in numbers)


def refusal(job: Job, ended: Ended) -> OctoError:
    """Why it was not built, in plain words, and for a limit how to raise it."""
    if ended.strike:
        return BuildFailed(
            f"cannot build: {_said(ended.strike, job.limits)}", hint=how_to_raise(ended.strike, job.name)
        )
    if ended.code == 1:
        return BuildFailed("push rejected: it was not built, for the reason above")
    return BuildFailed(f"push rejected: the build ended with exit code {ended.code}")


def _said(strike: Strike, limits: Limits) -> str:
    match strike:
        case Strike.SECONDS:
            return f"it was ended after {limits.seconds:g} s, the limit"
        case Strike.DISK:
            return f"its disk is full (limit {size_words(limits.disk)}, cache and downloads included)"
    return f"it {STRUCK[strike](limits)}"
