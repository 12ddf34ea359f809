"""One push: the app's lock, a sandbox with git in it, what came in decided, built, deployed, all gone again."""

import logging
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum

from octo.catalog import Catalog
from octo.errors import Cancelled, Forbidden, Locked, Unavailable, Usage
from octo.formation import wanted
from octo.model import App, Build, Release, UserName
from octo.options import DATA, is_data
from octo.pipeline.attend import Session
from octo.pipeline.build import Builds, Order
from octo.pipeline.deploy import Deployer
from octo.pipeline.disk import DiskGuard
from octo.pipeline.plan import Deploy, port_of
from octo.pipeline.routing import Routing
from octo.pipeline.steering import formation, steered
from octo.ports import Console, Limits, Ports, SandboxSpec, Streams, Strike
from octo.specs import MB

log = logging.getLogger(__name__)

ZERO = frozenset("0")
READ = ("git-upload-pack", "git-upload-archive")
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

    def check(self) -> None:
        if self.gone and self.phase is not Phase.DEPLOYING:
            raise Cancelled("cannot go on: the pusher has hung up")


@dataclass(frozen=True)
class RefUpdate:
    old: str  # object names; all zeros: the ref is new
    new: str  # all zeros: the ref is to be deleted
    ref: str


@dataclass(frozen=True)
class Verdict:
    """What a push of these refs means."""

    commit: str = ""  # to build; "" for none
    ref: str = ""
    notes: Sequence[str] = ()
    refused: str = ""


def decide(updates: Sequence[RefUpdate], branches: Sequence[str]) -> Verdict:
    """Which commit is deployed, from the refs that were pushed.

    branches: the names that deploy. Tags and other branches are accepted and not deployed; deleting a branch that
    deploys, or pushing two of them at once, is refused.
    """
    ours = {f"refs/heads/{b}" for b in branches}
    chosen = [u for u in updates if u.ref in ours]
    deleted = [u for u in chosen if set(u.new) <= ZERO]
    if deleted:
        branch = deleted[0].ref.removeprefix("refs/heads/")
        return Verdict(refused=f"cannot delete {branch} branch: it is what runs")
    if len(chosen) > 1:
        names = " and ".join(sorted(u.ref.removeprefix("refs/heads/") for u in chosen))
        return Verdict(refused=f"cannot deploy {names} in one push: push the one that is to run")
    notes = [_note(u, branches) for u in updates if u not in chosen]
    return Verdict(chosen[0].new, chosen[0].ref, notes) if chosen else Verdict(notes=notes)


def _note(update: RefUpdate, branches: Sequence[str]) -> str:
    kind, _, name = update.ref.removeprefix("refs/").partition("/")
    if kind == "tags":
        return f"Tag {name}: kept, not deployed. Tags never deploy."
    return f"Pushed to non-{branches[0]} branch, skipping build. ({name})"


@dataclass
class Receiver:
    ports: Ports
    catalog: Catalog
    routing: Routing
    builds: Builds
    deployer: Deployer
    limits: Limits
    branches: Sequence[str]
    wait: float  # seconds for another push to the same app
    url: Callable[[App], str]
    files: int  # that one commit may hold
    most: int  # bytes that one push may bring
    guard: DiskGuard
    mounted: bool = True  # False: the repository comes and goes as an archive
    pushes: dict[str, Push] = field(default_factory=dict)  # those under way, by id

    def push(self, push: Push, streams: Streams, console: Console, session: Callable[[Push], Session]) -> int:
        """Take one push from start to end, and return git's exit code. Raises Locked after waiting for another."""
        holder = f"a push by {push.user or 'the operator'}"
        try:
            with self.catalog.lock(
                push.app, holder=holder, wait=self.wait, waiting=lambda other: _wait(console, push.app, other)
            ):
                push.check()
                self.guard.check("take the push")
                now = self.catalog.by_id(push.app.id)
                if now is None:
                    raise Forbidden(f'cannot push to "{push.app.name}": it has been destroyed meanwhile')
                push.app = now
                self.builds.warm(now)
                return self._in_sandbox(push, "git-receive-pack", streams, session)
        except Locked as error:
            raise self.catalog.busy(push.app, error) from None

    def read(self, push: Push, verb: str, streams: Streams, session: Callable[[Push], Session]) -> int:
        """Serve a clone, a fetch or an archive."""
        return self._in_sandbox(push, verb, streams, session)

    def _in_sandbox(self, push: Push, verb: str, streams: Streams, open_session: Callable[[Push], Session]) -> int:
        self.pushes[push.id] = push
        try:
            session = open_session(push)
            try:
                return self._run(push, verb, streams, session)
            finally:
                push.gone = True  # also when the receiver died: nobody waits for its build any more
                session.close()
        finally:
            push.phase = Phase.DONE
            del self.pushes[push.id]

    def _spec(self, push: Push, verb: str, session: Session) -> SandboxSpec:
        argv = (RECEIVER, verb, push.protocol, str(self.most))
        folder = session.socket_dir
        return SandboxSpec(
            push.id, push.app.id, argv, session.env, folder, self.limits, mounted=self.mounted, reads=verb in READ
        )

    def _run(self, push: Push, verb: str, streams: Streams, session: Session) -> int:
        try:
            ended = self.ports.sandbox.run(self._spec(push, verb, session), streams)
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
        """Build what the receiver sends. Raises BuildFailed or Cancelled."""
        push.phase = Phase.BUILDING
        push.build = self.builds.build(order, context, console)

    def launch(self, push: Push, console: Console) -> None:
        """Deploy what was built, and say where it is."""
        if push.build is None:
            raise Usage("cannot deploy: nothing was built")
        push.check()
        push.phase = Phase.DEPLOYING
        mark = self.ports.router.mark()
        release = self._release(push, push.build)
        scale = formation(self.catalog, push.app, release)
        want = wanted(release.processes, scale)
        proposed = self._proposed(push.app, push.build)
        deploy = Deploy(push.app, release, fresh=True, want=want, config=proposed, scale=scale)
        done = self.deployer.deploy(deploy, console)
        self._tell(push.app, done, mark, console)

    def already_live(self, push: Push, commit: str) -> Release | None:
        """The live release, when it is of this very commit: a push whose end was lost is not built twice."""
        live = self.catalog.live(push.app)
        return live if live and live.commit == commit and not push.app.stopped else None

    def _proposed(self, app: App, build: Build) -> dict[str, str]:
        """Config that the buildpack proposes: for the first release of an app, and never over what is set."""
        config = self.catalog.config(app)
        return {} if app.live else {k: v for k, v in build.defaults.items() if k not in config}

    def _release(self, push: Push, build: Build) -> Release:
        config = {**self._proposed(push.app, build), **self.catalog.config(push.app)}
        port, routed = port_of(config, build.ports)
        release = Release(
            push.app.id,
            0,
            build.image,
            self.ports.clock.now(),
            build.commit,
            f"Deploy {build.commit[:7]}",
            push.user,
            build.id,
            config,
            build.processes,
            port,
            routed,
        )
        return steered(release, push.app.name, build.options, tags=build.tags, volumes=build.volumes)

    def _tell(self, app: App, done: Deploy, mark: int, console: Console) -> None:
        release = done.release
        console.step(f"Launching... done, v{release.version}")
        tally = self.ports.router.tally(app.id, mark)
        console.detail(f"{sum(done.took.values()):.1f} s; {tally.failed} of {tally.served} requests dropped meanwhile")
        if release.routed:
            console.detail(f"{self.url(app)} deployed to octo")
            console.result(f"Your site is available at: {self.url(app)}")
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
