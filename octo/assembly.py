"""Everything that octod works with, put together; wiring makes it."""

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from octo.catalog import Catalog
from octo.catalog.writes import Live
from octo.engine import Engine
from octo.errors import OctoError
from octo.figures import url_of
from octo.formation import wanted
from octo.journal import Journal
from octo.model import App, AppName, UserName
from octo.net.buildnet import BuildNetwork
from octo.pipeline.account import Account
from octo.pipeline.background import Background
from octo.pipeline.build import Builds
from octo.pipeline.deploy import Deployer
from octo.pipeline.disk import DiskGuard, Pruner
from octo.pipeline.foreign import Foreign
from octo.pipeline.health import Health
from octo.pipeline.plan import is_web
from octo.pipeline.receive import Receiver
from octo.pipeline.reconcile import Reconciler
from octo.pipeline.routing import Routing
from octo.pipeline.run import OneOff
from octo.pipeline.scale import Changes
from octo.pipeline.shipping import Shipping
from octo.ports import Ports, Running, Store
from octo.sandbox.cgroups import Cgroups
from octo.settings import Settings

log = logging.getLogger(__name__)


@dataclass
class Octo:
    """Everything, put together."""

    settings: Settings
    engine: Engine
    store: Store
    ports: Ports
    catalog: Catalog
    journal: Journal
    routing: Routing
    deployer: Deployer
    changes: Changes
    builds: Builds
    receiver: Receiver
    oneoff: OneOff
    reconciler: Reconciler
    background: Background
    account: Account
    guard: DiskGuard
    pruner: Pruner
    network: BuildNetwork
    sandboxes: str  # "lxc" or "docker", with the reason where it was octo's choice
    health: Health
    foreign: Foreign
    shipping: Shipping
    ssh_listening: Callable[[], bool] = field(default=lambda: True)

    def url(self, app: App) -> str:
        return url_of(self.settings)(app)

    def git_url(self, app: App) -> str:
        host = "localhost" if self.settings.domain_suffix == "localhost" else self.settings.domain_suffix
        return f"ssh://git@{host}:{self.settings.ssh_port}/{app.name}.git"

    def create(self, name: AppName, owner: UserName | None) -> App:
        app = self.catalog.create(name, now=self.ports.clock.now(), owner=owner)
        self.routing.refresh()
        if "DOMAINS" in self.catalog.config(app):  # kept for an app of this name
            self.background(self.foreign.look)
        return app

    def status(self, app: App) -> str:
        return self.statuses([app])[app.id]

    def statuses(self, apps: Sequence[App]) -> Mapping[str, str]:
        """By App.id: OK, DOWN or STOPPED; one that was never deployed is STOPPED, one that passes no check is DOWN.

        Three lists for all apps: one question an app would make a thousand apps slow.
        """
        lives, scales, going = self.catalog.lives(), self.catalog.scales(), self.deployer.retiring()
        up = [r for r in self.ports.runtime.list() if r.state == "running" and r.name not in going]
        return {app.id: self._standing(app, lives.get(app.id), scales.get(app.id, {}), up) for app in apps}

    def _standing(self, app: App, live: Live | None, scale: Mapping[str, int], up: Sequence[Running]) -> str:
        if live is None or app.stopped:
            return "STOPPED"
        mine = [r for r in up if r.app == app.id and r.release == app.live]
        web = [f"{r.address}:{live.port}" for r in mine if is_web(r.process)]
        want = wanted(live.processes, scale)
        there = all(sum(r.process == p for r in mine) >= n for p, n in want.items())
        return "OK" if there and not (live.routed and self.health.fails(web)) else "DOWN"

    def private(self) -> Iterable[tuple[Path, int]]:
        """Files that hold secrets, and the most that their mode may be."""
        home = self.settings.home
        own = [
            (home / "nginx/default.pem", 0o600),
            (home / "octo.db", 0o600),
            (home / "blobs", 0o700),
            (home / "ssh", 0o700),
            (home / "run/rx", 0o710),
        ]
        token = self.settings.consul_token_file
        return [*own, (Path(token), 0o600)] if token else own

    def leftovers(self) -> Sequence[str]:
        """What belongs to nobody, named; empty when all is well."""
        busy = set(self.receiver.pushes)
        found = [f"folder {p.name}" for p in (self.settings.run / "rx").glob("*") if p.name not in busy]
        names = {r.name for r in self.ports.runtime.list()}
        known = {a.id for a in self.catalog.apps()}
        found += [f"container {r.name}" for r in self.ports.runtime.list() if r.app not in known]
        ends = ((net, net.split("-", 2)[:2]) for net in self.ports.runtime.members())
        found += [f"network {net}" for net, ids in ends if not known.issuperset(ids)]
        if not self.journal.all():
            found += [f"address {a}" for a, n in self.catalog.allotted().items() if n not in names]
        return found + [f"journal entry {e.id} ({e.procedure})" for e in self.journal.open()]

    def open(self) -> None:
        """Make the machine ready for builds, and remove what the last octod left of them."""
        if self.receiver.custom:
            self.receiver.custom.sweep()
        self.network.sweep(())
        self.mend()

    def mend(self) -> None:
        """Put the network of the builds right, where somebody else's firewall has been at it."""
        try:
            if self.network.check():
                self.network.prepare()
        except OctoError as error:  # a build tries again and says so; apps do not depend on it
            log.error("%s", error.message)

    def wait_until_idle(self) -> None:
        while self.receiver.pushes:
            time.sleep(0.05)
        self.background.wait()

    def shut_down(self, tell: Callable[[str], None]) -> None:
        """End nginx and every container of this octo. octod itself must have ended."""
        tell("Stopping nginx")
        self.ports.router.stop()
        running = self.ports.runtime.list()
        tell(f"Stopping {len(running)} containers")
        for container in running:
            self.ports.runtime.stop(container.name, self.settings.grace_seconds)
        self.ports.sandbox.sweep(())
        self.ports.builder.sweep()
        self.ports.builder.clear()
        self.network.clear()
        for kind in ("build", "receive"):
            Cgroups(f"{self.settings.instance}-{kind}").remove()
        self.ports.runtime.clear()
