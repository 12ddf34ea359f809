"""A build under watch: its wall clock, its output and whether somebody still waits for it."""

import contextlib
import io
import os
import re
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Self

from octo import process
from octo.buildlog import MB, Context, failed
from octo.errors import Cancelled, OctoError
from octo.ports import BuildSpec

POLL = 0.25  # seconds between two looks at the clock and at `cancelled`
# Words of moby (daemon/images, layer store): all that tells this failure from others.
LOST = re.compile(r"unknown parent image ID|failed to set parent|No such image: sha256:|layer does not exist")
CHUNK = 256 * 1024  # bytes
FAREWELL = 20.0  # seconds that the engine gets to clean up by itself
TRUNCATED = b"\n... output truncated\n"
Output = Callable[[bytes], None]


class Watch:
    """Ends a build that goes over a limit, or that nobody waits for any more; the first reason is the verdict."""

    def __init__(self, spec: BuildSpec, output: Output, cancelled: Callable[[], bool]) -> None:
        self.verdict: Exception | None = None
        self._spec, self._output, self._cancelled = spec, output, cancelled
        self._room = spec.output_limit
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._end: Callable[[], None] = lambda: None

    @contextlib.contextmanager
    def over(self, end: Callable[[], None], kill: Callable[[], None]) -> Iterator[None]:
        """end: asks the build to stop, with what it says last still to be read. kill: leaves it no choice."""
        self._end = end
        looker = thread(self._look, kill)
        try:
            yield
        finally:
            self._done.set()
            kill()
            looker.join()

    def stop(self, why: Exception) -> None:
        with self._lock:
            if self.verdict is not None:
                return
            self.verdict = why
        self._end()

    def show(self, data: bytes) -> None:
        """Hand output on, up to the limit; nothing after the verdict."""
        if self.verdict is not None or not data:
            return
        try:
            self._output(data[: self._room])
            self._room -= len(data)
            if self._room < 0:
                self._output(TRUNCATED)
                self.stop(failed(f"it printed more than {self._spec.output_limit / MB:g} MB, the limit"))
        except OSError as error:
            self.stop(Cancelled(f"cannot show the output of the build: {error.strerror or error}"))
        except OctoError as error:
            self.stop(error)

    def _look(self, kill: Callable[[], None]) -> None:
        deadline = time.monotonic() + self._spec.limits.seconds
        while self.verdict is None:
            try:
                self._judge(deadline)
            except Exception as error:  # noqa: BLE001 - a bug of `cancelled` must not leave the build unwatched
                self.stop(error)
            if self.verdict is None and self._done.wait(POLL):
                return
        if not self._done.wait(FAREWELL):
            kill()

    def _judge(self, deadline: float) -> None:
        if self._cancelled():
            self.stop(Cancelled("cannot finish the build: nobody waits for it any more"))
        elif time.monotonic() > deadline:
            self.stop(failed(f"ended after {self._spec.limits.seconds:g} s, the limit"))


def feed(send: Callable[[Iterable[bytes]], None], context: Context, watch: Watch) -> None:
    """Send the context. Its own errors end the build; those of the way are told by the answer."""
    try:
        send(context)
    except OSError:
        pass
    except Exception as error:  # noqa: BLE001 - also a bug of the context's maker: the thread that builds raises it
        watch.stop(error)


def thread(target: Callable[..., None], *arguments: object) -> threading.Thread:
    made = threading.Thread(target=target, args=arguments, name="build", daemon=True)
    made.start()
    return made


class LostLayer(OctoError):
    """The engine removed an image that the build had counted on."""


class Replay:
    """A context that can be read again: what has passed is kept in an unnamed file."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self._rest = iter(context)
        self._passed = tempfile.TemporaryFile(prefix="octo-context-")  # noqa: SIM115 - closed by __exit__

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._passed.close()

    def __iter__(self) -> Iterator[bytes]:
        self._passed.seek(0)
        while chunk := self._passed.read(CHUNK):
            yield chunk
        for chunk in self._rest:
            self._passed.write(chunk)
            yield chunk


def fill(pipe: io.FileIO, context: Context, watch: Watch, program: process.Program) -> None:
    """Write the context to the command. Its stdin closes late after an error: half a context must not build."""
    with pipe:
        feed(lambda chunks: _write(pipe, chunks), context, watch)
        if watch.verdict:
            program.wait()


def _write(pipe: io.FileIO, chunks: Iterable[bytes]) -> None:
    for chunk in chunks:
        view = memoryview(chunk)
        while view:
            view = view[pipe.write(view) :]


def kill(program: process.Program) -> None:
    """At once: on SIGTERM the command waits for its step to end; when it is gone the engine kills the step."""
    if program.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(program.pid, signal.SIGKILL)


def both_ends() -> tuple[io.FileIO, io.FileIO]:
    reader, writer = os.pipe()
    return io.FileIO(reader, "rb"), io.FileIO(writer, "wb")
