"""A world that outlives octod: store, containers, router. octod is what is built anew over it after each crash."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from octo.catalog import Catalog
from octo.formation import wanted
from octo.journal import Journal
from octo.model import App, AppName, Build, BuildStatus, Hostname, Release, ReleaseStatus
from octo.pipeline.deploy import Deployer
from octo.pipeline.permits import Permits
from octo.pipeline.plan import Deploy, image_tag, is_web
from octo.pipeline.reconcile import Reconciler
from octo.pipeline.routing import Routing
from octo.pipeline.scale import Changes
from octo.pipeline.steps import Budgets
from octo.ports import Ports, Write
from tests.fakes import FakeBlobs, FakeClock, FakeConsole, FakeRegistry, FakeSandbox, FakeStore
from tests.fakes_docker import FakeBuilder, FakeImages, FakeProbe, FakeRuntime
from tests.fakes_router import FakeRouter
from tests.fakes_stacks import FakeStacks

BUDGETS = Budgets(boot=5, settle=1, drain=5, grace=1, keep=2)


class Killed(BaseException):
    """kill -9: nothing catches it, nothing is cleaned up."""


class DyingStore(FakeStore):
    """Dies at the n-th write, just before or just after it is stored."""

    def __init__(self) -> None:
        super().__init__()
        self.die_at: int | None = None
        self.after = False
        self.writes = 0

    def arm(self, at: int | None, *, after: bool = False) -> None:
        self.die_at, self.after, self.writes = at, after, 0
        self._holders.clear()  # locks die with their process

    def put_many(self, writes: Sequence[Write]) -> None:
        dying = self.writes == self.die_at
        self.writes += 1
        if dying and not self.after:
            raise Killed
        super().put_many(writes)
        if dying:
            raise Killed


class World:
    def __init__(self) -> None:
        self.store = DyingStore()
        self.runtime = FakeRuntime("10.213.0.0/22")
        self.router = FakeRouter()
        self.registry = FakeRegistry()
        self.sandbox = FakeSandbox()
        self.blobs = FakeBlobs()
        self.clock = FakeClock()
        self.boot()

    def boot(self) -> None:
        """A new octod over the same world."""
        self.store.arm(None)
        self.router.fail_next = None
        self.ports = Ports(
            self.store,
            self.registry,
            self.blobs,
            self.sandbox,
            FakeBuilder(self.runtime),
            FakeStacks(),
            self.runtime,
            FakeImages(self.runtime),
            FakeProbe(self.runtime),
            self.router,
            self.clock,
        )
        self.catalog, self.journal = Catalog(self.store), Journal(self.store)
        self.routing = Routing(self.catalog, self.router, "localhost")
        self.deployer = Deployer(
            self.ports,
            self.catalog,
            self.routing,
            self.journal,
            Permits(self.ports, self.catalog, {8080: "all websites"}),
            instance="octo",
            budgets=BUDGETS,
            later=lambda act: act() and None,
        )
        parts = (self.ports, self.catalog, self.routing, self.journal, self.deployer)
        self.changes = Changes(*parts, instance="octo", budgets=BUDGETS, wait=0)
        procedures = {"deploy": self.deployer.procedure(), "destroy": self.changes.destroying()}
        self.reconciler = Reconciler(*parts, procedures, instance="octo")

    def app(self) -> App | None:
        found = self.store.get("octo/names/shop")
        return self.catalog.by_id(found.data.decode()) if found else None

    def there(self) -> App:
        app = self.app()
        assert app
        return app

    def create(self) -> App:
        app = self.catalog.create(AppName("shop"), now=self.clock.now(), owner=None)
        self.routing.refresh()
        return app

    def push(self, commit: str, *, behaviour: str = "ok", processes: Mapping[str, str | None] | None = None) -> None:
        """What a push does once its image is built."""
        app = self.there()
        self.clock.time += 10
        build = Build(
            f"b-{commit}",
            app.id,
            commit,
            None,
            self.clock.now(),
            BuildStatus.SUCCEEDED,
            self.clock.now(),
            ports=(5000,),
        )
        image = self.runtime.add(image_tag("octo", app.id, build.id), behaviour=behaviour)
        self.catalog.save_build(replace(build, image=image.id))
        with self.catalog.lock(app, holder="a push"):
            release = Release(
                app.id,
                0,
                image.id,
                self.clock.now(),
                commit,
                f"Deploy {commit}",
                None,
                build.id,
                self.catalog.config(app),
                processes or {"web": None},
                5000,
            )
            want = wanted(release.processes, self.catalog.scale(app))
            deploy = Deploy(app, release, fresh=True, want=want, domains=(domain_of(commit),))
            self.deployer.deploy(deploy, FakeConsole())

    # --- what must hold when nothing is under way ---

    def check(self) -> None:
        assert not self.journal.all()
        app = self.app()
        if app is None:
            self._nothing_left()
            return
        releases = self.catalog.releases(app)
        assert all(r.status is not ReleaseStatus.PENDING for r in releases), releases
        live = self.catalog.live(app)
        running = self.runtime.list()
        want = wanted(live.processes, self.catalog.scale(app)) if live and not app.stopped else {}
        assert sorted((r.process, r.index) for r in running) == sorted(
            (p, i) for p, n in want.items() for i in range(1, n + 1)
        )
        assert all(r.release == app.live and r.state == "running" and r.name in self.runtime.kept for r in running)
        assert self.catalog.allotted() == {r.address: r.name for r in running}
        web = {f"{r.address}:5000" for r in running if is_web(r.process)}
        assert {f"{s.address}:{s.port}" for s in self.registry.entries.values()} == web
        (route,) = [r for r in self.router.table if r.id == app.id]
        assert set(route.targets) == web
        pushed = [r.commit for r in releases if r.status is ReleaseStatus.LIVE and r.description.startswith("Deploy")]
        assert [*route.hosts[1:]] == [d.hostname for d in self.catalog.domains()] == [*map(domain_of, pushed[-1:])]
        if live:
            assert live.status is ReleaseStatus.LIVE and dict(live.config) == self.catalog.config(app)

    def _nothing_left(self) -> None:
        assert not self.runtime.list() and not self.registry.entries and not self.catalog.allotted()
        assert not [r for r in self.router.table if r.app == "shop"]
        assert not [k for k in self.store.rows if k.startswith(("octohost/", "octo/"))], list(self.store.rows)


def domain_of(commit: str) -> Hostname:
    """What the CNAME file of that push says."""
    return Hostname(f"{commit}.test")


Scenario = tuple[Callable[[World], None], Callable[[World], None]]  # before, and what is crashed
