"""What `./setup bench` runs: measure, print one Markdown table, leave nothing behind.

Everything is measured side by side in one run, so that a busy machine weighs on both sides of a ratio. A goal that is
missed is told and is no failure; what breaks is.
"""

import argparse
import contextlib
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TextIO

sys.path[0] = str(Path(__file__).resolve().parent.parent)  # the checkout in place of this folder

from bench import engine  # noqa: E402
from bench.parts import NAME, PARTS, Bench, measured, sweep  # noqa: E402
from bench.table import raw, table  # noqa: E402


@dataclass(frozen=True)
class Asked:
    rounds: int
    quick: bool
    trace: bool
    only: Sequence[str]
    json: Path | None
    stack: str


def main(words: Sequence[str]) -> int:
    asked = read(words)
    os.environ.setdefault("DOCKER_HOST", f"unix://{os.environ.get('OCTO_ENGINE', '/var/run/docker.sock')}")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupted)
    with os.fdopen(os.dup(1), "w") as out:
        os.dup2(2, 1)  # what else is said, by octod too, must not get into the table
        return guarded(asked, out)


def guarded(asked: Asked, out: TextIO) -> int:
    """Run, and return the exit code."""
    try:
        with alone():
            run(asked, out)
    except KeyboardInterrupt:
        print("\n !     Interrupted; nothing was left behind.", file=sys.stderr)
        return 130
    except (RuntimeError, OSError, AssertionError) as error:
        print(f" !     {error}", file=sys.stderr)
        return 1
    return 0


def read(words: Sequence[str]) -> Asked:
    parser = argparse.ArgumentParser(prog="./setup bench", description="Measure octo against its bare parts.")
    parser.add_argument("-n", type=int, default=7, metavar="N", help="pushes of each kind (7)")
    parser.add_argument("--quick", action="store_true", help="3 pushes, fewer of the rest")
    parser.add_argument("--trace", action="store_true", help="show where the time of a push goes")
    parser.add_argument("--only", action="append", choices=tuple(PARTS), help="measure this part (may be given again)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample")
    parser.add_argument("--stack", default="octo/stack:latest", help="base of the app")
    given = parser.parse_args(words)
    if given.n < 1:
        parser.error("-n must be 1 or more")
    rounds = min(given.n, 3) if given.quick else given.n
    return Asked(rounds, given.quick, given.trace, given.only or tuple(PARTS), given.json, given.stack)


def run(asked: Asked, out: TextIO) -> None:
    with contextlib.ExitStack() as stack, undisturbed(stack):
        stack.callback(sweep)
        bench = Bench(stack, asked.stack, asked.rounds, asked.quick, asked.trace, tell)
        measured(bench, asked.only)
        print_all(bench, asked, out)


def print_all(bench: Bench, asked: Asked, out: TextIO) -> None:
    machine = engine.machine()
    print(f"{table(bench.rows)}\n\nMedians; what is compared was measured in turn. {machine}.", file=out)
    print("\n".join(["", *bench.notes]), file=out)
    for text in bench.traces:
        print(f"\n{text}", file=out)
    out.flush()
    if asked.json:
        found = {"machine": machine, "notes": bench.notes, "rows": raw(bench.rows)}
        asked.json.write_text(json.dumps(found, indent=1) + "\n")


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """One bench at a time: two would share names, and disturb each other's figures."""
    with socket.socket(socket.AF_UNIX) as lock:
        try:
            lock.bind(f"\0{NAME}")  # a name without a file, gone with this process
        except OSError:
            raise RuntimeError("cannot measure: another bench runs") from None
        sweep()
        yield


@contextlib.contextmanager
def undisturbed(stack: contextlib.ExitStack) -> Iterator[None]:
    """Clean up whatever happens; a second Ctrl-C does not stop that."""
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        stack.close()


def interrupted(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def tell(text: str) -> None:
    print(f"-----> {text} ({time.strftime('%T')})", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
