"""Twenty apps that mean well under load, while the builds of another one do their worst: latency and errors.

The load is loopback only, at a steady pace, and ends by itself. Each request is timed from the moment when it was due,
so that one that had to wait for the one before it counts as slow too.
"""

import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import quantiles

from bench.octo_side import Octo
from bench.pushes import Clone, dockerfile, fetch
from bench.table import Goal, Row

APPS = 20
PACE = 100  # requests a second, all apps together
WORKERS = 10
LONGEST = 300  # seconds that the load of one phase goes on at most
LIMITS = {
    "OCTO_BUILD_MEMORY_MB": "300",
    "OCTO_BUILD_PIDS": "100",
    "OCTO_BUILD_DISK_MB": "200",
    "OCTO_BUILD_SECONDS": "15",
}
HARM = {  # what the build does, and what the pusher must be told: else it did something else
    "memory": ("python3 -c 'x = bytearray(600 << 20); print(len(x))'", "it ran out of memory"),
    "forks": (":(){ :|:& };:\nfor i in $(seq 1 400); do sleep 10 & done; wait", "processes and threads at once"),
    "disk": ("head -c 400M /dev/zero >/app/big", "its disk is full"),
    "cpu": ("for i in 1 2 3 4 5 6 7 8; do while :; do :; done & done; wait", "it was ended after 15 s"),
}
PACKAGE = '{"name": "evil", "version": "1.0.0", "scripts": {"build": "bash evil.sh", "start": "node server.js"}}\n'


@dataclass
class Seen:
    """ms of every request of one phase; seconds that the phase took."""

    took: list[float] = field(default_factory=list)
    failed: int = 0
    seconds: float = 0

    def percentile(self, number: int) -> float:
        return quantiles(self.took, n=100)[number - 1]

    def words(self) -> str:
        figures = ", ".join(f"p{n} {self.percentile(n):.1f} ms" for n in (50, 99))
        return f"{figures}, {self.failed} of {len(self.took)} requests failed in {self.seconds:.0f} s"


@dataclass
class Harm:
    octo: Octo
    stack: str
    tell: Callable[[str], None]
    seen: dict[str, list[Seen]] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)  # builds by what they did

    def run(self, rounds: int, seconds: float) -> None:
        """seconds: of the phases before and after."""
        self.tell(f"{APPS} apps that mean well")
        for number in range(APPS):
            self.octo.clone(f"good-{number}", dockerfile(self.stack)).push()
        evil = self.octo.clone("evil", lambda greeting: {"package.json": PACKAGE, "evil.sh": greeting})
        for number in range(rounds):
            self.tell(f"builds that mean harm, {number + 1} of {rounds}")
            self._phase("before", lambda: time.sleep(seconds))
            self._phase("during", lambda: self._harm(evil))
            self.octo.host.idle()
            self._phase("after", lambda: time.sleep(seconds))

    def rows(self) -> Sequence[Row]:
        rows = []
        for number, goal in ((50, Goal()), (99, Goal(ratio=2))):
            before, during, after = (
                [s.percentile(number) for s in self.seen[phase]] for phase in ("before", "during", "after")
            )
            what = f"p{number} of {APPS} apps"
            rows.append(Row(f"{what} while builds do harm; against before", during, before, goal, digits=1))
            rows.append(Row(f"{what} after builds did harm; against before", after, before, digits=1))
        return rows

    def notes(self) -> Sequence[str]:
        told = ", ".join(f"{kind} {times}" for kind, times in self.refused.items())
        words = [f"{phase.capitalize()}: {_whole(seen).words()}." for phase, seen in self.seen.items()]
        return (f"{APPS} apps, {PACE} requests a second, hostile builds refused: {told}. " + " ".join(words),)

    def _phase(self, name: str, act: Callable[[], None]) -> None:
        with load(self.octo.host.http_port, [f"good-{n}.localhost" for n in range(APPS)]) as seen:
            act()
        self.seen.setdefault(name, []).append(seen)

    def _harm(self, clone: Clone) -> None:
        for kind, (script, words) in HARM.items():
            (clone.folder / "evil.sh").write_text(script + "\n")
            (clone.folder / "package.json").write_text(PACKAGE)
            clone.git("add", "-A")
            clone.git("commit", "-q", "--allow-empty", "-m", kind)
            argv = ["git", "-C", str(clone.folder), "push", "-q", "-f", clone.remote, "main"]
            done = subprocess.run(argv, env=clone.environment(), capture_output=True, text=True, check=False)
            if not done.returncode or words not in done.stderr:
                raise RuntimeError(f'cannot go on: the build "{kind}" was to be refused:\n{done.stderr[-1000:]}')
            self.refused[kind] = self.refused.get(kind, 0) + 1


@contextmanager
def load(port: int, hosts: Sequence[str]) -> Iterator[Seen]:
    """Visits all hosts in turn for the body of a `with`."""
    seen, over, lock = Seen(), threading.Event(), threading.Lock()
    start = time.monotonic()

    def visit(worker: int) -> None:
        asks = [f"GET / HTTP/1.0\r\nHost: {host}\r\n\r\n".encode() for host in hosts]
        for number in range(worker, PACE * LONGEST, WORKERS):
            due = start + number / PACE
            if over.wait(max(0.0, due - time.monotonic())):
                return
            answer = fetch(port, asks[number % len(asks)])
            took = (time.monotonic() - due) * 1000
            with lock:
                seen.took.append(took)
                seen.failed += b" 200 " not in answer[:16]

    with ThreadPoolExecutor(WORKERS) as pool:
        going = [pool.submit(visit, worker) for worker in range(WORKERS)]
        try:
            yield seen
        finally:
            over.set()
    for each in going:
        each.result()
    seen.seconds = time.monotonic() - start


def _whole(phases: Sequence[Seen]) -> Seen:
    return Seen(
        [took for seen in phases for took in seen.took],
        sum(seen.failed for seen in phases),
        sum(seen.seconds for seen in phases),
    )
