"""Builder on the Docker engine: its classic builder, or BuildKit through the docker command.

"auto" takes BuildKit only from engine 23 on and where the client has buildx: older ones lack the fixes of
CVE-2024-23651, -23652 and -23653. The classic builder holds a build to its memory (no swap), CPU share and open
files; BuildKit ignores all three (it would take them from a parent cgroup). Neither has a limit on processes.
Wall clock and output are held here for both, and the context is always a stream: a path would let
a symbolic link in it name a file of the host.
"""

import contextlib
import io
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from octo import process
from octo.buildlog import ClassicLog, Context, classic_failure, failed, plain, refused
from octo.buildwatch import LOST, LostLayer, Output, Replay, Watch, both_ends, feed, fill, kill, thread
from octo.engine import Engine
from octo.errors import BuildFailed, Conflict, OctoError, Unavailable
from octo.ports import BuildSpec

PERIOD = 100_000  # microseconds, of the CPU share
FILES = {"Name": "nofile", "Soft": 1024, "Hard": 4096}
CGROUPS = Path("/sys/fs/cgroup")
CHUNK = 64 * 1024  # bytes
TAIL = 4096  # bytes
TRIES = 3  # of a build whose shared layers the engine loses


class DockerBuilder:
    """`context` is read, and `cancelled` asked, in threads of the builder's own."""

    def __init__(self, engine: Engine, *, instance: str, mode: str, docker: str = "/usr/bin/docker") -> None:
        self._engine = engine
        self._instance = instance
        self._mode = mode
        self._docker = docker
        self._gate = threading.Lock()  # held while sweeping, and for a moment by a build that begins or ends
        self._active = 0
        self._parent = ""
        self._buildx: bool | None = None
        self._modern: bool | None = None

    def build(self, spec: BuildSpec, context: Iterable[bytes], output: Output, cancelled: Callable[[], bool]) -> str:
        watch = Watch(spec, output, cancelled)
        with self._counted():
            if self._buildkit():
                return self._with_buildkit(spec, Context(context), watch)
            return self._until_whole(spec, Replay(Context(context)), output, cancelled)

    def sweep(self) -> Sequence[str]:
        """Does nothing while a build runs: its containers are no left-overs."""
        with self._gate:
            if self._active:
                return ()
            found = (*self._sweep_containers(), *self._sweep_stages(), *self._sweep_homes())
            self._clear_cgroup()
            return found

    @contextlib.contextmanager
    def _counted(self) -> Iterator[None]:
        with self._gate:
            self._active += 1
        try:
            yield
        finally:
            with self._gate:
                self._active -= 1

    # --- the classic builder ------------------------------------------------------------------------------

    def _until_whole(self, spec: BuildSpec, replay: Replay, output: Output, cancelled: Callable[[], bool]) -> str:
        """Build, and build again when the engine lost a shared layer: it forgets what another build or a removed
        image also used while this one counts on it (moby keeps no reference to the parents of a running build)."""
        with replay:
            for tries_left in reversed(range(TRIES)):
                watch = Watch(spec, output, cancelled)
                try:
                    return self._with_classic(spec, replay, watch)
                except LostLayer as lost:
                    if not tries_left:
                        raise BuildFailed(lost.message, hint="Push again.") from None
                    output(b"... the engine lost a layer that other builds share; building again\n")
        raise AssertionError("BUG: no try left and no answer")

    def _with_classic(self, spec: BuildSpec, replay: Replay, watch: Watch) -> str:
        context = replay.context
        log, began = ClassicLog(), time.time()
        stream = self._engine.upload("build", query=self._limits(spec))
        error: OctoError | None = None
        with watch.over(stream.hang_up, stream.close):
            feeder = thread(feed, stream.send, replay, watch)
            try:
                stream.answer()
                for message in stream.lines():
                    watch.show(log.read(message))
            except OctoError as refusal:
                error = refusal
            finally:
                stream.close()
        feeder.join()
        if log.image and watch.verdict is None:
            self._keep_stages(spec, log, began)
            return log.image
        if watch.verdict is None and LOST.search(log.error or (error.message if error else "")):
            raise LostLayer(f"cannot build the image: {log.error or (error and error.message)}")
        starved = watch.verdict is None and bool(log.error) and self._starved(log, began)
        self._discard(spec, log, began)
        raise watch.verdict or _classic_verdict(spec, context, log, error, starved=starved)

    def _limits(self, spec: BuildSpec) -> Mapping[str, object]:
        return {
            "t": spec.tag,
            "rm": True,
            "forcerm": True,
            "memory": spec.limits.memory,
            "memswap": spec.limits.memory,
            "cpuperiod": PERIOD,
            "cpuquota": int(spec.limits.cpus * PERIOD),
            "ulimits": [FILES],
            "cgroupparent": self._cgroup(),
        }

    def _cgroup(self) -> str:
        """The parent cgroup of this octo's builds: the only mark that the builder puts on its containers."""
        if not self._parent:
            systemd = self._engine.get("info").get("CgroupDriver") == "systemd"
            name = self._instance
            self._parent = f"{name.replace('-', '_')}_build.slice" if systemd else f"/{name}-build"
        return self._parent

    def _starved(self, log: ClassicLog, began: float) -> bool:
        """Whether the kernel killed a process of this build; the exit code may be that of a parent that lived on."""
        filters = {"type": ["container"], "event": ["oom"]}
        query = {"since": f"{began:.6f}", "until": f"{time.time():.6f}", "filters": filters}
        with contextlib.suppress(OctoError), contextlib.closing(self._engine.stream("GET", "events", query=query)) as s:
            return any(e["Actor"]["ID"][:12] in log.containers for e in s.lines())
        return False

    def _leaves(self, log: ClassicLog, began: float) -> Iterator[tuple[str, int]]:
        """Unnamed images without children that this build made, each with its stage."""
        for image in self._engine.get("images", "json", query={"filters": {"dangling": ["true"]}}):
            short = image["Id"].removeprefix("sha256:")[:12]
            if short in log.made and image["Created"] >= int(began):
                yield image["Id"], log.made[short]

    def _discard(self, spec: BuildSpec, log: ClassicLog, began: float) -> None:
        with contextlib.suppress(OctoError):  # what failed matters more; an engine that is away has nothing to remove
            if log.image:
                self._remove_image(spec.tag)
            for image, _ in self._leaves(log, began):
                self._remove_image(image)

    def _keep_stages(self, spec: BuildSpec, log: ClassicLog, began: float) -> None:
        """Name the last image of each earlier stage: it is the next build's cache, and the one before it goes."""
        with contextlib.suppress(OctoError):
            for image, stage in self._leaves(log, began):
                repository, tag = self._stages + _repository(spec.tag), f"{spec.app}-{stage}"
                old = self._engine.find("images", f"{repository}:{tag}", "json")
                self._engine.post("images", image, "tag", query={"repo": repository, "tag": tag})
                if old:
                    self._remove_image(old["Id"])

    def _remove_image(self, ref: str) -> None:
        with contextlib.suppress(Conflict):
            self._engine.delete("images", ref)

    @property
    def _stages(self) -> str:
        return f"{self._instance}-stages/"

    # --- BuildKit -----------------------------------------------------------------------------------------

    def _buildkit(self) -> bool:
        """Decided once: asking the engine each time costs 10 ms of a build."""
        if self._modern is None:
            self._modern = self._mode == "buildkit" or (
                self._mode == "auto" and self._engine.version() >= (23,) and self._has_buildx()
            )
        return self._modern

    def _has_buildx(self) -> bool:
        if self._buildx is None:
            self._buildx = (
                os.access(self._docker, os.X_OK) and not process.run([self._docker, "buildx", "version"]).code
            )
        return self._buildx

    def _with_buildkit(self, spec: BuildSpec, context: Context, watch: Watch) -> str:
        with tempfile.TemporaryDirectory(prefix=self._home) as home:
            code, tail = self._command(spec, home, context, watch)
        found = self._engine.find("images", spec.tag, "json")
        if found and code == 0 and watch.verdict is None:
            return str(found["Id"])
        if found:
            self._remove_image(spec.tag)
        if watch.verdict:
            raise watch.verdict
        last = next((line for line in reversed(tail.splitlines()) if line.strip()), "it ended without a word")
        raise failed(plain(last)) if context.dockerfile else refused(context, last)

    def _command(self, spec: BuildSpec, home: str, context: Context, watch: Watch) -> tuple[int, str]:
        """Run the docker command; returns its exit code and the end of its output."""
        program, pipe, output = self._spawn(spec, home)
        tail = b""
        with output, watch.over(lambda: kill(program), lambda: kill(program)):
            thread(fill, pipe, context, watch, program)
            while data := output.read(CHUNK):
                tail = (tail + data)[-TAIL:]
                watch.show(data)
            code = program.wait()
        return code, tail.decode("utf-8", "replace")

    def _spawn(self, spec: BuildSpec, home: str) -> tuple[process.Program, io.FileIO, io.FileIO]:
        build = ["buildx", "build", "--load"] if self._has_buildx() else ["build"]
        # The command dies with octod: a build that nobody holds to its limits must not go on.
        argv = ["/usr/bin/setpriv", "--pdeathsig", "KILL", "--", self._docker, *build, "--progress=plain"]
        env = {"DOCKER_HOST": f"unix://{self._engine.socket}", "DOCKER_BUILDKIT": "1", "HOME": home}
        with contextlib.ExitStack() as stack:
            stdin, pipe, output, stdout = (stack.enter_context(f) for f in (*both_ends(), *both_ends()))
            program = process.spawn(
                [*argv, f"--tag={spec.tag}", "-"],
                env=env,
                stdin=stdin.fileno(),
                stdout=stdout.fileno(),
                stderr=stdout.fileno(),
            )
            stack.pop_all()
        stdin.close()
        stdout.close()
        return program, pipe, output

    # --- left-overs ---------------------------------------------------------------------------------------

    @property
    def _home(self) -> str:
        return f"{self._instance}-build-"

    def _sweep_containers(self) -> Iterator[str]:
        for each in self._engine.get("containers", "json", query={"all": True}):
            found = self._engine.find("containers", each["Id"], "json")
            if found and found["HostConfig"].get("CgroupParent") == self._cgroup():
                self._engine.delete("containers", found["Id"], query={"force": True, "v": True})
                yield f"container {found['Id'][:12]}"

    def _sweep_stages(self) -> Iterator[str]:
        """Stages whose app has no image left."""
        tags = [t for i in self._engine.get("images", "json") for t in i.get("RepoTags") or ()]
        repositories = {_repository(t) for t in tags}
        for tag in tags:
            if tag.startswith(self._stages) and _repository(tag).removeprefix(self._stages) not in repositories:
                self._remove_image(tag)
                yield f"image {tag}"

    def _sweep_homes(self) -> Iterator[str]:
        for path in Path(tempfile.gettempdir()).glob(self._home + "*"):
            if path.lstat().st_uid == os.getuid() and path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
                yield f"folder {path}"

    def _clear_cgroup(self) -> None:
        """The engine leaves the empty parent cgroup behind; the next build makes it again."""
        if self._cgroup().startswith("/"):
            name = self._cgroup().removeprefix("/")
            for path in (CGROUPS / name, *CGROUPS.glob(f"*/{name}")):  # version 2, or each controller of version 1
                with contextlib.suppress(OSError):
                    path.rmdir()


def _repository(tag: str) -> str:
    return tag.rpartition(":")[0]


def _classic_verdict(
    spec: BuildSpec, context: Context, log: ClassicLog, error: OctoError | None, *, starved: bool
) -> OctoError:
    if isinstance(error, Unavailable):
        return error
    if error:
        return refused(context, error.message)
    if log.error:
        return classic_failure(log, spec.limits, starved=starved)
    return Unavailable("cannot finish the build: the Docker engine hung up in the middle of it")
