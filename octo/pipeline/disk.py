"""Before a disk is full: a push is refused with figures, and what nothing needs any more goes."""

import logging
import re
from collections.abc import Iterable, Sequence

from octo.catalog import Catalog
from octo.disk import Disks, Room
from octo.errors import Full
from octo.model import Build, BuildStatus
from octo.pipeline.plan import image_tag
from octo.ports import Ports
from octo.specs import GB, MB

log = logging.getLogger(__name__)

FILES = 20_000  # that must be possible still: an image's layers are unpacked file by file

_APP, _BUILD = r"(?P<app>[0-9a-f]{12})", r"(?P<build>[0-9a-f]{14})"
# What octo makes among the blobs, by its exact name. Anything else there is somebody else's.
_LOG = re.compile(rf"builds/{_APP}/{_BUILD}")
_SLUG = re.compile(rf"slugs/{_BUILD}\.tgz")
_OF_APP = re.compile(rf"(?:caches|repos)/{_APP}\.(?:tgz|bundle)")


class DiskGuard:
    """least: bytes that must be free."""

    def __init__(self, disks: Disks, least: int) -> None:
        self._disks, self._least = disks, least

    def check(self, what: str) -> None:
        """Raises Full when too little is free to begin. what: as in "take the push"."""
        for room in self._disks.rooms():
            short = lacking(room, self._least)
            if short:
                raise Full(f"cannot {what}: {short}", hint="Ask the operator: octo disk shows what takes the room.")


def lacking(room: Room, least: int) -> str:
    """What a file system lacks, with figures; "" when there is enough."""
    if room.free < least:
        return f"{megabytes(room.free)} are free on {room.path}, {megabytes(least)} are needed"
    if room.files is not None and room.files < FILES:
        return f"{room.files} files can still be made on {room.path}, {FILES} are needed"
    return ""


def megabytes(number: float) -> str:
    return f"{number / MB:.0f} MB" if number < 10 * GB else f"{number / GB:.1f} GB"


def unneeded(names: Iterable[str], apps: Iterable[str], builds: Iterable[Build]) -> list[str]:
    """Blobs of octo's own making that no app and no build needs any more.

    A build's record is there before its first blob, so `names` must be older than the other two.
    """
    known, at_hand = set(apps), list(builds)
    recorded, kept = {b.id for b in at_hand}, {b.id for b in at_hand if _kept(b)}

    def needed(name: str) -> bool:
        if found := _LOG.fullmatch(name):
            return found["app"] in known and found["build"] in recorded
        if found := _SLUG.fullmatch(name):
            return found["build"] in kept
        found = _OF_APP.fullmatch(name)
        return not found or found["app"] in known

    return [name for name in names if not needed(name)]


def untaggable(tags: Iterable[str], instance: str, apps: Iterable[str], builds: Iterable[Build]) -> list[str]:
    """Names of images, exactly as this octo gives them, that no build needs any more. As for `unneeded`."""
    ours = re.compile(rf"{re.escape(instance)}/{_APP}:{_BUILD}")
    kept = {image_tag(instance, b.app, b.id) for b in builds if _kept(b)}
    known = set(apps)
    return [t for t in tags if (m := ours.fullmatch(t)) and (m["app"] not in known or t not in kept)]


def _kept(build: Build) -> bool:
    return bool(build.image) or build.status is BuildStatus.RUNNING


class Pruner:
    def __init__(self, ports: Ports, catalog: Catalog, disks: Disks, instance: str) -> None:
        self._ports, self._catalog, self._disks, self._instance = ports, catalog, disks, instance

    def tags(self) -> Sequence[str]:
        """Names of this octo's images of apps."""
        return sorted(tag for tag in self._disks.tags() if tag.startswith(f"{self._instance}/"))

    def sweep(self) -> Sequence[str]:
        """Remove what a crash, or an app that was destroyed, has left; returns the names."""
        names, tags = self._ports.blobs.list(""), self._disks.tags()
        apps = self._catalog.apps()
        builds = [b for app in apps for b in self._catalog.builds(app)]
        ids = [app.id for app in apps]
        blobs, images = unneeded(names, ids, builds), untaggable(tags, self._instance, ids, builds)
        for name in blobs:
            self._ports.blobs.delete(name)
        for tag in images:
            self._ports.runtime.untag(tag)
        gone = [*blobs, *images]
        for name in gone:
            log.warning("removed %s, which nothing needed any more", name)
        return gone
