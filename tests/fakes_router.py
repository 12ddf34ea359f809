"""An in-memory Router, held to the same contract as the real one."""

from collections.abc import Iterable, Mapping, Sequence

from octo.adapters.router_nginx.render import check
from octo.errors import RouterFailed
from octo.ports import Route, Stream, Tally


class FakeRouter:
    """Serves the last table of `applied`; tests set what it should tell."""

    def __init__(self) -> None:
        self.running = False
        self.applied: list[tuple[Route, ...]] = []  # every table that changed something, oldest first
        self.fail_next: str | None = None  # the words with which the next apply fails
        self.open: dict[str, int] = {}  # "address:port" -> connections
        self.tallies: dict[str, Tally] = {}  # App.id -> what tally() answers
        self.faulty: dict[str, str] = {}  # App.id -> what is wrong with its template or certificate
        self.foreign: dict[int, str] = {}  # port -> who has it, in words
        self.wrong: list[str] = []  # what problems() says beside the router not running

    @property
    def table(self) -> tuple[Route, ...]:
        """What is served now, sorted by App.id."""
        return self.applied[-1] if self.applied else ()

    def start(self) -> None:
        self.running = True

    def stop(self) -> None:
        self.running = False

    def apply(self, routes: Sequence[Route], *, anew: bool = False) -> bool:
        check(routes)
        why, self.fail_next = self.fail_next, None
        if why is not None:
            raise RouterFailed(why)
        fresh = tuple(sorted(routes, key=lambda route: route.id))
        changed = anew or fresh != self.table or not self.running
        self.running = True
        if changed:
            self.applied.append(fresh)
        return changed

    def check(self, route: Route) -> None:
        check([route])
        if route.id in self.faulty:
            raise RouterFailed(self.faulty[route.id])

    def faults(self) -> Mapping[str, str]:
        return {route.id: self.faulty[route.id] for route in self.table if route.id in self.faulty}

    def ending(self) -> Sequence[str]:
        return []

    def connections(self, targets: Iterable[str]) -> int:
        return sum(self.open.get(target, 0) for target in set(targets))

    def taken(self, streams: Iterable[Stream]) -> str:
        return next((self.foreign[s.port] for s in streams if s.port in self.foreign), "")

    def mark(self) -> int:
        return 0

    def tally(self, app: str, since: int) -> Tally:
        return self.tallies.get(app, Tally(0, 0))

    def problems(self) -> Sequence[str]:
        return [*([] if self.running else ["nginx is not running"]), *self.wrong]
