"""Settings to adapters to pipelines: the composition root, and the only file that names adapters."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from octo.adapters.blobs_files import FileBlobs
from octo.adapters.builder_docker import DockerBuilder
from octo.adapters.clock_system import SystemClock
from octo.adapters.console_stream import StreamConsole
from octo.adapters.disk_host import HostDisk
from octo.adapters.probe_http import HttpProbe
from octo.adapters.registry_store import StoreRegistry
from octo.adapters.router_nginx import NginxRouter
from octo.adapters.runtime_docker import DockerRuntime
from octo.adapters.sandbox_docker import DockerKind
from octo.adapters.sandbox_lxc import LxcKind, usable
from octo.adapters.stack_debootstrap import DebootstrapStacks
from octo.adapters.store_sqlite import SqliteStore
from octo.assembly import Octo
from octo.buildengine.engine import BuildEngine
from octo.catalog import CONFIG, DOCUMENTS, Catalog
from octo.engine import Engine
from octo.errors import Usage
from octo.figures import budgets, push_limits, reserved, rules, url_of
from octo.journal import Journal
from octo.net.buildnet import BuildNetwork
from octo.pipeline.account import Account
from octo.pipeline.admission import Admission
from octo.pipeline.background import Background
from octo.pipeline.build import Builds
from octo.pipeline.deploy import Deployer
from octo.pipeline.disk import DiskGuard, Pruner
from octo.pipeline.health import Health
from octo.pipeline.permits import Permits
from octo.pipeline.receive import Receiver
from octo.pipeline.reconcile import Reconciler
from octo.pipeline.routing import Routing
from octo.pipeline.run import OneOff
from octo.pipeline.scale import Changes
from octo.pipeline.stacks import needed
from octo.pipeline.submodules import Submodules
from octo.ports import Blobs, Console, Ports, Registry, Sandbox, Store
from octo.sandbox.life import SandboxHost, SandboxLife
from octo.settings import Settings
from octo.specs import GB, MB
from octo.stack.root import Debootstrap

BLOBS: Mapping[str, Callable[[Path], Blobs]] = {"file": FileBlobs}  # by the scheme of the setting blobs


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
    catalog, journal = Catalog(store), Journal(store)
    health = Health(registry)
    routing = Routing(catalog, ports.router, settings.domain_suffix, health.well)
    name, spans, wait = settings.instance, budgets(settings), settings.push_wait
    permits = Permits(ports, catalog, reserved(settings))
    deployer = Deployer(ports, catalog, routing, journal, permits, instance=name, budgets=spans, later=background)
    changes = Changes(ports, catalog, routing, journal, deployer, instance=name, budgets=spans, wait=wait)
    limits = push_limits(settings)
    account, guard, pruner = _disk(settings, engine, ports, catalog)
    submodules = Submodules(ports.sandbox, catalog, limits)
    admission = Admission(settings.build_queue or 2 * (os.cpu_count() or 1), settings.build_queue_length)
    builds = Builds(ports, catalog, rules(settings), render, admission, submodules, guard, permits)
    receiver = Receiver(
        ports,
        catalog,
        routing,
        builds,
        deployer,
        limits,
        settings.branches,
        wait,
        url_of(settings),
        settings.build_files,
        settings.push_mb * MB,
        guard,
        mounted=settings.repositories == "mount",
    )
    oneoff = OneOff(ports.runtime, catalog, name, deployer.outfitter)
    procedures = {"deploy": deployer.procedure(), "destroy": changes.destroying()}
    reconciler = Reconciler(ports, catalog, routing, journal, deployer, procedures, instance=name)
    parts = (catalog, journal, routing, deployer, changes, builds, receiver, oneoff, reconciler, background)
    return Octo(settings, engine, store, ports, *parts, account, guard, pruner, machine.network, machine.chosen, health)


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


def blobs_at(url: str) -> Blobs:
    """What keeps the blobs at that URL, by its scheme. Raises Usage for one that octo does not know."""
    scheme, _, rest = url.partition("://")
    make = BLOBS.get(scheme)
    if make is None or not rest.startswith("/"):
        known = ", ".join(f"{s}:///FOLDER" for s in BLOBS)
        raise Usage(f'cannot keep blobs at "{url}": octo knows {known}', hint="Mend the setting blobs.")
    return make(Path(rest))


@dataclass(frozen=True)
class Machine:
    """What builds have of the machine, whichever sandbox they run in."""

    network: BuildNetwork
    chosen: str  # as in Octo.sandboxes

    @classmethod
    def of(cls, settings: Settings) -> "Machine":
        network = BuildNetwork(settings.instance, settings.build_network, settings.build_ports, settings.build_reach)
        if settings.sandbox != "auto":
            return cls(network, settings.sandbox)
        why = usable(settings.share)
        return cls(network, f"docker, because {why}" if why else "lxc")

    def resolv(self) -> str:
        return "".join(f"nameserver {address}\n" for address in self.network.nameservers())

    def attach(self, id: str, pid: int) -> None:
        self.network.attach(id, pid)


def memory(settings: Settings) -> tuple[Store, Registry]:
    """Where octo keeps what it knows, and where it makes services known. Asks nobody yet."""
    kind = settings.registry or ("consul" if settings.store == "consul" else "store")
    if "consul" not in (settings.store, kind):
        store = SqliteStore(settings.home / "octo.db")
        return store, StoreRegistry(store)
    # Here, for who has no Consul: importing py-consul takes 130 ms.
    from octo.adapters.registry_consul import ConsulRegistry
    from octo.adapters.store_consul import ConsulStore
    from octo.agent import Agent

    agent = Agent(
        settings.consul,
        token=consul_token(settings),
        ca=settings.consul_ca,
        datacenter=settings.consul_datacenter,
        patience=settings.consul_patience,
    )
    if settings.store == "sqlite":
        kept: Store = SqliteStore(settings.home / "octo.db")
    else:
        own = f"{settings.consul_documents}/"
        config = f"{settings.consul_prefix}/" if settings.consul_prefix else ""
        session = settings.home / "consul-session"
        kept = ConsulStore(agent, prefixes={CONFIG: config, DOCUMENTS: own}, own=own, memory=session)
    return kept, ConsulRegistry(agent, instance=settings.instance) if kind == "consul" else StoreRegistry(kept)


def consul_token(settings: Settings) -> str:
    if not settings.consul_token_file:
        return settings.consul_token
    try:
        return Path(settings.consul_token_file).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Usage(f'cannot read the consul_token_file "{settings.consul_token_file}": {error}') from None


def adapters(
    settings: Settings, engine: Engine, store: Store, registry: Registry, background: Background, machine: Machine
) -> Ports:
    home = settings.home
    stacks = stacks_of(settings, engine, used=needed(Catalog(store), settings.keep_releases))
    return Ports(
        store=store,
        registry=registry,
        blobs=blobs_at(settings.blobs or f"file://{home}/blobs"),
        sandbox=_sandbox(settings, engine, stacks, background, machine),
        builder=_builder(settings, engine, stacks, machine),
        stacks=stacks,
        runtime=DockerRuntime(
            engine, instance=settings.instance, subnet=settings.subnet, link_network=settings.link_network
        ),
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


def _sandbox(
    settings: Settings, engine: Engine, stacks: DebootstrapStacks, background: Background, machine: Machine
) -> Sandbox:
    host = SandboxHost(
        settings.home / "sandboxes",
        settings.home / "repos",
        settings.share,
        instance=settings.instance,
        user=settings.sandbox_uid,
        stack=stacks.find,
        attach=machine.attach,
        detach=machine.network.detach,
        later=background,
        resolv=machine.resolv(),
    )
    return SandboxLife(host, LxcKind(host) if machine.chosen == "lxc" else DockerKind(engine, host))


def _builder(settings: Settings, engine: Engine, stacks: DebootstrapStacks, machine: Machine) -> DockerBuilder:
    place = BuildEngine(
        settings.build_engine,
        instance=settings.instance,
        network=machine.network,
        disk=settings.build_engine_disk_gb * GB,
        idle=settings.build_engine_idle,
        syscalls=settings.share / "lxc" / "syscalls.toml",
    )
    return DockerBuilder(
        engine,
        place,
        instance=settings.instance,
        mode=settings.builder,
        bases=settings.build_bases,
        slug_most=settings.build_disk_mb * MB,
        stack_image=lambda id: stacks.find(id).image,
    )


def stacks_of(settings: Settings, engine: Engine, *, used: Callable[[str], bool]) -> DebootstrapStacks:
    maker = Debootstrap(
        settings.suite,
        settings.mirror,
        settings.stack_packages,
        settings.extra_ca,
        settings.sandbox_uid,
        os.environ,
    )
    return DebootstrapStacks(engine, settings.stacks, default=settings.stack, maker=maker, used=used)


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
