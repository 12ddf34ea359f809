"""Make the world agree with the catalog: at start, and on a timer."""

import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from octo.catalog import Catalog
from octo.catalog.writes import ADDRESSES, lock_key
from octo.errors import Conflict, Locked, OctoError
from octo.formation import wanted
from octo.journal import Journal, Procedure
from octo.model import App, BuildStatus
from octo.pipeline.deploy import Deployer, Silent
from octo.pipeline.health import Services
from octo.pipeline.plan import ONE_OFF, Deploy, image_tag
from octo.pipeline.routing import Routing
from octo.ports import Ports, Running, Write

log = logging.getLogger(__name__)


class Reconciler:
    def __init__(
        self,
        ports: Ports,
        catalog: Catalog,
        routing: Routing,
        journal: Journal,
        deployer: Deployer,
        procedures: Mapping[str, Procedure[Any]],
        *,
        instance: str,
        ends: Callable[[], None] = lambda: None,
    ) -> None:
        """ends: removes the apps whose time has come."""
        self._ends = ends
        self._ports, self._catalog, self._routing = ports, catalog, routing
        self._journal, self._deployer, self._procedures = journal, deployer, procedures
        self._instance = instance
        self._services = Services(ports, catalog, journal)

    def at_start(self) -> None:
        """Nothing of the last octod is alive but containers and nginx: end what it had begun, remove its left-overs."""
        self._ports.runtime.prepare()
        for id in self._ports.sandbox.sweep(()):
            log.warning("removed the sandbox %s of a push that was cut off", id)
        for what in self._ports.builder.sweep():
            log.warning("removed %s of a build that was cut off", what)
        self._abandon_builds()
        self._sweep_stacks()
        self._ports.router.start()
        self.journals()
        self._sweep(at_start=True)
        self._free_addresses()
        self._ends()
        self.heal()
        self._mend_links()
        self._mend_services()
        self._refresh()

    def again(self) -> None:
        """The timer's round: what failed before is tried again, what has drifted is put right."""
        self.journals()
        for id in self._ports.sandbox.sweep(()):
            log.warning("removed the sandbox %s, which its push had left", id)
        self._sweep(at_start=False)
        self._sweep_stacks()
        self._free_addresses()
        self._ends()
        self.heal()
        self._mend_links()
        self._mend_services()
        self._ports.router.mark()  # bounds its logs
        self._refresh()

    def _sweep_stacks(self) -> None:
        for what in self._ports.stacks.sweep():
            log.info("removed the stack %s, which nothing uses any more", what)

    def journals(self) -> None:
        for entry in self._journal.open():
            try:
                self._journal.recover(self._procedures[entry.procedure], entry)
            except OctoError as error:
                log.error("cannot end the %s that was cut off: %s", entry.procedure, error.message)
            except (KeyError, TypeError, ValueError):  # another version's: it stays, and octod serves all the same
                log.exception("cannot read the journal entry %s of a %s", entry.id, entry.procedure)

    def _mend_links(self) -> None:
        try:
            self._deployer.links.mend()
        except OctoError as error:  # what is linked goes on
            log.error("cannot mend the links between apps: %s", error.message)

    def _mend_services(self) -> None:
        try:
            self._services.mend()
        except OctoError as error:  # the apps serve without it
            log.error("cannot mend the services: %s", error.message)

    def _refresh(self) -> None:
        try:
            self._routing.refresh()
        except OctoError as error:  # the old table goes on serving; octod must not stay down for it
            log.error("cannot bring the routes up to date: %s", error.message)

    def heal(self) -> None:
        """Start again what should run and does not."""
        for app in self._catalog.apps():
            missing = self._missing(app)
            if missing:
                try:
                    self._heal(app, missing)
                except (OctoError, Locked) as error:
                    log.error("cannot bring back %s: %s", app.name, error.message)

    def _missing(self, app: App) -> Sequence[str]:
        live = self._catalog.live(app)
        if live is None or app.stopped:
            return ()
        want = wanted(live.processes, self._catalog.scale(app))
        going = self._deployer.retiring()
        mine = [r for r in self._ports.runtime.list(app.id) if r.release == app.live and r.name not in going]
        up = [r for r in mine if r.state in ("running", "restarting")]
        places = {(r.process, r.index) for r in up}
        return [f"{p}.{i}" for p, n in want.items() for i in range(1, n + 1) if (p, i) not in places]

    def _heal(self, app: App, missing: Sequence[str]) -> None:
        with self._catalog.lock(app, holder="octo, bringing back what had stopped"):
            log.warning("bringing back %s: %s", app.name, ", ".join(missing))
            now = self._catalog.by_id(app.id)
            live = self._catalog.live(now) if now else None
            if now and live:
                want = wanted(live.processes, self._catalog.scale(now))
                self._deployer.deploy(Deploy(now, live, fresh=False, want=want, replace=False), Silent())

    def _sweep(self, *, at_start: bool) -> None:
        """Remove containers that belong to nobody."""
        for container in self._ports.runtime.list():
            if self._stray(container, at_start):
                self._remove(container, at_start)

    def _free_addresses(self) -> None:
        """Take back what belongs to no container. The order of looking matters: an address that was allotted to a
        container which is not there yet has its deploy in the journal by now."""
        allotted = self._ports.store.list(ADDRESSES)
        if self._journal.all():
            return
        names = {r.name for r in self._ports.runtime.list()}
        for key, value in allotted:
            if value.data.decode() not in names:
                with contextlib.suppress(Conflict):  # allotted anew meanwhile
                    self._ports.store.put_many([Write(key, None, value.version)])

    def _stray(self, container: Running, at_start: bool) -> bool:
        app = self._catalog.by_id(container.app)
        if container.process in ONE_OFF:
            return at_start or app is None  # whoever was attached to it went with the last octod
        return app is None or container.release != app.live

    def _remove(self, container: Running, at_start: bool) -> None:
        """Under the app's lock, and only if it still belongs to nobody: a deploy may just have begun or ended."""
        try:
            with self._ports.store.lock(lock_key(container.app), holder="octo, cleaning up"):
                at_work = {str(e.subject.get("app", {}).get("id")) for e in self._journal.all()}
                if container.app in at_work or not self._stray(container, at_start):
                    return
                log.warning("removing %s: it belongs to no live release", container.name)
                self._ports.runtime.stop(container.name, 10)
        except Locked:
            return

    def _abandon_builds(self) -> None:
        for app in self._catalog.apps():
            for build in self._catalog.builds(app):
                if build.status is BuildStatus.RUNNING:
                    reason, now = "octod was stopped in the middle", self._ports.clock.now()
                    self._catalog.save_build(
                        replace(build, status=BuildStatus.ABANDONED, reason=reason, finished_at=now)
                    )
                    self._ports.runtime.untag(image_tag(self._instance, app.id, build.id))
