"""A build under watch: its wall clock, its output, its disk, and whether somebody still waits for it."""

import contextlib
import io
import math
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator

from octo import process
from octo.errors import Cancelled, OctoError
from octo.images.log import struck
from octo.ports import BuildSpec, Strike

POLL = 0.25  # seconds between two looks at the clock and at `cancelled`
# Words of moby (daemon/images, layer store): all that tells this failure from others.
LOST = re.compile(r"unknown parent image ID|failed to set parent|No such image: sha256:|layer does not exist")
FAREWELL = 20.0  # seconds that the engine gets to clean up by itself
TRUNCATED = b"\n... output truncated\n"
Output = Callable[[bytes], None]


class Watch:
    """Ends a build that goes over a limit, or that nobody waits for any more; the first reason is the verdict.

    look: is asked again and again which limit struck, while something runs `over` it.
    """

    def __init__(self, spec: BuildSpec, output: Output, cancelled: Callable[[], bool]) -> None:
        self.verdict: Exception | None = None
        self.look: Callable[[], Strike | None] = lambda: None
        self._spec, self._output, self._cancelled = spec, output, cancelled
        self._deadline = math.inf
        self._room = spec.limits.output
        self._lock = threading.Lock()
        self._end: Callable[[], None] = lambda: None

    def begin(self) -> None:
        """The clock runs from the first time on: what comes before is not the build's fault."""
        self._deadline = min(self._deadline, time.monotonic() + self._spec.limits.seconds)

    @contextlib.contextmanager
    def over(self, end: Callable[[], None], kill: Callable[[], None]) -> Iterator[None]:
        """end: asks the build to stop, with what it says last still to be read. kill: leaves it no choice.

        One thing after the other may run under it. Raises the verdict when there is one already.
        """
        self.check()
        self._end, done = end, threading.Event()
        looker = thread(self._keep_looking, kill, done)
        try:
            yield
        finally:
            done.set()
            kill()
            looker.join()
            self._end = lambda: None

    def check(self) -> None:
        """Look now; raise the verdict."""
        if self.verdict is None:
            self._judge()
        if self.verdict is not None:
            raise self.verdict

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
                self.stop(struck(Strike.OUTPUT, self._spec))
        except OSError as error:
            self.stop(Cancelled(f"cannot show the output of the build: {error.strerror or error}"))
        except OctoError as error:
            self.stop(error)

    def _keep_looking(self, kill: Callable[[], None], done: threading.Event) -> None:
        while self.verdict is None:
            self._judge()
            if self.verdict is None and done.wait(POLL):
                return
        if not done.wait(FAREWELL):
            kill()

    def _judge(self) -> None:
        try:
            if self._cancelled():
                self.stop(Cancelled("cannot finish the build: nobody waits for it any more"))
            elif time.monotonic() > self._deadline:
                self.stop(struck(Strike.SECONDS, self._spec))
            elif strike := self.look():
                self.stop(struck(strike, self._spec))
        except Exception as error:  # noqa: BLE001 - a bug of `cancelled` must not leave the build unwatched
            self.stop(error)


def feed(send: Callable[[Iterable[bytes]], None], chunks: Iterable[bytes], watch: Watch) -> None:
    """Send the files. Their own errors end the build; those of the way are told by the answer."""
    try:
        send(chunks)
    except OSError:
        pass
    except Exception as error:  # noqa: BLE001 - a bug: the thread that builds raises it
        watch.stop(error)


def thread(target: Callable[..., None], *arguments: object) -> threading.Thread:
    made = threading.Thread(target=target, args=arguments, name="build", daemon=True)
    made.start()
    return made


def fill(pipe: io.FileIO, chunks: Iterable[bytes], watch: Watch, program: process.Program) -> None:
    """Write the files to the command. Its stdin closes late after an error: half of them must not build."""
    with pipe:
        feed(lambda pieces: _write(pipe, pieces), chunks, watch)
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
