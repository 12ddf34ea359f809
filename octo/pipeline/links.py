"""Links between apps: who is in which link network, so that a name leads to the containers that serve.

A link has a network of its own, named by both apps' ids and the alias. The containers of the linking app are in it from
their start; those of the other join under the alias once they are proved, and the old ones leave it by ending. So no
lookup meets a container that does not serve, and none finds nothing while there is one that does.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from octo.catalog import Catalog
from octo.catalog.writes import lock_key
from octo.errors import Locked, NotFound
from octo.formation import services
from octo.journal import Journal, Way
from octo.model import App, Release
from octo.pipeline.permits import target
from octo.ports import Ports, Running

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Joint:
    """One link as it is now."""

    consumer: App
    target: App
    alias: str

    @property
    def network(self) -> str:
        return f"{self.consumer.id}-{self.target.id}-{self.alias}"

    @property
    def names(self) -> Sequence[str]:
        """Under which the target is found: the alias, and its own name as with Docker's old links."""
        return list(dict.fromkeys((self.alias, self.target.name)))


class Links:
    def __init__(self, ports: Ports, catalog: Catalog, journal: Journal, *, committed: int) -> None:
        """committed: the number of the step of a deploy up to which its new containers are not to be found."""
        self._ports, self._catalog, self._journal, self._committed = ports, catalog, journal, committed

    def of(self, app: App, release: Release) -> Sequence[Joint]:
        """Without those to apps that are not there."""
        found = ((target(self._catalog, app, link), link) for link in release.options.links)
        return [Joint(app, other, link.alias) for other, link in found if other]

    def open(self, app: App, release: Release) -> None:
        """Have the linked apps in the networks, before a container of `app` looks for them."""
        for joint in self.of(app, release):
            for container in self._serving(joint.target):
                self._join(joint.network, container.name, joint.names)

    def announce(self, app: App, containers: Iterable[str]) -> None:
        """Let proved containers be found by the apps that link to theirs."""
        names = list(containers)
        for network in self._ports.runtime.members(app.id) if names else ():
            consumer, other, alias = network.split("-", 2)
            if other == app.id and self._catalog.by_id(consumer):
                for name in names:
                    self._join(network, name, list(dict.fromkeys((alias, app.name))))

    def settle(self, app: App, release: Release) -> None:
        """Once more after the commit: an app at the other end may have been deployed at the same time."""
        self.announce(app, (c.name for c in self._serving(app)))
        self.open(app, release)

    def environment(self, app: App, release: Release) -> Mapping[str, str]:
        """Docker's variables of a link, as octohost's containers had them: REDIS_PORT_6379_TCP_ADDR and the like."""
        found: dict[str, str] = {}
        for joint in self.of(app, release):
            live = self._catalog.live(joint.target)
            with suppress(NotFound):  # a release that no build of octo's made
                ports = self._catalog.build(joint.target, live.build).ports if live and live.build else ()
                found |= variables(joint.alias, ports)
        return found

    def forget(self, app: App) -> None:
        for network in self._ports.runtime.members(app.id):
            if app.id in network.split("-", 2)[:2]:
                self._ports.runtime.unlink(network)

    def mend(self) -> None:
        """Put everybody in who belongs there, and remove networks of links that are no more."""
        there, running = self._ports.runtime.members(), self._ports.runtime.list()
        wanted: set[str] = set()
        for app in self._catalog.apps():
            live = self._catalog.live(app)
            for joint in self.of(app, live) if live and live.options.links else ():
                wanted.add(joint.network)
                inside = there.get(joint.network, ())
                members = [(c, ()) for c in running if c.app == app.id and c.release == app.live and _up(c)]
                for container, names in (*members, *((c, joint.names) for c in self._serving(joint.target, running))):
                    if container.name not in inside:
                        self._join(joint.network, container.name, names)
        for network in sorted(there.keys() - wanted):
            self._drop(network)

    # --- helpers ---

    def _join(self, network: str, name: str, names: Sequence[str]) -> None:
        with suppress(NotFound):  # ended meanwhile
            self._ports.runtime.join(network, name, names)

    def _serving(self, app: App, running: Sequence[Running] | None = None) -> Iterator[Running]:
        """The containers that a link leads to: proved ones, of `web` or, without it, of all types."""
        now = self._catalog.by_id(app.id)
        live = self._catalog.live(now) if now else None
        if live is None:
            return
        unproved = self._unproved()
        for container in self._ports.runtime.list(app.id) if running is None else running:
            ours = container.app == app.id and container.release == live.version and _up(container)
            if ours and services(container.process, live.processes) and container.name not in unproved:
                yield container

    def _unproved(self) -> frozenset[str]:
        entries = [e for e in self._journal.all() if e.way is Way.UNDO or e.next <= self._committed]
        return frozenset(slot["name"] for e in entries for slot in e.subject.get("slots", ()))

    def _drop(self, network: str) -> None:
        """Under the lock of the linking app: a deploy may just be making use of it."""
        consumer = network.split("-", 2)[0]
        with suppress(Locked), self._ports.store.lock(lock_key(consumer), holder="octo, removing a link"):
            if not self._needed(network):
                log.info("removing the link network %s, which nothing needs any more", network)
                self._ports.runtime.unlink(network)

    def _needed(self, network: str) -> bool:
        """A link whose other end was renamed stays until the linking app's next release."""
        consumer, other, alias = network.split("-", 2)
        app = self._catalog.by_id(consumer)
        busy = {str(e.subject.get("app", {}).get("id")) for e in self._journal.all()}
        if app is None or self._catalog.by_id(other) is None:
            return False
        live = self._catalog.live(app)
        links = [link for link in (live.options.links if live else ()) if link.alias == alias]
        ends = [target(self._catalog, app, link) for link in links]
        return consumer in busy or any(end is None or end.id == other for end in ends)


def variables(alias: str, ports: Sequence[int]) -> dict[str, str]:
    """Of one link, for the exposed ports; values by name, so that they stay true. Source: Docker's legacy links."""
    name = alias.upper().replace("-", "_")
    found = {f"{name}_PORT": f"tcp://{alias}:{min(ports)}"} if ports else {}
    for port in ports:
        start = f"{name}_PORT_{port}_TCP"
        found |= {start: f"tcp://{alias}:{port}", f"{start}_ADDR": alias}
        found |= {f"{start}_PORT": str(port), f"{start}_PROTO": "tcp"}
    return found


def _up(container: Running) -> bool:
    return container.state == "running"
