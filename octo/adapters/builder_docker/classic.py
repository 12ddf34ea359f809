"""The engine's classic builder."""

import contextlib
import time
from collections.abc import Mapping
from typing import Any

from octo.adapters.builder_docker.caches import Caches
from octo.adapters.builder_docker.parts import Job, LostLayer, Squeezed
from octo.engine import Engine
from octo.errors import OctoError, Unavailable
from octo.images.context import NAME
from octo.images.log import ClassicLog, classic_failure, refused
from octo.images.watch import LOST, feed, thread
from octo.ports import Strike

PERIOD = 100_000  # microseconds, of the CPU share
FILES = 1024  # open at once, as most systems have it; a process may raise it to the limit


class Classic:
    def __init__(self, engine: Engine, caches: Caches) -> None:
        self._engine, self._caches = engine, caches

    def run(self, job: Job, name: str) -> str:
        """Build an image of that name; return its id. Raises what ended it; then nothing of it is left."""
        log, began = ClassicLog(), time.time()
        job.use.layers = lambda: self._caches.made(job.spec.app, began)
        stream = self._engine.upload("build", query=self._query(job, name))
        error: OctoError | None = None
        with job.watch.over(stream.hang_up, stream.close):
            feeder = thread(feed, stream.send, job.files(), job.watch)
            try:
                stream.answer()
                for message in stream.lines():
                    job.watch.show(log.read(_in_their_words(job, name, message)))
            except OctoError as refusal:
                error = refusal
            finally:
                stream.close()
        feeder.join()
        if log.image and job.watch.verdict is None:
            if log.made:  # else all of it was there
                self._caches.stages(job.spec.app, log.made, log.stage)
            return log.image
        self._clear(job, log)
        raise job.watch.verdict or self._verdict(job, log, error, began)

    def _query(self, job: Job, name: str) -> Mapping[str, object]:
        limits = job.spec.limits
        hard = max(FILES, limits.open_files)
        return {
            "t": name,
            "dockerfile": job.dockerfile,
            "rm": True,
            "forcerm": True,
            "memory": limits.memory,
            "memswap": limits.memory,
            "cpuperiod": PERIOD,
            "cpuquota": int(limits.cpus * PERIOD),
            "ulimits": [{"Name": "nofile", "Soft": min(FILES, limits.open_files), "Hard": hard}],
            "cgroupparent": job.group,
            "buildargs": dict(job.spec.args),
        }

    def _clear(self, job: Job, log: ClassicLog) -> None:
        """Leave nothing: containers that still run hold what they wrote."""
        with contextlib.suppress(OctoError):
            for short in log.containers:
                found = self._engine.find("containers", short, "json")
                if found and found["HostConfig"].get("CgroupParent") == job.group:
                    self._engine.remove_container(found["Id"])
        self._caches.discard(job.spec.app)

    def _verdict(self, job: Job, log: ClassicLog, error: OctoError | None, began: float) -> OctoError:
        words = log.error or (error.message if error else "")
        if LOST.search(words):
            return LostLayer(f"cannot build the image: {words}", hint="the engine lost a layer that other builds share")
        if job.use.squeezed and not job.use.full:
            return Squeezed(f"cannot build the image: {words}", hint="other builds had filled the disk")
        if isinstance(error, Unavailable):
            return error
        if error:
            return refused(error.message.replace(f"({job.dockerfile})", f"({NAME})"))
        if not log.error:
            return Unavailable("cannot finish the build: the Docker engine hung up in the middle of it")
        return classic_failure(log, job.spec, self._strike(job, log, began))

    def _strike(self, job: Job, log: ClassicLog, began: float) -> Strike | None:
        return job.use.strike(killed=log.code == 137) or (Strike.MEMORY if self._starved(log, began) else None)

    def _starved(self, log: ClassicLog, began: float) -> bool:
        """Whether the kernel killed a process of this build; the exit code may be that of a parent that lived on."""
        filters = {"type": ["container"], "event": ["oom"]}
        query = {"since": f"{began:.6f}", "until": f"{time.time():.6f}", "filters": filters}
        with contextlib.suppress(OctoError), contextlib.closing(self._engine.stream("GET", "events", query=query)) as s:
            return any(e["Actor"]["ID"][:12] in log.containers for e in s.lines())
        return False


def _in_their_words(job: Job, name: str, message: Mapping[str, Any]) -> Mapping[str, Any]:
    """The images' names as the Dockerfile and the pusher have them: octo's own hold the app's secret."""
    text = message.get("stream")
    if not isinstance(text, str) or not text.startswith(("Step ", "Successfully tagged ")):
        return message
    for theirs, own in (*job.names.items(), (job.spec.tag, name)):
        text = text.replace(own, theirs)
    return {"stream": text}
