"""Programs that work on the root of a stack that is being made.

Each runs in mount and PID namespaces of its own that die with octo's process: a kill -9 leaves neither a mount nor a
program behind, only a folder. Source: unshare(1), --kill-child; prctl(2), PR_SET_PDEATHSIG.
"""

import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from octo import process
from octo.errors import BuildFailed

Output = Callable[[bytes], None]  # is given whole lines; those that begin with LEAD are steps, the rest is programs'
LEAD = b"-----> "
PATIENCE = 3600.0  # seconds for one program
APART = ("setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child=KILL")


class Work:
    def __init__(self, root: Path, output: Output, proxies: Mapping[str, str]) -> None:
        self.root, self._output = root, output
        self._env = {**proxies, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive", "HOME": "/root"}

    @contextlib.contextmanager
    def step(self, text: str) -> Iterator[None]:
        self.tell(text)
        began = time.monotonic()
        yield
        self._output(f"done in {time.monotonic() - began:.1f} s\n".encode())

    def tell(self, text: str) -> None:
        self._output(LEAD + text.encode() + b"\n")

    def debootstrap(self, *words: str, hint: str) -> None:
        self.run(["debootstrap", *words], proc=Path("/proc"), hint=hint)

    def chroot(self, *argv: str, hint: str = "") -> None:
        self.run(["chroot", str(self.root), *argv], proc=self.root / "proc", hint=hint)

    def run(self, argv: Sequence[str], *, proc: Path, hint: str = "") -> None:
        """Run to the end; proc: where the /proc of its own processes is mounted. Raises BuildFailed."""
        ours, theirs = os.pipe()
        try:
            program = process.spawn(
                [*APART, f"--mount-proc={proc}", *argv], env=self._env, stdout=theirs, stderr=theirs
            )
        except BaseException:
            os.close(ours)
            raise
        finally:
            os.close(theirs)
        timer = threading.Timer(PATIENCE, program.kill)
        timer.daemon = True
        timer.start()
        last: deque[str] = deque(maxlen=20)
        try:
            with open(ours, "rb") as lines:
                for line in lines:
                    last.append(line.decode("utf-8", "replace").strip())
                    self._output(line)
            code = program.wait()
        finally:
            timer.cancel()
            program.kill()
            program.wait()
        if code:
            name = argv[2] if argv[0] == "chroot" else argv[0]
            raise BuildFailed(f"cannot make the stack: {name} ended with {code}: {_reason(last)}", hint=hint)


def _reason(last: Sequence[str]) -> str:
    """The line that says why: both programs begin it with "E:"."""
    lines = [line for line in last if line]
    return next((line for line in lines if line.startswith("E:")), lines[-1] if lines else "it said nothing")
