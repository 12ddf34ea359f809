"""Source to image, recorded as a Build with its whole output."""

import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from octo.catalog import Catalog
from octo.errors import BuildFailed, Cancelled, NotFound, OctoError
from octo.limits import limits_for, slug_limit
from octo.model import CONTROL_KEYS, App, Build, BuildStatus, Hostname, UserName
from octo.options import effective, from_dockerfile
from octo.pipeline import steering
from octo.pipeline.admission import Admission
from octo.pipeline.attend import Job, Session
from octo.pipeline.compile import Compiled, compiled
from octo.pipeline.disk import DiskGuard
from octo.pipeline.permits import Permits
from octo.pipeline.plan import DEFAULT_PORT, image_tag, in_written_order, slug_blob
from octo.pipeline.progress import Progress
from octo.pipeline.record import Recorder
from octo.pipeline.source import Source, Strategy, buildpacks, processes_of, strategy
from octo.pipeline.submodules import Submodules
from octo.ports import BuildSpec, Console, Limits, Ports, SlugSpec
from octo.runoptions import PLAIN, RunOptions
from octo.specs import MB


@dataclass(frozen=True)
class Rules:
    """What the operator has set for builds."""

    limits: Limits
    instance: str
    args: Sequence[str] = ()  # config keys that Dockerfiles see
    stack: str = "octo"  # the default one's name
    fetch: float = 90  # seconds of one try
    slug: int = 200 * MB  # bytes
    cache: int = 1024 * MB  # bytes
    plain: bool = False  # whether buildpacks may come by http and git:// too


@dataclass(frozen=True)
class Order:
    """What one push asks of the builds."""

    app: App
    source: Source
    user: UserName | None
    session: Callable[[str], Session]  # opens what the sandbox of this id is given
    reading: Callable[[str, App], Session]  # and one that reads another app's repository
    may_read: Callable[[App], bool]
    cancelled: Callable[[], bool]
    ref: str = ""  # as in Build.ref
    domains: tuple[Hostname, ...] = ()  # as in Build.domains


@dataclass
class Builds:
    ports: Ports
    catalog: Catalog
    rules: Rules
    render: Callable[[Callable[[bytes], object]], Console]  # how a console looks when it is kept
    admission: Admission
    submodules: Submodules
    guard: DiskGuard
    permits: Permits

    def build(self, order: Order, context: Iterable[bytes], console: Console) -> Build:
        """Make the image and return the finished Build. Raises BuildFailed or Cancelled; the record says so too."""
        app, now = order.app, self.ports.clock.now()
        id = f"{int(now):08x}{secrets.token_hex(3)}"
        build = Build(id, app.id, order.source.commit, order.user, now, ref=order.ref, domains=order.domains)
        recorder = Recorder(console, self.render, self.rules.limits.output)
        self.catalog.save_build(build)
        try:
            with self.admission.place(recorder.step, order.cancelled):
                self.guard.check("build")
                build = self._make(build, order, context, recorder)
        except OctoError as error:
            status = BuildStatus.ABANDONED if isinstance(error, Cancelled) else BuildStatus.FAILED
            recorder.note(error)
            build = replace(build, status=status, reason=error.message)
            self.ports.blobs.delete(slug_blob(build.id))
            raise
        finally:
            self.ports.blobs.put(f"builds/{app.id}/{build.id}", [recorder.output()])
            ended = replace(build, finished_at=self.ports.clock.now())
            self.catalog.save_build(ended)
        return ended

    def warm(self, app: App) -> None:
        """A push is being received: have ready what the app's last build took."""
        if self._has_dockerfile(app):
            self.ports.builder.prewarm()

    def warm_stack(self) -> None:
        """A stack was made: where Dockerfiles are built it is taken over now, and not while somebody waits."""
        if any(self._has_dockerfile(app) for app in self.catalog.apps()):
            self.ports.builder.prewarm()

    def output(self, build: Build) -> Iterator[bytes]:
        yield from self.ports.blobs.get(f"builds/{build.app}/{build.id}")

    def _has_dockerfile(self, app: App) -> bool:
        last = next((b for b in reversed(self.catalog.builds(app)) if b.image), None)
        return last is not None and not last.buildpack

    def _make(self, build: Build, order: Order, context: Iterable[bytes], console: Console) -> Build:
        config = self.catalog.config(order.app)
        steering.check(config)
        build = replace(build, options=self._asked(order, config))
        if strategy(order.source, config) is Strategy.DOCKERFILE:
            return self._with_dockerfile(build, order, config, context, console)
        if order.source.dockerfile is not None:
            console.step("BUILDPACK_URL is set: the Dockerfile is not used")
        return self._with_buildpacks(build, order, config, context, console)

    def _asked(self, order: Order, config: Mapping[str, str]) -> RunOptions:
        """What the Dockerfile asks for. What the app may not have is refused here, and not after a long build."""
        with_dockerfile = strategy(order.source, config) is Strategy.DOCKERFILE
        asked = from_dockerfile(order.source.dockerfile or "") if with_dockerfile else PLAIN
        self.permits.check(order.app, effective(asked, config), user=order.user)
        return asked

    # --- Dockerfile ---------------------------------------------------------------------------------------

    def _with_dockerfile(
        self, build: Build, order: Order, config: Mapping[str, str], context: Iterable[bytes], console: Console
    ) -> Build:
        processes = processes_of(order.source)
        spec = BuildSpec(
            build.id,
            build.app,
            image_tag(self.rules.instance, build.app, build.id),
            limits_for(self.rules.limits, order.app),
            {k: config[k] for k in self.rules.args if k in config},
            order.app.name,
        )
        progress = Progress(console, self.ports.clock)
        with progress.step("build", "Building from Dockerfile", "built"):
            job = self._job(build, order, config, self._stack(config), "source") if order.source.submodules else None
            with self.submodules.whole(order, context, job, console) as tree:
                image = self.ports.builder.build(spec, tree, console.raw, order.cancelled)
        found = self.ports.runtime.image(image)
        ports = in_written_order(found.ports if found else (), order.source.dockerfile or "")
        tags, volumes = (found.env.get("CONSUL_TAGS", ""), found.volumes) if found else ("", ())
        build = replace(build, processes=processes, ports=ports, tags=tags, volumes=volumes)
        return replace(build, status=BuildStatus.SUCCEEDED, image=image)

    # --- buildpacks ---------------------------------------------------------------------------------------

    def _with_buildpacks(
        self, build: Build, order: Order, config: Mapping[str, str], context: Iterable[bytes], console: Console
    ) -> Build:
        stack = self._stack(config)
        job = self._job(build, order, config, stack, "buildpack")
        progress = Progress(console, self.ports.clock)
        session = order.session(build.id)
        try:
            with progress.beating("Building"):
                sources = self.submodules.beside(order, context)
                done = compiled(self.ports.sandbox, job, sources, session, console, order.cancelled)
        finally:
            session.close()
        spec = SlugSpec(build.app, image_tag(self.rules.instance, build.app, build.id), stack, slug_blob(build.id))
        spec = replace(spec, most=job.limits.disk, files=job.limits.files, name=order.app.name)
        with progress.step("image", "Making the image", "made"):
            image = self._composed(spec)
        return _built(build, done, image, stack)

    def _stack(self, config: Mapping[str, str]) -> str:
        name = config.get("STACK") or self.rules.stack
        try:
            return self.ports.stacks.current(name).id
        except NotFound:
            raise BuildFailed(
                f'cannot build: there is no stack "{name}"', hint=f"Ask the operator: octo stack:build {name}"
            ) from None

    def _composed(self, spec: SlugSpec) -> str:
        try:
            slug = self.ports.blobs.get(spec.slug)
        except NotFound:
            raise BuildFailed("cannot build: the slug did not arrive") from None
        return self.ports.builder.compose(spec, slug)

    def _job(self, build: Build, order: Order, config: Mapping[str, str], stack: str, mode: str) -> Job:
        rules, limits = self.rules, limits_for(self.rules.limits, order.app)
        header = {
            "mode": mode,
            "app": order.app.name,
            "commit": build.commit,
            "config": {k: v for k, v in config.items() if k not in CONTROL_KEYS},
            "buildpacks": list(buildpacks(config)),
            "submodules": self.submodules.listed(order),
            "fetch_seconds": rules.fetch,
            "compile_seconds": limits.seconds + 60,  # the sandbox's own clock strikes first, and says how to raise it
            "slug_mb": slug_limit(rules.slug, order.app) / MB,
            "cache_mb": rules.cache / MB,
            "stack": stack,
            "insecure_fetch": rules.plain,
        }
        return Job(build.id, build.app, order.app.name, header, limits, stack)


def _built(build: Build, done: Compiled, image: str, stack: str) -> Build:
    return replace(
        build,
        status=BuildStatus.SUCCEEDED,
        image=image,
        buildpack=done.buildpack,
        stack=stack,
        slug=done.slug.bytes,
        defaults=done.config,
        processes=dict(done.processes),
        ports=(DEFAULT_PORT,) if "web" in done.processes else (),
    )
