"""The registry and the world: what runs is registered, what fails its check gets no requests."""

import logging
from collections.abc import Callable, Collection, Mapping

from octo.catalog import Catalog
from octo.errors import OctoError
from octo.journal import Journal
from octo.model import App, Service, Slot
from octo.pipeline.plan import is_web
from octo.pipeline.services import service_of
from octo.ports import Ports, Registry, Running

PAUSE = 5.0  # seconds after a registry that was away
LONGEST = 60.0  # seconds of one watch

log = logging.getLogger(__name__)


class Health:
    """Which addresses fail now, as was last heard: a registry that is away changes nothing."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._failing: frozenset[str] = frozenset()

    def well(self, addresses: tuple[str, ...]) -> tuple[str, ...]:
        """Those that do not fail; all of them when all do.

        An app's own error says more than octo's page, and Consul calls everything failing when it has just started.
        """
        return tuple(a for a in addresses if a not in self._failing) or addresses

    def fails(self, addresses: Collection[str]) -> bool:
        """Whether none of them passes, as was last heard."""
        return bool(addresses) and all(a in self._failing for a in addresses)

    def look(self) -> bool:
        """Ask the registry; whether anything is different now. Raises Unavailable."""
        ill = set(self._registry.failing())
        now = frozenset(f"{s.address}:{s.port}" for s in self._registry.services() if ill and s.id in ill)
        if now == self._failing:
            return False
        log.warning("failing their checks now: %s; before: %s", sorted(now) or "none", sorted(self._failing) or "none")
        self._failing = now
        return True

    def follow(self, changed: Callable[[], object], wait: Callable[[float], bool]) -> None:
        """Tell `changed` of every change until `wait` (seconds) says that it is over. A thread's whole life."""
        since = 0
        while not wait(0):
            try:
                since = self._registry.watch(since, LONGEST)
                if self.look():
                    changed()
            except OctoError as error:
                log.warning("cannot follow the services: %s", error.message)
                wait(PAUSE)


class Services:
    """Mends the registry: it may have lost what it knew, or been another one before."""

    def __init__(self, ports: Ports, catalog: Catalog, journal: Journal) -> None:
        self._ports, self._catalog, self._journal = ports, catalog, journal

    def mend(self) -> None:
        """The order of looking matters: what a deploy that begins meanwhile registers is not in `known`."""
        known = {s.id: s for s in self._ports.registry.services() if not s.by_hand}
        if self._journal.all():
            return
        running = self._ports.runtime.list()
        wanted = {s.id: s for app in self._catalog.apps() for s in self._of(app, running)}
        for service in missing(wanted, known):
            log.warning("registering %s again", service.id)
            self._ports.registry.register(service)
        for id in sorted(known.keys() - wanted.keys()):
            log.warning("deregistering %s, which serves nothing", id)
            self._ports.registry.deregister(id)

    def _of(self, app: App, running: Collection[Running]) -> Collection[Service]:
        live = self._catalog.live(app)
        if live is None or app.stopped or not live.routed:
            return ()
        mine = [r for r in running if r.app == app.id and r.release == app.live and is_web(r.process)]
        up = [_slot(r, live.port) for r in mine if r.state in ("running", "restarting")]
        return [service_of(app, slot, live.config, live.tags) for slot in up]


def missing(wanted: Mapping[str, Service], known: Mapping[str, Service]) -> list[Service]:
    return [service for id, service in sorted(wanted.items()) if known.get(id) != service]


def _slot(running: Running, port: int) -> Slot:
    return Slot(running.app, running.release, running.process, running.index, running.name, running.address, port)
