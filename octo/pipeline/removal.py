"""The end of an app: it is forgotten, then all that belonged to it goes."""

from collections.abc import Sequence

from octo.catalog import Catalog
from octo.catalog.writes import address_write, ending_write
from octo.journal import Journal, Procedure, Step
from octo.model import App, Release, Slot
from octo.pipeline.deploy import Silent
from octo.pipeline.effects import at_once, stopping
from octo.pipeline.links import Links
from octo.pipeline.plan import Deploy, cache_blob, image_tag, repository_blob, slug_blob
from octo.pipeline.routing import Routing
from octo.pipeline.steps import Budgets
from octo.pipeline.volumes import remove_volumes
from octo.ports import Ports, Write


class Removal:
    def __init__(
        self,
        ports: Ports,
        catalog: Catalog,
        routing: Routing,
        journal: Journal,
        instance: str,
        budgets: Budgets,
        links: Links,
    ) -> None:
        self._ports, self._catalog, self._routing, self._journal = ports, catalog, routing, journal
        self._instance, self._budgets, self._links = instance, budgets, links

    def remove(self, app: App, *, keep_config: bool = False, volumes: bool = False) -> None:
        """Forget it, then remove it. Its lock is the caller's; once forgotten, a crash goes on to the end."""
        slots = tuple(
            Slot(r.app, r.release, r.process, r.index, r.name, r.address) for r in self._ports.runtime.list(app.id)
        )
        release = Release(app.id, 0, "", self._ports.clock.now())
        procedure = self.procedure()
        removal = Deploy(app, release, fresh=False, want={}, retire=slots, keep_config=keep_config, volumes=volumes)
        entry = self._journal.begin(procedure, removal)
        self._journal.finish(procedure, entry)

    def procedure(self) -> Procedure[Deploy]:
        return Procedure(
            "destroy",
            Deploy,
            (
                Step("forget", lambda d: d, writes=self._forgetting, commits=True),
                Step("unroute", self._unroute),
                Step("remove", self._remove),
            ),
            lambda d: f"removal of {d.app.name}",
        )

    def _forgetting(self, deploy: Deploy) -> Sequence[Write]:
        doomed = [ending_write(each, 0.0) for each in self._catalog.branch_apps(deploy.app)]
        return [*self._catalog.removal(deploy.app, config=not deploy.keep_config), *doomed]

    def _unroute(self, deploy: Deploy) -> Deploy:
        self._routing.settle(deploy.app)
        self._routing.refresh()
        return deploy

    def _remove(self, deploy: Deploy) -> Deploy:
        for service in self._ports.registry.services(deploy.app.name):
            self._ports.registry.deregister(service.id)
        at_once(stopping(self._ports, deploy.retire, self._budgets.grace, Silent()))
        allotted = self._catalog.allotted()
        names = {s.name for s in deploy.retire}
        self._ports.store.put_many([address_write(a, None) for a, name in allotted.items() if name in names])
        for name in self._ports.blobs.list(f"builds/{deploy.app.id}/"):
            build = name.rpartition("/")[2]
            self._ports.runtime.untag(image_tag(self._instance, deploy.app.id, build))
            self._ports.blobs.delete(slug_blob(build))
            self._ports.blobs.delete(name)
        for name in (cache_blob(deploy.app.id), repository_blob(deploy.app.id)):
            self._ports.blobs.delete(name)
        self._links.forget(deploy.app)
        if deploy.volumes:
            remove_volumes(self._ports.runtime, deploy.app.name)
        self._ports.sandbox.forget(deploy.app.id)
        self._ports.builder.forget(deploy.app.id)
        return deploy
