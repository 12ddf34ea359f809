"""The sandbox of a build, from octod's side: it is fed, its two outputs are read, and somebody watches over it."""

import json
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain

from octo.errors import Cancelled
from octo.ports import Ended, Limits, Sandbox, SandboxSpec, Streams, Strike

RUNNER = "/octo/buildpack_runner.py"  # octo/guest, mounted into the sandbox
CA = "/etc/ssl/certs/ca-certificates.crt"
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/app",
    "LANG": "C.UTF-8",
    **dict.fromkeys(("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"), CA),
}
LOOK = 0.25  # seconds between two looks at `cancelled`
CHUNK = 64 * 1024  # bytes


@dataclass(frozen=True)
class Session:
    """What a sandbox is given: its values, and the folder with its socket."""

    env: Mapping[str, str]
    socket_dir: str
    close: Callable[[], None]


@dataclass(frozen=True)
class Job:
    """One run of the runner."""

    id: str  # of the sandbox
    app: str  # App.id
    name: str  # AppName, for the messages
    header: Mapping[str, object]  # the runner's first line
    limits: Limits
    stack: str  # StackVersion.id


def attend(
    sandbox: Sandbox,
    job: Job,
    sources: Iterable[bytes],
    session: Session,
    result: Callable[[bytes], None],
    output: Callable[[bytes], None],
    cancelled: Callable[[], bool],
) -> Ended:
    """Run the sandbox, feed it, hand its two outputs on as they come, and say how it ended. Raises Cancelled."""
    spec = SandboxSpec(
        job.id, job.app, (RUNNER,), {**ENVIRONMENT, **session.env}, session.socket_dir, job.limits, True, job.stack
    )
    attendance = _Attendance(sandbox, spec, cancelled)
    head = json.dumps(dict(job.header)).encode() + b"\n"
    with _pipes() as (given, said, told):
        parts = [
            threading.Thread(target=attendance.run, args=[given, said, told]),
            threading.Thread(target=attendance.feed, args=[given.writer, head, sources]),
            threading.Thread(target=attendance.read, args=[said.reader, result]),
            threading.Thread(target=attendance.look, daemon=True),
        ]
        for part in parts:
            part.start()
        attendance.read(told.reader, output, most=job.limits.output)
        for part in parts:
            part.join()
    return attendance.verdict()


class _Attendance:
    """The threads around one sandbox, and the first thing that went wrong."""

    def __init__(self, sandbox: Sandbox, spec: SandboxSpec, cancelled: Callable[[], bool]) -> None:
        self._sandbox, self._spec, self._cancelled = sandbox, spec, cancelled
        self._ended: Ended | None = None
        self._error: BaseException | None = None
        self._flooded = False
        self._over = threading.Event()

    def run(self, given: "_Pipe", said: "_Pipe", told: "_Pipe") -> None:
        try:
            self._ended = self._sandbox.run(self._spec, Streams(given.reader, said.writer, told.writer))
        except BaseException as error:  # noqa: BLE001 - the thread that waits raises it
            self._stop(error)
        finally:
            self._over.set()
            for pipe, end in ((given, "reader"), (said, "writer"), (told, "writer")):
                pipe.close(end)

    def feed(self, target: int, head: bytes, sources: Iterable[bytes]) -> None:
        try:
            with open(target, "wb", buffering=0) as pipe:
                for chunk in chain([head], sources):
                    view = memoryview(chunk)
                    while view:
                        view = view[pipe.write(view) or 0 :]
        except BrokenPipeError:
            pass  # it wants no more: how it ends says why
        except BaseException as error:  # noqa: BLE001 - as above
            self._stop(error)

    def read(self, source: int, hand_on: Callable[[bytes], None], *, most: int | None = None) -> None:
        """Hand on what comes; what comes after `most` bytes ends the build and is dropped."""
        left = most
        while data := os.read(source, CHUNK):
            try:
                if left is None or left > 0:
                    hand_on(data if left is None else data[:left])
            except BaseException as error:  # noqa: BLE001 - as above
                self._stop(error)
            if left is not None:
                left -= len(data)
                if left < 0 and not self._flooded:
                    self._flooded = True
                    self._sandbox.stop(self._spec.id)

    def look(self) -> None:
        while not self._over.wait(LOOK):
            if self._cancelled():
                self._stop(Cancelled("cannot finish the build: nobody waits for it any more"))

    def verdict(self) -> Ended:
        if self._error:
            raise self._error
        if self._flooded:
            return Ended(137, Strike.OUTPUT)
        if self._ended is None:
            raise AssertionError("BUG: a sandbox ended without a word")
        return self._ended

    def _stop(self, error: BaseException) -> None:
        self._error = self._error or error
        self._sandbox.stop(self._spec.id)


class _Pipe:
    """Both ends, each closed once."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        self._open = {"reader": self.reader, "writer": self.writer}

    def close(self, end: str) -> None:
        number = self._open.pop(end, None)
        if number is not None:
            os.close(number)

    def lend(self, end: str) -> int:
        """Hand the end over to somebody who closes it."""
        return self._open.pop(end)


@contextmanager
def _pipes() -> Iterator[tuple[_Pipe, _Pipe, _Pipe]]:
    pipes = (_Pipe(), _Pipe(), _Pipe())
    pipes[0].lend("writer")  # `feed` closes it: that is how the sandbox knows the end of the sources
    try:
        yield pipes
    finally:
        for pipe in pipes:
            pipe.close("reader")
            pipe.close("writer")
