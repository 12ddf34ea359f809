"""The parts of a bench, and what they share: octo, the same by hand, a folder. Each is made when it is first needed."""

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from bench import engine, harm, many, measure, sandbox
from bench.buildpack import Buildpacks
from bench.by_hand import LABEL, ByHand
from bench.octo_side import Octo
from bench.place import NETWORKS, end_build_engine
from bench.receive import Receive
from bench.table import Row
from tests.stories.host import free_port

NAME = "octo-bench"
ALONE, HARMED, MANY = f"{NAME}-1", f"{NAME}-2", f"{NAME}-3"  # octods of their own: one app, hostile builds, many apps
SANDBOX, HAND = f"{NAME}-sb", f"{NAME}-hand"


@dataclass
class Bench:
    """stack: ends what was made. image: base of the apps."""

    stack: contextlib.ExitStack
    image: str
    rounds: int
    quick: bool
    trace: bool
    tell: Callable[[str], None]
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    traces: list[str] = field(default_factory=list)

    @cached_property
    def octo(self) -> Octo:
        made = self.started(Octo(NAME, "10.222.240.0/20", NETWORKS[0]))
        made.ask("POST", "/apps", {"name": measure.APP})
        return made

    @cached_property
    def folder(self) -> Path:
        folder = Path(tempfile.mkdtemp(prefix=f"{NAME}-", dir="/tmp"))
        folder.chmod(0o755)
        self.stack.callback(shutil.rmtree, folder)
        return folder

    @cached_property
    def hand(self) -> ByHand:
        folder = self.folder / "by-hand"
        made = ByHand(folder, HAND, stack=self.image, ssh_port=free_port(), http_port=free_port())
        self.stack.callback(made.down)
        made.start()
        return made

    def started(self, octo: Octo) -> Octo:
        self.stack.callback(octo.down)
        octo.start()
        return octo


def push(bench: Bench) -> None:
    pushes = measure.Pushes(bench.octo, bench.hand, bench.image, bench.trace, bench.tell)
    pushes.run(bench.rounds)
    bench.rows += pushes.rows()
    bench.notes += pushes.notes()
    bench.traces += pushes.traces()


def buildpack(bench: Bench) -> None:
    pushes = Buildpacks(bench.octo, bench.hand, bench.tell)
    pushes.run(bench.rounds)
    bench.rows += pushes.rows()


def receive(bench: Bench) -> None:
    pushes = Receive(bench.folder / "big", bench.octo, bench.hand, bench.tell)
    pushes.run(bench.rounds)
    bench.rows += pushes.rows()


def commands(bench: Bench) -> None:
    bench.tell("commands")
    bench.rows += measure.commands(bench.octo, 5 if bench.quick else 20)


def routes(bench: Bench) -> None:
    bench.tell(f"routes with {measure.CROWD} apps and with one")
    small = bench.started(Octo(ALONE, "10.222.224.0/20", NETWORKS[1]))
    bench.rows += measure.routes(bench.octo, small, bench.rounds)


def rest(bench: Bench) -> None:
    seconds = 10 if bench.quick else 35  # the longer one has a round of the reconciler in it
    bench.tell(f"octod at rest for {seconds} s")
    bench.rows += measure.rest(bench.octo, seconds)


def sandboxes(bench: Bench) -> None:
    bench.tell("sandboxes")
    rounds = 5 if bench.quick else max(10, bench.rounds)
    bench.rows += sandbox.rows(bench.folder / "sandbox", SANDBOX, bench.image, rounds, bench.tell)


def harmed(bench: Bench) -> None:
    octo = bench.started(Octo(HARMED, "10.222.208.0/20", NETWORKS[2], **harm.LIMITS))
    street = harm.Harm(octo, bench.image, bench.tell)
    street.run(1 if bench.quick else min(3, bench.rounds), 10)
    bench.rows += street.rows()
    bench.notes += street.notes()


def crowds(bench: Bench) -> None:
    def made(settings: Mapping[str, str]) -> Octo:
        return Octo(MANY, "10.222.192.0/20", NETWORKS[3], **settings)

    bench.rows += many.rows(made, 5 if bench.quick else 20, bench.tell)


# In this order: what makes many apps comes after what pushes, and octod rests with all that it has by then.
PARTS: Mapping[str, Callable[[Bench], None]] = {
    "push": push,
    "buildpack": buildpack,
    "receive": receive,
    "commands": commands,
    "routes": routes,
    "rest": rest,
    "sandbox": sandboxes,
    "harm": harmed,
    "many": crowds,
}


def measured(bench: Bench, only: Sequence[str]) -> None:
    for name, part in PARTS.items():
        if name in only:
            part(bench)


def sweep() -> None:
    """Whatever a bench left in the engines, also one that was killed."""
    octods = (NAME, ALONE, HARMED, MANY)
    engine.sweep(*(f"{LABEL}={name}" for name in (HAND, f"{HAND}-receiver", SANDBOX)), images=(f"{HAND}/*",))
    for name in (*octods, SANDBOX):
        engine.sweep(f"octo.instance={name}", images=(f"{name}/*", f"{name}-stages/*"))
    end_build_engine(NAME)
