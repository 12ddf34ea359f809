"""The one table of routes: what the catalog says is live, and over it the flips that are under way.

Two deploys at once must not route each other back: each table holds the flips of all.
"""

import threading
from collections.abc import Callable

from octo.catalog import Catalog, Targets
from octo.errors import Usage
from octo.model import App, hostname
from octo.ports import Route, Router

Addresses = tuple[str, ...]  # "address:port"


class Routing:
    def __init__(
        self, catalog: Catalog, router: Router, suffix: str, well: Callable[[Addresses], Addresses] = lambda a: a
    ):
        """well: of an app's addresses, those that may get requests."""
        self._catalog = catalog
        self._router = router
        self._suffix = suffix
        self._well = well
        self._flips: dict[str, Targets] = {}
        self._one, self._count = threading.Lock(), threading.Lock()
        self._asked = self._answered = 0  # calls of refresh: made, and contained in the table in force

    def flip(self, app: App, targets: Targets) -> None:
        """Send the app's requests to `targets` from now on, proved. Raises RouterFailed; then nothing changed."""
        self._flips[app.id] = targets
        try:
            self.refresh()
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
            changed = self._router.apply(self.table())
            self._answered = upto
            return changed

    def table(self) -> list[Route]:
        targets = {**self._catalog.targets(), **self._flips}
        own: dict[str, list[str]] = {}
        for domain in self._catalog.domains():
            own.setdefault(domain.app, []).append(domain.hostname)
        apps = self._catalog.apps()
        taken = {self.host(app) for app in apps}
        result = []
        for app in apps:
            to = targets.get(app.id, Targets(0))
            if to.routed:
                # A domain that is some app's own name routes nobody else's requests, however it came into the store.
                hosts = (self.host(app), *(h for h in own.get(app.id, []) if h not in taken and _good(h)))
                result.append(Route(app.name, app.id, hosts, self._well(to.addresses), to.release, to.streams))
            elif to.streams:
                result.append(Route(app.name, app.id, (), (), to.release, to.streams))
        return result

    def host(self, app: App) -> str:
        return f"{app.name}.{self._suffix}"


def _good(name: str) -> bool:
    """Whether the router will have it: one domain that somebody wrote into the store must not block every app."""
    try:
        return hostname(name) == name
    except Usage:
        return False
