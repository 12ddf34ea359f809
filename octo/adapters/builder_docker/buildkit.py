"""BuildKit, through the docker command and its buildx."""

import contextlib
import io
import os
import tempfile
from collections.abc import Mapping, Sequence

from octo import process
from octo.adapters.builder_docker.caches import Caches
from octo.adapters.builder_docker.parts import CHUNK, Job, Squeezed
from octo.engine import Engine
from octo.images.log import failed, plain, struck
from octo.images.watch import both_ends, fill, kill, thread

TAIL = 4096  # bytes


class Modern:
    def __init__(self, engine: Engine, caches: Caches, instance: str, docker: str) -> None:
        self._engine, self._caches, self._docker = engine, caches, docker
        self.homes = f"{instance}-build-"  # how the names of its temporary folders begin
        self._buildx: bool | None = None

    def has_buildx(self) -> bool:
        if self._buildx is None:
            self._buildx = (
                os.access(self._docker, os.X_OK) and not process.run([self._docker, "buildx", "version"]).code
            )
        return self._buildx

    def run(self, job: Job, name: str) -> str:
        """Build an image of that name; return its id. Raises what ended it; then nothing of it is left."""
        with tempfile.TemporaryDirectory(prefix=self.homes) as home:
            code, tail = self._command(job, name, home)
        found = self._engine.find("images", name, "json")
        if found and code == 0 and job.watch.verdict is None:
            return str(found["Id"])
        if found:
            self._caches.remove(name)
        if job.watch.verdict:
            raise job.watch.verdict
        if job.use.squeezed and not job.use.full:
            raise Squeezed("cannot build the image: no space left", hint="other builds had filled the disk")
        last = next((line for line in reversed(tail.splitlines()) if line.strip()), "it ended without a word")
        strike = job.use.strike(killed="exit code: 137" in last)
        raise struck(strike, job.spec, plain(last) + ":") if strike else failed(plain(last))

    def _command(self, job: Job, name: str, home: str) -> tuple[int, str]:
        """Run the docker command; returns its exit code and the end of its output."""
        program, pipe, output = self._spawn(job, name, home)
        tail = b""
        with output, job.watch.over(lambda: kill(program), lambda: kill(program)):
            thread(fill, pipe, job.files(), job.watch, program)
            while data := output.read(CHUNK):
                data = data.replace(name.encode(), job.spec.tag.encode())  # octo's own name holds the app's secret
                tail = (tail + data)[-TAIL:]
                job.watch.show(data)
            code = program.wait()
        return code, tail.decode("utf-8", "replace")

    def _spawn(self, job: Job, name: str, home: str) -> tuple[process.Program, io.FileIO, io.FileIO]:
        # The command dies with octod: a build that nobody holds to its limits must not go on.
        argv = ["/usr/bin/setpriv", "--pdeathsig", "KILL", "--", self._docker, *self._words(job, name)]
        env = {"DOCKER_HOST": f"unix://{self._engine.socket}", "DOCKER_BUILDKIT": "1", "HOME": home}
        with contextlib.ExitStack() as stack:
            stdin, pipe, output, stdout = (stack.enter_context(f) for f in (*both_ends(), *both_ends()))
            program = process.spawn(
                argv,
                env={**self._args(job), **env},
                stdin=stdin.fileno(),
                stdout=stdout.fileno(),
                stderr=stdout.fileno(),
            )
            stack.pop_all()
        stdin.close()
        stdout.close()
        return program, pipe, output

    def _words(self, job: Job, name: str) -> Sequence[str]:
        limits = job.spec.limits
        return [
            *(["buildx", "build", "--load"] if self.has_buildx() else ["build"]),
            "--progress=plain",
            f"--tag={name}",
            f"--cgroup-parent={job.group}",
            f"--ulimit=nofile={min(1024, limits.open_files)}:{max(1024, limits.open_files)}",
            *(
                f"--build-arg={key}" for key in self._args(job)
            ),  # their values come by the environment: `ps` shows words
            "-",
        ]

    def _args(self, job: Job) -> Mapping[str, str]:
        """The engine's caches are all builds' together: names in them are made the app's own.

        RUN --mount=type=cache has the first in front of its id; a step's result is kept under a digest that holds the
        host name. Source: BuildKit, "BuildKit built-in build args".
        """
        return {
            **{k: v for k, v in job.spec.args.items() if not k.startswith("BUILDKIT_")},
            "BUILDKIT_CACHE_MOUNT_NS": self._caches.secret(job.spec.app, f"mounts/{job.word}"),
            "BUILDKIT_SANDBOX_HOSTNAME": self._caches.secret(job.spec.app, f"host/{job.word}"),
        }
