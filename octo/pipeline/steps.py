"""The steps of a deploy. Each looks at the world, so that it can run twice after a crash."""

import contextlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

from octo.catalog import Catalog
from octo.catalog.writes import (
    Targets,
    address_write,
    app_write,
    free_addresses,
    known_write,
    release_write,
    scale_write,
    targets_write,
)
from octo.errors import DeployFailed, NotFound, Usage
from octo.formation import RELEASE_TYPE, Start, services
from octo.model import ReleaseStatus, Slot
from octo.options import is_data
from octo.pipeline.domains import Domains
from octo.pipeline.effects import at_once, prune_images, stopping, wait_until_closed
from octo.pipeline.front import front_of
from octo.pipeline.outfit import Outfitter, streams
from octo.pipeline.plan import Deploy, is_web, slot_name, sort_out
from octo.pipeline.progress import Progress
from octo.pipeline.prove import Prover
from octo.pipeline.routing import Flip, Routing
from octo.pipeline.services import service_id, service_of
from octo.ports import ContainerSpec, Front, Ports, Running, Write


@dataclass(frozen=True)
class Budgets:
    boot: float  # seconds for web to answer
    settle: float  # seconds that other types must stay up
    drain: float  # seconds for open connections to end
    grace: float  # seconds between SIGTERM and SIGKILL
    keep: int  # releases whose images stay


class Steps:
    def __init__(
        self,
        ports: Ports,
        catalog: Catalog,
        routing: Routing,
        prover: Prover,
        instance: str,
        budgets: Budgets,
        outfitter: Outfitter,
        progress: Progress,
        retiring: Callable[[], Collection[str]],
    ) -> None:
        self._ports, self._catalog, self._routing, self._prover = ports, catalog, routing, prover
        self._instance, self._budgets, self._outfitter = instance, budgets, outfitter
        self._progress, self._retiring = progress, retiring
        self._domains = Domains(catalog, routing, ports.clock.now)

    # --- claim ---

    def claim(self, deploy: Deploy) -> Deploy:
        app = self._catalog.by_id(deploy.app.id)
        if app is None:
            raise DeployFailed(f'cannot deploy "{deploy.app.name}": the app has gone meanwhile')
        deploy = replace(deploy, app=app)
        if deploy.fresh:
            app = replace(app, last=app.last + 1)
            deploy = replace(deploy, app=app, release=replace(deploy.release, version=app.last))
        starts, stay, go = sort_out(deploy, self._ports.runtime.list(app.id), self._retiring())
        if deploy.fresh or starts:
            permits, release = self._outfitter.permits, deploy.release
            permits.check(app, release.options, user=release.user, anew=deploy.fresh)
        slots = self._allot(deploy, starts)
        deploy = replace(deploy, slots=slots, stay=self._slots(deploy, stay), retire=self._slots(deploy, go))
        if deploy.fresh:
            self._routing.check(deploy.app, _flip(deploy))
        return deploy

    def _allot(self, deploy: Deploy, starts: Sequence[Start]) -> tuple[Slot, ...]:
        taken = self._catalog.allotted()
        newest = max(taken, key=lambda a: tuple(map(int, a.split("."))), default=None)
        addresses = free_addresses(self._ports.runtime.addresses(), taken, len(starts), after=newest)
        app, release = deploy.app, deploy.release
        return tuple(
            Slot(
                app.id,
                release.version,
                start.process,
                start.index,
                slot_name(self._instance, app, release.version, start),
                address,
                release.port,
                tuple(port.container for port in release.options.ports),
            )
            for start, address in zip(starts, addresses, strict=True)
        )

    def _slots(self, deploy: Deploy, running: Sequence[Running]) -> tuple[Slot, ...]:
        ports = {
            r.version: (r.port, tuple(p.container for p in r.options.ports)) for r in self._catalog.releases(deploy.app)
        }
        return tuple(
            Slot(r.app, r.release, r.process, r.index, r.name, r.address, *ports.get(r.release, (0,))) for r in running
        )

    def claims(self, deploy: Deploy) -> Sequence[Write]:
        fresh = [app_write(deploy.app), release_write(deploy.release, expect=0)] if deploy.fresh else []
        return [*fresh, *(address_write(s.address, s.name) for s in deploy.slots)]

    def disown(self, deploy: Deploy) -> None:
        freed = [address_write(s.address, None) for s in deploy.slots]
        if deploy.fresh and deploy.release.version:
            failed = replace(deploy.release, status=ReleaseStatus.FAILED, reason=deploy.reason)
            freed.append(release_write(failed))
        self._ports.store.put_many(freed)

    # --- prepare, start, prove ---

    def prepare(self, deploy: Deploy) -> Deploy:
        command = deploy.release.processes.get(RELEASE_TYPE)
        if deploy.fresh and is_data(deploy.app.name):
            with self._progress.step("prepare", "Filling the volumes"):
                paths = self._outfitter.fill(deploy.app, deploy.release, self._budgets.settle)
                self._progress.console.detail(f"Kept: {', '.join(paths)}" if paths else "The image declares no VOLUME.")
        if not deploy.fresh or not command:
            return deploy
        self._outfitter.links.open(deploy.app, deploy.release)
        name = f"{self._instance}-{deploy.app.name}-v{deploy.release.version}-release"
        with self._progress.step("prepare", f"Running the release command: {command}"):
            self._ports.runtime.start(self._spec(deploy, RELEASE_TYPE, 1, name, None, command))
            try:
                for line in self._ports.runtime.logs(name, tail=1000, follow=True):
                    self._progress.console.raw(line.partition(b" ")[2])
                ended = self._ports.runtime.inspect(name)
            finally:
                self._ports.runtime.stop(name, 0)
        if ended is None or ended.exit_code:
            code = ended.exit_code if ended else "unknown"
            raise DeployFailed(f"cannot deploy: the release command ended with exit code {code}")
        return deploy

    def start(self, deploy: Deploy) -> Deploy:
        if not deploy.slots:
            return deploy
        self._outfitter.links.open(deploy.app, deploy.release)
        names = ", ".join(f"{s.process}.{s.index}" for s in deploy.slots)
        with self._progress.step("start", f"Starting {names}", "started"):
            at_once(self._start_one(deploy, slot) for slot in deploy.slots)
        return deploy

    def _start_one(self, deploy: Deploy, slot: Slot) -> Callable[[], object]:
        command = deploy.release.processes.get(slot.process)
        spec = self._spec(deploy, slot.process, slot.index, slot.name, slot.address, command)
        return lambda: self._ports.runtime.start(spec)

    def _spec(
        self, deploy: Deploy, process: str, index: int, name: str, address: str | None, command: str | None
    ) -> ContainerSpec:
        app, release = deploy.app, deploy.release
        spec = ContainerSpec(name, release.image, app.id, release.version, process, index, address, {}, command)
        return self._outfitter.outfit(app, release, spec)

    def stop_new(self, deploy: Deploy) -> None:
        """They may have been routed for a moment: whoever reached them is answered before they go."""
        self._wait_until_left(deploy.slots)
        at_once(stopping(self._ports, deploy.slots, self._budgets.grace, self._progress.console))

    def prove(self, deploy: Deploy) -> Deploy:
        if deploy.slots:
            host = self._routing.host(deploy.app)
            with self._progress.step("prove", _proving(deploy), "proved"):
                self._prover.prove(deploy.release, deploy.slots, host, self._progress.console.detail)
        return deploy

    # --- register, route, commit ---

    def register(self, deploy: Deploy) -> Deploy:
        release = deploy.release
        for slot in deploy.slots:
            if release.routed and is_web(slot.process):
                self._ports.registry.register(service_of(deploy.app, slot, release.config, release.tags))
        self._announce(deploy)
        return deploy

    def _announce(self, deploy: Deploy) -> None:
        """Containers that were proved are found by the apps that link to this one."""
        found = [s.name for s in deploy.slots if services(s.process, deploy.release.processes)]
        self._outfitter.links.announce(deploy.app, found)

    def deregister_new(self, deploy: Deploy) -> None:
        for slot in deploy.slots:
            self._ports.registry.deregister(service_id(deploy.app, slot))

    def route(self, deploy: Deploy) -> Deploy:
        with self._progress.step("route", "Routing", "nginx switched and proved"):
            self._routing.flip(deploy.app, _flip(deploy), strict=deploy.fresh)
        front = _targets(deploy).front
        if deploy.fresh and bool(front.certificate) != bool(front.key):
            self._progress.console.detail("SSL_CERTIFICATE and SSL_KEY count together, and one of them is not set.")
        return deploy

    def route_back(self, deploy: Deploy) -> None:
        self._routing.back(deploy.app)

    def commit(self, deploy: Deploy) -> Deploy:
        app = replace(deploy.app, live=deploy.release.version, stopped=deploy.stop)
        took = {**deploy.took, **self._progress.took}
        status = replace(deploy.release, status=ReleaseStatus.LIVE, took=took) if deploy.fresh else deploy.release
        return replace(deploy, app=app, release=status, took=took)

    def truth(self, deploy: Deploy) -> Sequence[Write]:
        writes = [app_write(deploy.app), targets_write(deploy.app, _targets(deploy))]
        if deploy.fresh or deploy.config:  # scaling may change CONTAINERS
            writes += [release_write(deploy.release), self._catalog.live_write(deploy.app, deploy.release)]
            writes += self._known(deploy)
        writes += [scale_write(deploy.app, deploy.scale)] if deploy.scale else []
        writes += self._domains.writes_of_push(deploy.app, deploy.domains) if deploy.domains is not None else []
        return [*writes, *self._catalog.config_writes(deploy.app, deploy.config)]

    def _known(self, deploy: Deploy) -> Sequence[Write]:
        """A new release has all of the config; scaling leaves what waits for the next one waiting."""
        if deploy.fresh:
            return [known_write(deploy.app, deploy.release.config)]
        now = self._catalog.config(deploy.app)
        if not self._catalog.knows(deploy.app, now):
            return []  # somebody else changed it, which is still to become a release
        after = {k: v for k, v in {**now, **deploy.config}.items() if v is not None}
        return [known_write(deploy.app, after)]

    # --- drain, retire ---

    def drain(self, deploy: Deploy) -> Deploy:
        self._routing.settle(deploy.app)
        self._outfitter.links.settle(deploy.app, deploy.release)
        at_once(self._keeping(slot) for slot in deploy.slots)
        self._wait_until_left(deploy.retire)
        return deploy

    def _wait_until_left(self, slots: Sequence[Slot]) -> None:
        web = [f"{s.address}:{s.port}" for s in slots if is_web(s.process)]
        web += [f"{s.address}:{port}" for s in slots for port in s.ports]
        wait_until_closed(self._ports.router.connections, web, self._ports.clock, self._budgets.drain)

    def _keeping(self, slot: Slot) -> Callable[[], object]:
        """Only a container that serves is the engine's to restart: one that dies before must show how it died."""

        def keep() -> None:
            with contextlib.suppress(NotFound):  # retired meanwhile, by the next deploy
                self._ports.runtime.keep(slot.name)

        return keep

    def retire(self, deploy: Deploy) -> Deploy:
        for slot in deploy.retire:
            self._ports.registry.deregister(service_id(deploy.app, slot))
        at_once(stopping(self._ports, deploy.retire, self._budgets.grace, self._progress.console))
        prune_images(self._ports, self._catalog, deploy.app, self._instance, self._budgets.keep)
        return deploy

    def freed(self, deploy: Deploy) -> Sequence[Write]:
        return [address_write(s.address, None) for s in deploy.retire if s.address]


def _targets(deploy: Deploy) -> Targets:
    release = deploy.release
    web = sorted(f"{s.address}:{release.port}" for s in deploy.after if is_web(s.process))
    served = tuple(web) if release.routed else ()
    return Targets(release.version, release.routed, served, _front(deploy), streams(release, deploy.after))


def _front(deploy: Deploy) -> Front:
    """A release from before octo looked at these keys goes on as it did; the next one has them right."""
    try:
        return front_of(deploy.release.config)
    except Usage:
        if deploy.fresh:
            raise
        return Front()


def _flip(deploy: Deploy) -> Flip:
    return Flip(_targets(deploy), deploy.domains, deploy.release.config)


def _proving(deploy: Deploy) -> str:
    web = deploy.release.routed and any(is_web(s.process) for s in deploy.slots)
    return f"Waiting for web to answer on port {deploy.release.port}" if web else "Watching that it stays up"
