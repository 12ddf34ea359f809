"""The measurements, each ending in rows of the table."""

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench import trace
from bench.by_hand import ByHand
from bench.octo_side import Octo, command, processor, resident
from bench.pushes import Clone, Timed, dockerfile
from bench.table import Goal, Row

APP = "bench"
CROWD = 200  # apps in the full table
SYSTEM = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # no version manager's shims before python3
Tell = Callable[[str], None]


@dataclass
class Pushes:
    """Rounds of: octo, by hand, by hand with a receiver, octo's rollback, a receiver that does nothing."""

    octo: Octo
    hand: ByHand
    stack: str
    tracing: bool
    tell: Tell
    pushes: dict[str, list[Timed]] = field(default_factory=dict)
    moments: dict[str, list[trace.Moments]] = field(default_factory=dict)
    rollbacks: list[float] = field(default_factory=list)  # ms
    receivers: list[float] = field(default_factory=list)  # ms

    def run(self, rounds: int) -> None:
        clones = {
            "octo": self.octo.clone(APP, dockerfile(self.stack)),
            "hook": self.hand.clone("hook", dockerfile(self.stack)),
            "receiver": self.hand.clone("receiver", dockerfile(self.stack)),
        }
        for number in range(-1, rounds):
            self.tell(f"push {number + 1} of {rounds}" if number >= 0 else "warm-up")
            self._round(clones, counts=number >= 0)

    def _round(self, clones: dict[str, Clone], *, counts: bool) -> None:
        before = clones["octo"].shows
        for kind, clone in clones.items():
            timed = clone.push(**(trace.TRACING if self.tracing else {}))
            moments = self._moments(kind, timed)
            if counts:
                self.pushes.setdefault(kind, []).append(timed)
                self.moments.setdefault(kind, []).append(moments)
            self._settle()
        if counts:  # a first release has none before it
            self.rollbacks.append(self.octo.roll_back(clones["octo"], before, APP) * 1000)
            self._settle()
            start = time.monotonic()
            self.hand.bare_receiver()
            self.receivers.append((time.monotonic() - start) * 1000)

    def _settle(self) -> None:
        """What goes on behind a push must not weigh on the next."""
        self.octo.host.idle()
        self.hand.retire()

    def _moments(self, kind: str, timed: Timed) -> trace.Moments:
        marks = self.hand.marks()
        if not self.tracing:
            return {}
        return trace.of_octo(timed, self.octo.name) if kind == "octo" else trace.by_hand(timed, marks, self.hand.name)

    def rows(self) -> Sequence[Row]:
        goal = Goal(ratio=1.3)
        answered, returned = (self._ms(moment) for moment in ("answered", "returned"))
        octo = answered["octo"]
        return (
            Row("push → new version answers; by hand: hook on the host", octo, answered["hook"], goal),
            Row("push → push returns; by hand: hook on the host", returned["octo"], returned["hook"], goal),
            Row("push → new version answers; by hand: receiver in a container", octo, answered["receiver"], goal),
            Row("push → push returns; by hand: receiver in a container", returned["octo"], returned["receiver"], goal),
            Row("rollback → old version answers; against a push", self.rollbacks, octo, Goal(ratio=0.5, most=1000)),
        )

    def notes(self) -> Sequence[str]:
        failed = {kind: sum(t.failed for t in timed) for kind, timed in self.pushes.items()}
        visits = {kind: sum(t.visits for t in timed) for kind, timed in self.pushes.items()}
        told = "; ".join(f"{kind} {failed[kind]} of {visits[kind]}" for kind in failed)
        bare = Row("", self.receivers).cells()[1]
        return (
            f"Visits without a 200 while pushing: {told}.",
            f"`docker run` of a receiver that does nothing, with octo's options: {bare}.",
        )

    def traces(self) -> Sequence[str]:
        return [trace.show(kind, moments) for kind, moments in self.moments.items()] if self.tracing else []

    def _ms(self, moment: str) -> dict[str, list[float]]:
        return {kind: [getattr(t, moment) * 1000 for t in timed] for kind, timed in self.pushes.items()}


COMMANDS = (
    ("config:get", "-a", APP, "WORD"),
    ("config:set", "--no-restart", "-a", APP, "WORD=two"),
    ("apps",),
    ("status",),
    ("version",),
)


def commands(octo: Octo, rounds: int) -> Sequence[Row]:
    """Whole processes, one after the other, `python3 -c pass` in between."""
    octo.host.octo("config:set", "--no-restart", "-a", APP, "WORD=one")
    python = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else str(shutil.which("python3"))
    program = str(Path(__file__).resolve().parent.parent / "bin" / "octo")
    env = {**octo.host.env, "PATH": SYSTEM}
    took: dict[tuple[str, ...], list[float]] = {words: [] for words in COMMANDS}
    bare: list[float] = []
    for number in range(rounds + 1):
        passed = command([python, "-c", "pass"], env)
        mine = {words: command([program, *words], env) for words in COMMANDS}
        if number:  # the first is the warm-up
            bare.append(passed)
            for words, ms in mine.items():
                took[words].append(ms)
    goal = Goal(ratio=3, most=30)
    return [Row(f"`octo {_named(w)}` against `python3 -c pass`", ms, bare, goal, digits=1) for w, ms in took.items()]


def _named(words: Sequence[str]) -> str:
    return " ".join(w for w in words[:2] if w == words[0] or w.startswith("--"))


def routes(crowd: Octo, alone: Octo, rounds: int) -> Sequence[Row]:
    """crowd: gets many apps. alone: has one."""
    alone.ask("POST", "/apps", {"name": APP})
    crowd.create_apps([f"crowd-{n}" for n in range(CROWD)])
    many: list[float] = []
    one: list[float] = []
    for number in range(rounds + 1):
        for octo, into in ((crowd, many), (alone, one)):
            took = octo.add_domain(APP, f"round-{number}.bench.test")
            if number:
                into.append(took * 1000)
    apps = len(crowd.ask("GET", "/apps"))
    return [Row(f"domain added → its host is routed; {apps} apps against 1", many, one, Goal(ratio=1.5))]


def rest(octo: Octo, seconds: float) -> Sequence[Row]:
    """Memory and CPU with nothing under way. octod is one process; its helpers stand apart."""
    octo.host.idle()
    everyone = {"octod": [octo.pid], **octo.helpers()}
    before = {name: processor(pids) for name, pids in everyone.items()}
    time.sleep(seconds)
    used = {name: 100 * (processor(pids) - before[name]) / seconds for name, pids in everyone.items()}
    apps = len(octo.ask("GET", "/apps"))
    rows = []
    for name, pids in everyone.items():
        own = name == "octod"
        many = f" ({len(pids)} processes)" if len(pids) > 1 else ""
        what = f"{name} at rest" + (f", {apps} apps" if own else many)
        memory, cpu = (Goal(most=60), Goal(most=0.2)) if own else (Goal(), Goal())
        rows.append(Row(f"{what}: memory", [resident(pids)], goal=memory, unit="MB", digits=1))
        rows.append(Row(f"{what}: CPU over {seconds:.0f} s", [used[name]], goal=cpu, unit="%", digits=3))
    return rows
