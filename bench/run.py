"""What `./setup bench` runs: measure, print one Markdown table, leave nothing behind.

Everything is measured side by side in one run, so that a busy machine weighs on both sides of a ratio. A goal that is
missed is told and is no failure; what breaks is.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TextIO

sys.path[0] = str(Path(__file__).resolve().parent.parent)  # the checkout in place of this folder

from bench import engine, measure  # noqa: E402
from bench.by_hand import LABEL, ByHand  # noqa: E402
from bench.octo_side import Octo  # noqa: E402
from bench.table import Row, raw, table  # noqa: E402
from tests.stories.host import free_port  # noqa: E402

NAME = "octo-bench"
PARTS = ("push", "commands", "routes", "rest")


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
    parser.add_argument("--only", action="append", choices=PARTS, help="measure this part (may be given again)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample")
    parser.add_argument("--stack", default="octo/stack:latest", help="base of the app")
    given = parser.parse_args(words)
    if given.n < 1:
        parser.error("-n must be 1 or more")
    rounds = min(given.n, 3) if given.quick else given.n
    return Asked(rounds, given.quick, given.trace, given.only or PARTS, given.json, given.stack)


def run(asked: Asked, out: TextIO) -> None:
    rows: list[Row] = []
    with contextlib.ExitStack() as stack, undisturbed(stack):
        octo = started(stack, Octo(NAME, "10.222.240.0/20"))
        notes, traces = [], []
        if "push" in asked.only:
            pushes = measure.Pushes(octo, hand(stack, asked), asked.stack, asked.trace, tell)
            pushes.run(asked.rounds)
            rows += pushes.rows()
            notes, traces = list(pushes.notes()), list(pushes.traces())
        else:
            octo.ask("POST", "/apps", {"name": measure.APP})
        if "commands" in asked.only:
            tell("commands")
            rows += measure.commands(octo, 5 if asked.quick else 20)
        if "routes" in asked.only:
            tell(f"routes with {measure.CROWD} apps and with one")
            small = started(stack, Octo(f"{NAME}-1", "10.222.224.0/20"))
            rows += measure.routes(octo, small, asked.rounds)
        if "rest" in asked.only:
            seconds = 10 if asked.quick else 35  # the longer one has a round of the reconciler in it
            tell(f"octod at rest for {seconds} s")
            rows += measure.rest(octo, seconds)
        print_all(rows, notes, traces, asked, out)


def print_all(rows: Sequence[Row], notes: Sequence[str], traces: Sequence[str], asked: Asked, out: TextIO) -> None:
    machine = engine.machine()
    print(f"{table(rows)}\n\nMedians; what is compared was measured in turn. {machine}.", file=out)
    print("\n".join(["", *notes]), file=out)
    for text in traces:
        print(f"\n{text}", file=out)
    out.flush()
    if asked.json:
        asked.json.write_text(json.dumps({"machine": machine, "notes": notes, "rows": raw(rows)}, indent=1) + "\n")


def started(stack: contextlib.ExitStack, octo: Octo) -> Octo:
    stack.callback(octo.down)
    octo.start()
    return octo


def hand(stack: contextlib.ExitStack, asked: Asked) -> ByHand:
    folder = Path(tempfile.mkdtemp(prefix=f"{NAME}-", dir="/tmp"))
    folder.chmod(0o755)
    stack.callback(shutil.rmtree, folder)
    made = ByHand(folder / "by-hand", f"{NAME}-hand", stack=asked.stack, ssh_port=free_port(), http_port=free_port())
    stack.callback(sweep)
    stack.callback(made.down)
    made.start()
    return made


def sweep() -> None:
    """Whatever a bench left in the engine, also one that was killed."""
    names = (f"{NAME}-hand", f"{NAME}-hand-receiver")
    engine.sweep(*(f"{LABEL}={name}" for name in names), images=(f"{NAME}-hand/*",))
    engine.sweep(*(f"octo.instance={name}" for name in (NAME, f"{NAME}-1")), images=(f"{NAME}/*", f"{NAME}-stages/*"))


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
