"""One push: the app's lock, a sandbox with git in it, what came in decided, built, deployed, all gone again."""

import logging
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import Enum

from octo.catalog import Catalog
from octo.errors import Cancelled, Forbidden, Locked, Unavailable, Usage
from octo.formation import wanted
from octo.model import App, Build, Release, UserName
from octo.options import DATA, is_data
from octo.pipeline.attend import Session
from octo.pipeline.branches import BranchApps
from octo.pipeline.build import Builds, Order
from octo.pipeline.custom import hand_over
from octo.pipeline.deploy import Deployer
from octo.pipeline.disk import DiskGuard
from octo.pipeline.domains import Domains
from octo.pipeline.plan import Deploy, release_of
from octo.pipeline.routing import Routing
from octo.pipeline.shipping import Shipping
from octo.pipeline.steering import formation, steered
from octo.ports import Console, Custom, Limits, Ports, SandboxSpec, Streams, Strike
from octo.specs import MB

log = logging.getLogger(__name__)

READ = ("git-upload-pack", "git-upload-archive")
REBUILD = "octo-rebuild"  # a verb of octo's own: the hook for a commit that is there
RECEIVER = "/octo/receiver.py"  # octo/guest, mounted into the sandbox


class Phase(Enum):
    RECEIVING = "receiving"  # hanging up ends it
    BUILDING = "building"  # hanging up ends it
    DEPLOYING = "deploying"  # goes on to its end, whoever hangs up
    DONE = "done"


@dataclass
class Push:
    """A push under way; the receiver's callbacks find it here."""

    id: str
    app: App
    user: UserName | None
    protocol: str = ""  # git's own: "version=2"
    gone: bool = False  # the pusher has hung up
    phase: Phase = Phase.RECEIVING
    build: Build | None = None
    may_read: Callable[[App], bool] = lambda app: False  # which other apps the pusher may read
    ref: str = ""  # the one that is built, as in Build.ref
    target: App | None = None  # what is deployed where it is not `app`, whose the repository is: a branch's own
    fingerprint: str = ""  # of the pusher's key; "" of the operator
    keeps: bool = False  # an import: the code is taken whether it can be deployed or not
    rebuild: str | None = None  # no push: this commit of the repository once more; "" is what lies there

    @property
    def to(self) -> App:
        """The app that is built and deployed."""
        return self.target or self.app

    @property
    def holder(self) -> str:
        """Who has the lock, in words."""
        return f"a {'push' if self.rebuild is None else 'restart'} by {self.user or 'the operator'}"

    def check(self) -> None:
        if self.gone and self.phase is not Phase.DEPLOYING:
            raise Cancelled("cannot go on: the pusher has hung up")


Opening = Callable[[Push], Session]  # makes what a receiver is given


@dataclass
class Receiver:
    ports: Ports
    catalog: Catalog
    routing: Routing
    builds: Builds
    deployer: Deployer
    limits: Limits
    branches: BranchApps
    wait: float  # seconds for another push to the same app
    url: Callable[[App], str]
    files: int  # that one commit may hold
    most: int  # bytes that one push may bring
    guard: DiskGuard
    shipping: Shipping
    link: Callable[[str], str] = "http://{}".format  # a host name as a URL, for people
    mounted: bool = True  # False: the repository comes and goes as an archive
    custom: Custom | None = None  # the operator's own receiver, in place of the build and the deploy
    pushes: dict[str, Push] = field(default_factory=dict)  # those under way, by id

    def push(self, push: Push, streams: Streams, console: Console, session: Opening) -> int:
        """Take one push from start to end, and return git's exit code. Raises Locked after waiting for another."""
        with self._alone(push, push.app, console):
            self.guard.check("take the push")
            push.app = self.there(push.app)
            self.builds.warm(push.app)
            return self._in_sandbox(push, "git-receive-pack", streams, session)

    def again(self, push: Push, refs: Sequence[str], streams: Streams, session: Opening, console: Console) -> int:
        """Build and deploy `push.to` again from its repository; the hook's exit code. As `push` for the rest.

        refs: the first of them that is there is what push.rebuild "" means.
        """
        with self._alone(push, push.to, console):
            self.guard.check("build")
            push.target = self.there(push.to)
            self.builds.warm(push.to)
            return self._in_sandbox(push, REBUILD, streams, session, push.rebuild or "", *refs)

    @contextmanager
    def _alone(self, push: Push, app: App, console: Console) -> Iterator[None]:
        try:
            with self.catalog.lock(
                app, holder=push.holder, wait=self.wait, waiting=lambda other: _wait(console, app, other)
            ):
                push.check()
                yield
        except Locked as error:
            raise self.catalog.busy(app, error) from None

    def there(self, app: App) -> App:
        """The app as it is now; its lock is held."""
        now = self.catalog.by_id(app.id)
        if now is None:
            raise Forbidden(f'cannot push to "{app.name}": it has been destroyed meanwhile')
        return now

    def read(self, push: Push, verb: str, streams: Streams, session: Opening) -> int:
        """Serve a clone, a fetch or an archive."""
        return self._in_sandbox(push, verb, streams, session)

    def _in_sandbox(self, push: Push, verb: str, streams: Streams, open_session: Opening, *words: str) -> int:
        self.pushes[push.id] = push
        try:
            session = open_session(push)
            try:
                return self._run(push, (RECEIVER, verb, push.protocol, *(words or (str(self.most),))), streams, session)
            finally:
                push.gone = True  # also when the receiver died: nobody waits for its build any more
                session.close()
        finally:
            push.phase = Phase.DONE
            del self.pushes[push.id]

    def _run(self, push: Push, argv: Sequence[str], streams: Streams, session: Session) -> int:
        reads = argv[1] in (*READ, REBUILD)
        folder = session.socket_dir
        spec = SandboxSpec(
            push.id, push.app.id, argv, session.env, folder, self.limits, mounted=self.mounted, reads=reads
        )
        try:
            ended = self.ports.sandbox.run(spec, streams)
        except Unavailable as error:
            raise Unavailable(f"Problem provisioning build server: {error.message}", hint=error.hint) from error
        if ended.strike:
            raise _struck(ended.strike, self.limits)
        return ended.code

    def hang_up(self, push: Push) -> None:
        """The pusher has gone: end what has not begun to deploy."""
        push.gone = True
        if push.phase in (Phase.RECEIVING, Phase.BUILDING):
            self.ports.sandbox.stop(push.id)

    def make(self, push: Push, order: Order, context: Iterable[bytes], console: Console) -> None:
        """Build what the receiver sends, or hand it to the operator's receiver. Raises BuildFailed or Cancelled."""
        if push.to.parent == "":  # a CNAME file names the app's own domains; its branches have the same file
            domains = Domains(self.catalog, self.routing, self.ports.clock.now)
            order = replace(order, domains=domains.asked(push.to, order.source.cname, push.may_read))
        push.phase = Phase.BUILDING
        if self.custom:
            with self.builds.admission.place(console.step, order.cancelled):
                hand_over(self.custom, push, order, context, console)
        else:
            push.build = self.builds.build(order, context, console)

    def launch(self, push: Push, console: Console) -> None:
        """Deploy what was built, and say where it is."""
        if self.custom:
            return  # it has done all there is to do
        if push.build is None:
            raise Usage("cannot deploy: nothing was built")
        push.check()
        push.phase = Phase.DEPLOYING
        mark = self.ports.router.mark()
        release = self._release(push, push.build)
        scale = formation(self.catalog, push.to, release)
        want = wanted(release.processes, scale)
        proposed = self._proposed(push.to, push.build)
        domains = push.build.domains
        deploy = Deploy(push.to, release, fresh=True, want=want, config=proposed, scale=scale, domains=domains)
        done = self.deployer.deploy(deploy, console)
        for name in domains:
            console.detail(f"Adding {self.link(name)}")
        self.shipping.after(push.to, done.release, console)
        self._tell(push.to, done, mark, console)

    def already_live(self, push: Push, commit: str) -> Release | None:
        """The live release, when it is of this very commit: a push whose end was lost is not built twice."""
        live = self.catalog.live(push.to)
        return live if live and live.commit == commit and not push.to.stopped else None

    def _proposed(self, app: App, build: Build) -> dict[str, str]:
        """Config that the buildpack proposes: for the first release of an app, and never over what is set."""
        config = self.catalog.config(app)
        return {} if app.live else {k: v for k, v in build.defaults.items() if k not in config}

    def _release(self, push: Push, build: Build) -> Release:
        config = {**self._proposed(push.to, build), **self.catalog.config(push.to)}
        what = f"{'Deploy' if push.rebuild is None else 'Rebuild'} {build.commit[:7]}"
        fresh = release_of(push.to, build, config, push.user, self.ports.clock.now(), what)
        return steered(fresh, push.to.name, build.options, tags=build.tags, volumes=build.volumes)

    def _tell(self, app: App, done: Deploy, mark: int, console: Console) -> None:
        release = done.release
        console.step(f"Launching... done, v{release.version}")
        tally = self.ports.router.tally(app.id, mark)
        console.detail(f"{sum(done.took.values()):.1f} s; {tally.failed} of {tally.served} requests dropped meanwhile")
        if release.routed:
            console.detail(f"{self.url(app)} deployed to octo")
            console.result(f"Your site is available at: {self.url(app)}")
            for name in self._others(app):
                console.detail(f"and at: {self.link(name)}")
            return
        if is_data(app.name):
            console.detail(f"Its volumes are kept, for {app.name.removesuffix(DATA)}: {', '.join(release.volumes)}")
        if release.options.no_http_proxy or release.config.get("NO_HTTP_PROXY"):
            console.result("Your container isn't available from the web because you set NO_HTTP_PROXY.")
            return
        if not is_data(app.name):
            console.detail(
                "It runs as a worker: the image has no EXPOSE and the config no PORT, or NO_HTTP_PROXY is set."
            )
        console.result("Your container isn't available from the web.")

    def _others(self, app: App) -> Sequence[str]:
        """The app's names but the first."""
        return [*self.routing.names(app)[1:], *(d.hostname for d in self.catalog.domains(app))]


def _struck(strike: Strike, limits: Limits) -> Unavailable:
    """Which limit ended git, or its hook: those of receivers are the operator's settings, the same for all apps."""
    size, most = f"{limits.memory // MB} MB", f"{limits.disk // MB} MB"
    why, setting = {
        Strike.MEMORY: (f"git ran out of memory (limit {size})", "push_memory_mb"),
        Strike.SECONDS: (f"it took longer than {limits.seconds:g} s, the limit", "push_seconds"),
        Strike.DISK: (f"the repository needs more than {most}, the limit", "push_mb"),
    }.get(strike, (f"git met the limit of {strike.value}", "push_memory_mb"))
    return Unavailable(f"cannot go on: {why}", hint=f"Ask the operator to raise the setting {setting}.")


def _wait(console: Console, app: App, holder: str) -> None:
    console.step(f"Waiting: {holder} to {app.name} goes first")


def new_push(app: App, user: UserName | None) -> Push:
    return Push(secrets.token_hex(6), app, user)
