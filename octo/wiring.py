"""Settings to adapters to pipelines: the composition root, and the only file that names adapters."""

import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from octo.adapters.blobs_files import FileBlobs
from octo.adapters.builder_docker import DockerBuilder
from octo.adapters.clock_system import SystemClock
from octo.adapters.console_stream import StreamConsole
from octo.adapters.probe_http import HttpProbe
from octo.adapters.registry_store import StoreRegistry
from octo.adapters.router_nginx import NginxRouter
from octo.adapters.runtime_docker import DockerRuntime
from octo.adapters.sandbox_docker import DockerSandbox
from octo.adapters.store_sqlite import SqliteStore
from octo.catalog import Catalog
from octo.engine import Engine
from octo.errors import Usage
from octo.formation import wanted
from octo.journal import Journal
from octo.model import App, AppName, UserName
from octo.pipeline.background import Background
from octo.pipeline.build import BuildLimits, Builds
from octo.pipeline.deploy import Deployer
from octo.pipeline.receive import Receiver
from octo.pipeline.reconcile import Reconciler
from octo.pipeline.routing import Routing
from octo.pipeline.run import OneOff
from octo.pipeline.scale import Changes
from octo.pipeline.steps import Budgets
from octo.ports import Console, Limits, Ports
from octo.settings import MB, Settings


@dataclass
class Octo:
    """Everything, put together."""

    settings: Settings
    engine: Engine
    store: SqliteStore
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
    ssh_listening: Callable[[], bool] = field(default=lambda: True)

    def url(self, app: App) -> str:
        return url_of(self.settings)(app)

    def git_url(self, app: App) -> str:
        host = "localhost" if self.settings.domain_suffix == "localhost" else self.settings.domain_suffix
        return f"ssh://git@{host}:{self.settings.ssh_port}/{app.name}.git"

    def create(self, name: AppName, owner: UserName | None) -> App:
        app = self.catalog.create(name, now=self.ports.clock.now(), owner=owner)
        self.routing.refresh()
        return app

    def status(self, app: App) -> str:
        """OK, DOWN or STOPPED; an app that was never deployed is STOPPED."""
        live = self.catalog.live(app)
        if live is None or app.stopped:
            return "STOPPED"
        want = wanted(live.processes, self.catalog.scale(app))
        going = self.deployer.retiring()
        mine = [r for r in self.ports.runtime.list(app.id) if r.release == app.live and r.name not in going]
        up = [r for r in mine if r.state == "running"]
        return "OK" if all(sum(r.process == p for r in up) >= n for p, n in want.items()) else "DOWN"

    def private(self) -> Iterable[tuple[Path, int]]:
        """Files that hold secrets, and the most that their mode may be."""
        home = self.settings.home
        return [(home / "octo.db", 0o600), (home / "blobs", 0o700), (home / "ssh", 0o700), (home / "run/rx", 0o700)]

    def leftovers(self) -> Sequence[str]:
        """What belongs to nobody, named; empty when all is well."""
        busy = set(self.receiver.pushes)
        found = [f"folder {p.name}" for p in (self.settings.run / "rx").glob("*") if p.name not in busy]
        names = {r.name for r in self.ports.runtime.list()}
        known = {a.id for a in self.catalog.apps()}
        found += [f"container {r.name}" for r in self.ports.runtime.list() if r.app not in known]
        if not self.journal.all():
            found += [f"address {a}" for a, n in self.catalog.allotted().items() if n not in names]
        return found + [f"journal entry {e.id} ({e.procedure})" for e in self.journal.open()]

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
        self.ports.runtime.clear()


def console_on(descriptor: int) -> Console:
    return StreamConsole.on(descriptor)


def render(write: Callable[[bytes], object]) -> Console:
    return StreamConsole(write)


def build(settings: Settings) -> Octo:
    """Put everything together; touches nothing but octo's own folder."""
    prepare_home(settings)
    engine = Engine(settings.engine)
    store = SqliteStore(settings.home / "octo.db")
    background = Background()
    ports = adapters(settings, engine, store, background)
    catalog, journal = Catalog(store), Journal(store)
    routing = Routing(catalog, ports.router, settings.domain_suffix)
    name, budgets = settings.instance, _budgets(settings)
    deployer = Deployer(ports, catalog, routing, journal, instance=name, budgets=budgets, later=background)
    wait = settings.push_wait
    changes = Changes(ports, catalog, routing, journal, deployer, instance=name, budgets=budgets, wait=wait)
    builds = Builds(ports, catalog, _build_limits(settings), render)
    limits = Limits(settings.push_memory_mb * MB, 2.0, 256, settings.push_seconds)
    receiver = Receiver(ports, catalog, routing, builds, deployer, limits, settings.branches, wait, url_of(settings))
    oneoff = OneOff(ports.runtime, catalog, name)
    procedures = {"deploy": deployer.procedure(), "destroy": changes.destroying()}
    reconciler = Reconciler(ports, catalog, routing, journal, deployer, procedures, instance=name)
    parts = (catalog, journal, routing, deployer, changes, builds, receiver, oneoff, reconciler, background)
    return Octo(settings, engine, store, ports, *parts)


def _budgets(settings: Settings) -> Budgets:
    return Budgets(
        boot=settings.boot_seconds,
        settle=settings.settle_seconds,
        drain=settings.drain_seconds,
        grace=settings.grace_seconds,
        keep=settings.keep_releases,
    )


def _build_limits(settings: Settings) -> BuildLimits:
    limits = Limits(settings.build_memory_mb * MB, settings.build_cpus, 512, settings.build_seconds)
    return BuildLimits(limits, settings.build_output_mb * MB, settings.instance)


def url_of(settings: Settings) -> Callable[[App], str]:
    """Where an app is served, for people."""
    port = "" if settings.http_port == 80 else f":{settings.http_port}"
    return lambda app: f"http://{app.name}.{settings.domain_suffix}{port}"


def adapters(settings: Settings, engine: Engine, store: SqliteStore, background: Background) -> Ports:
    home = settings.home
    return Ports(
        store=store,
        registry=StoreRegistry(store),
        blobs=FileBlobs(home / "blobs"),
        sandbox=DockerSandbox(
            engine,
            instance=settings.instance,
            image=settings.stack,
            user=settings.sandbox_uid,
            repositories=home / "repos",
            guest=settings.share / "octo" / "guest",
            later=background,
        ),
        builder=DockerBuilder(engine, instance=settings.instance, mode=settings.builder),
        runtime=DockerRuntime(engine, instance=settings.instance, subnet=settings.subnet),
        probe=HttpProbe(timeout=5.0),
        router=NginxRouter(
            home / "nginx",
            port=settings.http_port,
            listen=settings.listen,
            templates=settings.share / "templates" / "nginx",
            user=settings.nginx_uid,
            drain=settings.drain_seconds,
        ),
        clock=SystemClock(),
    )


def prepare_home(settings: Settings) -> None:
    """Make octo's folder, and check that its unprivileged helpers can get there."""
    for folder in (settings.home, settings.run):
        folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        folder.chmod(0o711)
    closed = [p for p in settings.home.parents if not p.stat().st_mode & 0o001]
    if closed:
        raise Usage(
            f'cannot use "{settings.home}" as home: "{closed[0]}" is closed to octo\'s unprivileged helpers',
            hint="Set OCTO_HOME to a folder under /var/lib, or chmod o+x that one.",
        )
    os.umask(0o022)
