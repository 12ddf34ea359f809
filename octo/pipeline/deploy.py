"""A release becomes what serves: claim, prepare, start, prove, register, route, commit, drain, retire.

Push, rollback, config change, scale, restart, stop and start are this one table with other inputs.
"""

import logging
from collections.abc import Callable
from dataclasses import replace

from octo import codec
from octo.catalog import Catalog
from octo.errors import DeployFailed, RouterFailed
from octo.journal import Entry, Journal, Procedure, Step, Way
from octo.model import App
from octo.pipeline.links import Links
from octo.pipeline.outfit import Outfitter
from octo.pipeline.permits import Permits
from octo.pipeline.plan import Deploy
from octo.pipeline.progress import Progress
from octo.pipeline.prove import Prover
from octo.pipeline.routing import Routing
from octo.pipeline.steps import Budgets, Steps
from octo.ports import Console, Ports

log = logging.getLogger(__name__)

PROCEDURE = "deploy"
COMMIT = 6  # the number of the commit in the table below


class Deployer:
    def __init__(
        self,
        ports: Ports,
        catalog: Catalog,
        routing: Routing,
        journal: Journal,
        permits: Permits,
        *,
        instance: str,
        budgets: Budgets,
        later: Callable[[Callable[[], object]], None],
        failed: Callable[[App, str], None] = lambda app, why: None,
    ) -> None:
        """failed: told of each deploy that failed, with the reason."""
        self._failed = failed
        self._ports, self._catalog, self._routing, self._journal = ports, catalog, routing, journal
        self._instance, self._budgets, self._later = instance, budgets, later
        self.links = Links(ports, catalog, journal, committed=COMMIT)
        self.outfitter = Outfitter(ports, catalog, self.links, permits, instance)
        self._prover = Prover(ports.runtime, ports.probe, ports.clock, boot=budgets.boot, settle=budgets.settle)

    def deploy(self, deploy: Deploy, console: Console, *, proceed: Callable[[], None] = lambda: None) -> Deploy:
        """Make it so, up to the commit; drain and retire go on behind. The app's lock is the caller's.

        proceed: called before each step; what it raises undoes the deploy.
        Raises DeployFailed, RouterFailed and what a port raises; then the old release serves as before.
        """
        progress = Progress(console, self._ports.clock)
        procedure = self.procedure(progress)
        try:
            entry = self._journal.begin(procedure, deploy, before=lambda _: proceed())
        except (DeployFailed, RouterFailed) as error:
            self._failed(deploy.app, error.message)
            raise
        self._later(lambda: self._journal.finish(self.procedure(), entry))
        done: Deploy = self._subject(entry)
        log.info("%s", procedure.about(done))
        return replace(done, took=progress.took)

    def procedure(self, progress: Progress | None = None) -> Procedure[Deploy]:
        """The table. progress: None when nobody listens, as after a crash."""
        told = progress or Progress(Silent(), self._ports.clock)
        parts = (self._ports, self._catalog, self._routing, self._prover, self._instance, self._budgets)
        run = Steps(*parts, self.outfitter, told, self.retiring)
        return Procedure(
            PROCEDURE,
            Deploy,
            (
                Step("claim", run.claim, undo=run.disown, writes=run.claims),
                Step("prepare", run.prepare),
                Step("start", run.start, undo=run.stop_new),
                Step("prove", run.prove),
                Step("register", run.register, undo=run.deregister_new),
                Step("route", run.route, undo=run.route_back),
                Step("commit", run.commit, writes=run.truth, commits=True),
                Step("drain", run.drain),
                Step("retire", run.retire, writes=run.freed),
            ),
            lambda d: f"deploy of {d.app.name} v{d.release.version}",
        )

    def retiring(self) -> frozenset[str]:
        """Names of the containers that committed deploys are draining and stopping."""
        names: set[str] = set()
        for entry in self._journal.all():
            if entry.procedure == PROCEDURE and entry.way is Way.DO and entry.next > COMMIT:
                names |= {slot["name"] for slot in entry.subject["retire"]}
        return frozenset(names)

    def _subject(self, entry: Entry) -> Deploy:
        found: Deploy = codec.build(Deploy, entry.subject)
        return found


class Silent:
    """The console when nobody reads."""

    def step(self, text: str) -> None: ...
    def detail(self, text: str) -> None: ...
    def error(self, text: str) -> None: ...
    def result(self, text: str) -> None: ...
    def raw(self, data: bytes) -> None: ...
    def formatted(self, data: bytes) -> None: ...
