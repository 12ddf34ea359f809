"""Run programs in the sandbox: with a time limit, their output as it comes, and nothing of them left afterwards."""

import contextlib
import ctypes
import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from typing import IO, NamedTuple, Protocol

CHUNK = 256 * 1024  # bytes
_PR_SET_CHILD_SUBREAPER = 36
_PATIENCE = 20.0  # seconds for killed processes to be gone


class Sink(Protocol):
    def feed(self, text: bytes) -> None: ...

    def end(self) -> None: ...


class Ended(NamedTuple):
    code: int  # of the program; 128 + N when signal N ended it
    late: bool = False  # its time was over

    def __str__(self) -> str:
        return f"was ended by signal {self.code - 128}" if self.code > 128 else f"ended with {self.code}"


def adopt() -> None:
    """Become the parent of all that its descendants orphan, so that `clear` finds every one."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def run(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: str,
    seconds: float,
    out: Sink,
    err: Sink | None = None,
) -> Ended:
    """Run to the end; what it started is killed then, or when its time or its output's room is over.

    out: gets both outputs, or only stdout when `err` is given. Raises OSError when it cannot be started.
    """
    child = subprocess.Popen(
        list(argv),
        env=dict(env),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE if err else subprocess.STDOUT,
        start_new_session=True,
    )
    late = threading.Event()
    timer = threading.Timer(max(seconds, 0), _expire, [late])
    timer.daemon = True
    timer.start()
    readers = [threading.Thread(target=_pump, args=(child.stdout, out))]
    if err:
        readers.append(threading.Thread(target=_pump, args=(child.stderr, err)))
    for reader in readers:
        reader.start()
    code = child.wait()
    timer.cancel()
    clear()
    for reader in readers:
        reader.join()
    return Ended(code if code >= 0 else 128 - code, late.is_set())


def write(target: int, text: bytes) -> None:
    """Write all of it to the descriptor."""
    while text:
        text = text[os.write(target, text) :]


def _expire(late: threading.Event) -> None:
    late.set()
    _strike()


def clear() -> None:
    """Kill every descendant, and wait until they are gone."""
    until = time.monotonic() + _PATIENCE
    while _strike():
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if time.monotonic() > until:
            raise TimeoutError("processes of the build cannot be ended")
        time.sleep(0.001)


def _strike() -> bool:
    """Send every descendant SIGKILL; whether there was one."""
    found = _descendants()
    for pid in found:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    return bool(found)


def _descendants() -> set[int]:
    parents: dict[int, int] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError, IndexError), open(f"/proc/{name}/stat", "rb") as file:
                parents[int(name)] = int(file.read().rpartition(b")")[2].split()[1])
    found: set[int] = set()
    own = {os.getpid()}
    while own:
        own = {pid for pid, parent in parents.items() if parent in own} - found
        found |= own
    return found


def _pump(pipe: IO[bytes] | None, sink: Sink) -> None:
    assert pipe
    with pipe:
        while text := os.read(pipe.fileno(), CHUNK):
            sink.feed(text)
            if getattr(sink, "over", False):
                _strike()
    sink.end()
