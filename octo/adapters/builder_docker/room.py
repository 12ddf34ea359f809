"""The one disk of all Dockerfile builds: room is made for a build, and each is watched while it fills."""

import contextlib
import threading
from collections.abc import Iterator

from octo.adapters.builder_docker.caches import Caches
from octo.adapters.builder_docker.usage import Usage
from octo.buildengine.engine import BuildEngine
from octo.errors import Unavailable
from octo.images.watch import Watch
from octo.ports import BuildSpec
from octo.sandbox.cgroups import Group
from octo.specs import MB


class Room:
    def __init__(self, place: BuildEngine, caches: Caches) -> None:
        self._place, self._caches = place, caches
        self._lock = threading.Lock()
        self._running: list[Usage] = []

    def make(self, size: int) -> None:
        """See that a build may write so many bytes; the caches that were used longest ago go first."""
        if self._place.free() >= size:
            return
        with self._lock:
            for names in self._caches.oldest():
                for name in names:
                    self._caches.remove(name)
                if self._place.free() >= size:
                    return
            free = self._place.free()
        if free < size:
            have, need = f"{free // MB} MB", f"{size // MB} MB"
            raise Unavailable(
                f"cannot build: the disk of the build engine has {have} left, and a build may need {need}",
                hint="Push again when fewer builds run, or ask the operator to raise build_engine_disk_gb.",
            )

    @contextlib.contextmanager
    def watched(self, spec: BuildSpec, group: Group, watch: Watch) -> Iterator[Usage]:
        usage = Usage(self._place, group, spec.limits, *self._place.room())
        with self._lock:
            self._running.append(usage)
            if len(self._running) > 1:
                for each in self._running:
                    each.alone = False
        watch.look = usage.look
        try:
            yield usage
        finally:
            watch.look = lambda: None
            with self._lock:
                self._running.remove(usage)
