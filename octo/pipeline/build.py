"""Source to image, recorded as a Build with its whole output."""

import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from octo import procfile
from octo.catalog import Catalog
from octo.errors import BuildFailed, Cancelled, OctoError
from octo.model import App, Build, BuildStatus, UserName
from octo.pipeline.plan import image_tag, in_written_order
from octo.pipeline.progress import Progress
from octo.ports import BuildSpec, Console, Limits, Ports

TRUNCATED = b"       ... the rest of the output was not kept\n"


@dataclass(frozen=True)
class Source:
    """What the receiver says of the commit before it sends the files."""

    commit: str
    dockerfile: str | None  # the text of the regular file of that name at the top
    procfile: str | None


@dataclass(frozen=True)
class BuildLimits:
    limits: Limits
    output: int  # bytes
    instance: str


class Recorder:
    """A Console that passes on and keeps: `octo builds:output` shows what the pusher saw."""

    def __init__(self, console: Console, render: Callable[[Callable[[bytes], object]], Console], most: int) -> None:
        self._to, self._most = console, most
        self._kept = bytearray()
        self._record = render(self._keep)

    def step(self, text: str) -> None:
        self._to.step(text)
        self._record.step(text)

    def detail(self, text: str) -> None:
        self._to.detail(text)
        self._record.detail(text)

    def error(self, text: str) -> None:
        self._to.error(text)
        self._record.error(text)

    def result(self, text: str) -> None:
        self._to.result(text)
        self._record.result(text)

    def raw(self, data: bytes) -> None:
        self._to.raw(data)
        self._record.raw(data)

    def note(self, error: OctoError) -> None:
        """Keep why it ended; the pusher is told by who catches it."""
        self._record.error(error.message)

    def output(self) -> bytes:
        return bytes(self._kept)

    def _keep(self, data: bytes) -> None:
        if len(self._kept) < self._most:
            self._kept += data if len(self._kept) + len(data) < self._most else TRUNCATED.ljust(self._most)


@dataclass
class Builds:
    ports: Ports
    catalog: Catalog
    limits: BuildLimits
    render: Callable[[Callable[[bytes], object]], Console]  # how a console looks when it is kept
    _running: set[str] = field(default_factory=set)

    def build(
        self,
        app: App,
        source: Source,
        context: Iterable[bytes],
        *,
        user: UserName | None,
        console: Console,
        cancelled: Callable[[], bool],
    ) -> Build:
        """Make the image and return the finished Build. Raises BuildFailed or Cancelled; the record says so too."""
        now = self.ports.clock.now()
        build = Build(f"{int(now):08x}{secrets.token_hex(3)}", app.id, source.commit, user, now)
        recorder = Recorder(console, self.render, self.limits.output)
        self.catalog.save_build(build)
        try:
            build = self._make(app, build, source, context, recorder, cancelled)
        except OctoError as error:
            status = BuildStatus.ABANDONED if isinstance(error, Cancelled) else BuildStatus.FAILED
            recorder.note(error)
            build = replace(build, status=status, reason=error.message)
            raise
        finally:
            self.ports.blobs.put(f"builds/{app.id}/{build.id}", [recorder.output()])
            ended = replace(build, finished_at=self.ports.clock.now())
            self.catalog.save_build(ended)
        return ended

    def _make(
        self,
        app: App,
        build: Build,
        source: Source,
        context: Iterable[bytes],
        console: Console,
        cancelled: Callable[[], bool],
    ) -> Build:
        processes = processes_of(source)
        spec = BuildSpec(
            build.id, app.id, image_tag(self.limits.instance, app.id, build.id), self.limits.limits, self.limits.output
        )
        progress = Progress(console, self.ports.clock)
        with progress.step("build", "Building from Dockerfile", "built"):
            image = self.ports.builder.build(spec, context, console.raw, cancelled)
        found = self.ports.runtime.image(image)
        ports = in_written_order(found.ports if found else (), source.dockerfile or "")
        return replace(build, status=BuildStatus.SUCCEEDED, image=image, processes=processes, ports=ports)

    def output(self, build: Build) -> Iterator[bytes]:
        yield from self.ports.blobs.get(f"builds/{build.app}/{build.id}")


def processes_of(source: Source) -> dict[str, str | None]:
    """The process types: those of the Procfile, else `web` with the image's own command."""
    if source.dockerfile is None:
        raise BuildFailed(
            "There is no Dockerfile present.",
            hint="Add a file named Dockerfile at the top of the repository, and push.",
        )
    if source.procfile is None:
        return {"web": None}
    return dict(procfile.parse(source.procfile)) or {"web": None}
