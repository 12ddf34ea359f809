"""Settings to adapters: what the pipelines reach the outside by."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from octo.adapters.blobs_files import FileBlobs
from octo.adapters.builder_docker import DockerBuilder
from octo.adapters.clock_system import SystemClock
from octo.adapters.images_docker import DockerImages
from octo.adapters.probe_http import HttpProbe
from octo.adapters.router_nginx import NginxRouter, Own
from octo.adapters.runtime_docker import DockerRuntime
from octo.adapters.sandbox_docker import DockerKind
from octo.adapters.sandbox_lxc import LxcKind, usable
from octo.adapters.stack_debootstrap import DebootstrapStacks
from octo.buildengine.engine import BuildEngine
from octo.catalog import Catalog
from octo.engine import Engine
from octo.errors import Usage
from octo.net.buildnet import BuildNetwork
from octo.pipeline.background import Background
from octo.pipeline.stacks import needed
from octo.ports import Blobs, Ports, Registry, Sandbox, Store
from octo.sandbox.life import SandboxHost, SandboxLife
from octo.settings import Settings
from octo.specs import GB, MB
from octo.stack.root import Debootstrap

BLOBS: Mapping[str, Callable[[Path], Blobs]] = {"file": FileBlobs}  # by the scheme of the setting blobs


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
        images=DockerImages(
            engine,
            registry=settings.private_registry,
            org=settings.build_org,
            login=settings.registry_login,
            seconds=settings.registry_seconds,
        ),
        probe=HttpProbe(timeout=5.0),
        router=NginxRouter(
            home / "nginx",
            port=settings.http_port,
            listen=settings.listen,
            templates=settings.share / "templates" / "nginx",
            user=settings.nginx_uid,
            drain=settings.drain_seconds,
            own=_own(settings),
        ),
        clock=SystemClock(),
    )


def _own(settings: Settings) -> Own:
    folders = tuple(map(Path, settings.certificates))
    return Own(settings.templates, settings.https_port, folders, (settings.domain_suffix, *settings.domain_suffixes))


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
