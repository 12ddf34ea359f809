"""The one table of routes: what the catalog says is live, and over it the flips that are under way.

Two deploys at once must not route each other back: each table holds the flips of all.
"""

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from octo.catalog import Catalog
from octo.catalog.writes import Targets
from octo.errors import NotFound, RouterFailed, Usage
from octo.model import App, Hostname, hostname
from octo.pipeline.front import given
from octo.ports import Route, Router

Addresses = tuple[str, ...]  # "address:port"


@dataclass(frozen=True)
class Flip:
    """Where an app's requests go from now on, before the catalog says so."""

    targets: Targets
    domains: tuple[Hostname, ...] | None = None  # that came by CNAME; None: those that did before
    config: Mapping[str, str] = field(default_factory=dict)  # of the release


class Routing:
    def __init__(
        self,
        catalog: Catalog,
        router: Router,
        suffix: str,
        well: Callable[[Addresses], Addresses] = lambda a: a,
        *,
        more: Sequence[str] = (),
    ) -> None:
        """well: of an app's addresses, those that may get requests. more: suffixes beside the first one."""
        self._catalog = catalog
        self._router = router
        self.suffixes = tuple(dict.fromkeys((suffix, *more)))
        self._well = well
        self._flips: dict[str, Flip] = {}
        self._one, self._count = threading.Lock(), threading.Lock()
        self._asked = self._answered = 0  # calls of refresh: made, and contained in the table in force

    def check(self, app: App, flip: Flip) -> None:
        """Raise RouterFailed when the app's template or certificate would not do; nothing is changed."""
        table = self.table({app.id: flip})
        for route in table:
            if route.id == app.id:
                self._router.check(route)

    def flip(self, app: App, flip: Flip, *, strict: bool = False) -> None:
        """Send the app's requests to `flip.targets` from now on, proved. Raises RouterFailed; then nothing changed.

        strict: a fault of the app's own template or certificate counts too; else what was good last serves.
        """
        if strict:
            self.check(app, flip)
        self._flips[app.id] = flip
        try:
            self.refresh()
            why = self._router.faults().get(app.id) if strict else None
            if why:
                raise RouterFailed(why)
        except BaseException:
            self._flips.pop(app.id, None)
            raise

    def settle(self, app: App) -> None:
        """The flip is in the catalog now."""
        self._flips.pop(app.id, None)

    def back(self, app: App) -> None:
        """Forget the flip and route by the catalog again."""
        self._flips.pop(app.id, None)
        self.refresh()

    def refresh(self) -> bool:
        """Bring the router up to the table of this moment; False when it was."""
        with self._count:
            self._asked += 1
            mine = self._asked
        with self._one:
            if self._answered >= mine:
                return False  # a table made after this call is in force: its maker waited for all who came before
            with self._count:
                upto = self._asked
            changed = self._router.apply(self.table(dict(self._flips)))
            self._answered = upto
            return changed

    def render(self) -> Mapping[str, str]:
        """Make nginx's files anew, also where nothing is different; the faults of apps, by App.id, that were found."""
        with self._one:
            self._router.apply(self.table(dict(self._flips)), anew=True)
        return self._router.faults()

    def table(self, flips: Mapping[str, Flip]) -> list[Route]:
        targets = {**self._catalog.targets(), **{id: flip.targets for id, flip in flips.items()}}
        apps = self._catalog.apps()
        taken = {name for app in apps for name in self.names(app)}
        own = self._domains(flips, taken)
        result = []
        for app in apps:
            to = targets.get(app.id, Targets(0))
            if to.routed:
                hosts, config = (*self.names(app), *own.get(app.id, ())), self._config(app, to, flips.get(app.id))
                to_now = self._well(to.addresses)
                result.append(Route(app.name, app.id, hosts, to_now, to.release, to.front, config, to.streams))
            elif to.streams:
                result.append(Route(app.name, app.id, (), (), to.release, streams=to.streams))
        return result

    def names(self, app: App) -> Sequence[Hostname]:
        """Those that are the app's because it is called so."""
        return [Hostname(f"{app.name}.{suffix}") for suffix in self.suffixes]

    def host(self, app: App) -> str:
        return f"{app.name}.{self.suffixes[0]}"

    def _domains(self, flips: Mapping[str, Flip], taken: Collection[str]) -> Mapping[str, Sequence[Hostname]]:
        """App.id -> its domains.

        A domain that is some app's own name routes nobody else's requests, however it came into the store; and of two
        apps that come by the same domain at once, the first has it until one is refused.
        """
        owner: dict[Hostname, str] = {}
        for domain in self._catalog.domains():
            flip = flips.get(domain.app)
            if not (domain.pushed and flip and flip.domains is not None):
                owner[domain.hostname] = domain.app
        for id, flip in flips.items():
            for name in flip.domains or ():
                owner.setdefault(name, id)
        found: dict[str, list[Hostname]] = {}
        for name, id in sorted(owner.items()):
            if name not in taken and _good(name):
                found.setdefault(id, []).append(name)
        return found

    def _config(self, app: App, to: Targets, flip: Flip | None) -> Mapping[str, str]:
        """What the app's own template may name: of the release that serves. Ordinary apps are not asked for theirs."""
        if not to.front.template:
            return {}
        try:
            return given(flip.config if flip else self._catalog.release(app, to.release).config)
        except NotFound:
            return {}


def _good(name: str) -> bool:
    """Whether the router will have it: one domain that somebody wrote into the store must not block every app."""
    try:
        return hostname(name) == name
    except Usage:
        return False
