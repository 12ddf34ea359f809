"""Settings to adapters to pipelines: the composition root, and the only package that names adapters."""

import os
from collections.abc import Callable
from pathlib import Path

from octo.adapters.console_stream import StreamConsole
from octo.adapters.disk_host import HostDisk
from octo.adapters.mail_sendmail import SendMail
from octo.adapters.receiver_script import ScriptReceiver
from octo.assembly import Octo
from octo.catalog import Catalog
from octo.engine import Engine
from octo.errors import Usage
from octo.figures import branches, budgets, link_of, push_limits, reserved, rules, url_of
from octo.journal import Journal
from octo.pipeline.account import Account
from octo.pipeline.admission import Admission
from octo.pipeline.background import Background
from octo.pipeline.branches import BranchApps
from octo.pipeline.build import Builds
from octo.pipeline.deploy import Deployer
from octo.pipeline.disk import DiskGuard, Pruner
from octo.pipeline.foreign import Foreign
from octo.pipeline.health import Health
from octo.pipeline.permits import Permits
from octo.pipeline.receive import Receiver
from octo.pipeline.reconcile import Reconciler
from octo.pipeline.routing import Routing
from octo.pipeline.run import OneOff
from octo.pipeline.scale import Changes
from octo.pipeline.shipping import Shipping
from octo.pipeline.submodules import Submodules
from octo.ports import Console, Ports
from octo.settings import Settings
from octo.specs import GB, MB
from octo.wiring.knowledge import memory as memory
from octo.wiring.outside import Machine, adapters
from octo.wiring.outside import blobs_at as blobs_at
from octo.wiring.outside import stacks_of as stacks_of


def console_on(descriptor: int) -> Console:
    return StreamConsole.on(descriptor)


def render(write: Callable[[bytes], object]) -> Console:
    return StreamConsole(write)


def build(settings: Settings) -> Octo:
    """Put everything together; touches nothing but octo's own folder."""
    prepare_home(settings)
    engine = Engine(settings.engine)
    store, registry = memory(settings)
    background = Background()
    machine = Machine.of(settings)
    ports = adapters(settings, engine, store, registry, background, machine)
    catalog, journal, health = Catalog(store), Journal(store), Health(registry)
    routing = Routing(catalog, ports.router, settings.domain_suffix, health.well, more=settings.domain_suffixes)
    name, spans = settings.instance, budgets(settings)
    permits = Permits(ports, catalog, reserved(settings))
    tell = SendMail(settings.email_notification, settings.sendmail, background).failed
    known = (ports, catalog, routing, journal, permits)
    deployer = Deployer(*known, instance=name, budgets=spans, later=background, failed=tell)
    wait = settings.push_wait
    changes = Changes(ports, catalog, routing, journal, deployer, instance=name, budgets=spans, wait=wait)
    account, guard, pruner = _disk(settings, engine, ports, catalog)
    builds = _builds(settings, ports, catalog, guard, permits)
    own = BranchApps(ports, catalog, changes, branches(settings))
    shipping = Shipping(ports, catalog, deployer, name)
    receiver = _receiver(settings, builds, deployer, routing, own, shipping)
    oneoff = OneOff(ports.runtime, catalog, name, deployer.outfitter)
    procedures = {"deploy": deployer.procedure(), "destroy": changes.destroying()}
    parts = (ports, catalog, routing, journal, deployer)
    reconciler = Reconciler(*parts, procedures, instance=name, ends=own.sweep)
    made = (catalog, journal, routing, deployer, changes, builds, receiver, oneoff, reconciler, background)
    foreign = Foreign(catalog, changes, settle=settings.config_settle, later=background)
    rest = (account, guard, pruner, machine.network, machine.chosen, health, foreign, shipping)
    return Octo(settings, engine, store, ports, *made, *rest)


def _builds(settings: Settings, ports: Ports, catalog: Catalog, guard: DiskGuard, permits: Permits) -> Builds:
    submodules = Submodules(ports.sandbox, catalog, push_limits(settings))
    admission = Admission(settings.build_queue or 2 * (os.cpu_count() or 1), settings.build_queue_length)
    return Builds(ports, catalog, rules(settings), render, admission, submodules, guard, permits)


def _receiver(
    settings: Settings, builds: Builds, deployer: Deployer, routing: Routing, own: BranchApps, shipping: Shipping
) -> Receiver:
    script = Path(settings.receiver) if settings.receiver else None
    return Receiver(
        builds.ports,
        builds.catalog,
        routing,
        builds,
        deployer,
        push_limits(settings),
        own,
        settings.push_wait,
        url_of(settings),
        settings.build_files,
        settings.push_mb * MB,
        builds.guard,
        shipping,
        link=link_of(settings),
        mounted=settings.repositories == "mount",
        custom=ScriptReceiver(script, settings.run / "receive", settings.build_seconds) if script else None,
    )


def _disk(settings: Settings, engine: Engine, ports: Ports, catalog: Catalog) -> tuple[Account, DiskGuard, Pruner]:
    disks, name, least = disks_of(settings, engine), settings.instance, settings.free_disk_mb * MB
    account = Account(ports, catalog, disks, instance=name, least=least)
    return account, DiskGuard(disks, least), Pruner(ports, catalog, disks, name)


def disks_of(settings: Settings, engine: Engine) -> HostDisk:
    home = settings.home
    return HostDisk(
        engine,
        home=home,
        repositories=home / "repos",
        apart=(home / "blobs", settings.stacks),
        build_engine=settings.build_engine,
        build_engine_most=settings.build_engine_disk_gb * GB,
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
