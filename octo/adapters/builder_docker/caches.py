"""What the build engine keeps of each app for its next build.

The engine reuses a layer for whoever does the same on the same image. So each app has images of its own to begin from:
of the same layers, but of other ids, as their descriptions differ by one word. Their names, and those of what is built
on them, hold a secret: no Dockerfile can name another app's. BuildKit's cache is told apart by the same secret.
"""

import calendar
import contextlib
import hashlib
import hmac
import json
import os
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from octo.buildengine.engine import BuildEngine
from octo.engine import Engine
from octo.errors import OctoError, Unavailable
from octo.images.layers import Layer, archive, load
from octo.ports import BuildSpec

LAST = "last"  # tag of the last image
SCRATCH = "scratch"  # the engine's word for no image at all: that one, too, must be the app's own
ZEROS = bytes(1024)  # an empty tar
NOTHING = "sha256:" + hashlib.sha256(ZEROS).hexdigest()
MACHINE = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
EMPTY: Mapping[str, Any] = {
    "architecture": MACHINE,
    "os": "linux",
    "config": {},
    "rootfs": {"type": "layers", "diff_ids": [NOTHING]},
    "history": [{"created_by": "octo"}],
}


class Caches:
    def __init__(self, place: BuildEngine, instance: str) -> None:
        self._place, self._engine, self._instance = place, place.engine, instance
        self._key = b""

    def secret(self, app: str, what: str = "") -> str:
        """Something that is the app's alone, and that nobody can guess."""
        return hmac.digest(self._secret(), f"{self._instance}/{app}/{what}".encode(), "sha256").hex()[:32]

    def repository(self, app: str) -> str:
        return f"{self._instance}-cache/{self.secret(app)}"

    def names(self, app: str) -> Sequence[str]:
        query = {"filters": {"reference": [self.repository(app)]}}
        return sorted(t for i in self._engine.get("images", "json", query=query) for t in i.get("RepoTags") or ())

    def own(self, app: str, bases: Sequence[str]) -> Mapping[str, str]:
        """What the app calls its own images of these, which the engine has."""
        store, names = self._place.store(), {}
        if store is None:
            raise Unavailable("cannot build: the build engine keeps its images in a way that is not known")
        for base in bases:
            id = "" if base == SCRATCH else str(self._engine.get("images", base, "json")["Id"])
            name = names[base] = f"{self.repository(app)}:from-{_short(id) or SCRATCH}"
            if self._engine.find("images", name, "json") is None:
                about: dict[str, Any] = json.loads(store.config(id)) if id else dict(EMPTY)
                config = json.dumps(about | {"comment": self.secret(app, "from")}).encode()
                layers = {} if id else {NOTHING: Layer(len(ZEROS), lambda: [ZEROS])}
                load(self._engine, archive(config, [name], about["rootfs"]["diff_ids"], layers))
        for name in self.names(app):
            if ":from-" in name and name not in names.values():
                self.remove(name)
        return names

    @contextlib.contextmanager
    def writing(self, spec: BuildSpec) -> Iterator[str]:
        """The name that the new image has while it is made; it is the app's cache when all went well."""
        name = f"{self.repository(spec.app)}:build-{spec.id}"
        try:
            yield name
            self.put(spec.app, name, LAST)
        finally:
            self.remove(name)

    def put(self, app: str, image: str, tag: str) -> None:
        """Give an image one of the app's names; the one that had it goes, unless something needs it."""
        repository = self.repository(app)
        old = self._engine.find("images", f"{repository}:{tag}", "json")
        self._engine.post("images", image, "tag", query={"repo": repository, "tag": tag})
        if old and not (self._engine.find("images", old["Id"], "json") or {}).get("RepoTags"):
            self.remove(old["Id"])

    def stages(self, app: str, made: Mapping[str, int], stages: int) -> None:
        """Name the last image of each earlier stage: it is the next build's cache, and the one before it goes.

        made: short id -> stage, as the build's own lines say; it names none but the app's.
        """
        with contextlib.suppress(OctoError):
            for image in self._leaves(self.repository(app)):
                if _short(image) in made:
                    self.put(app, image, f"stage-{made[_short(image)]}")
            for name in self.names(app):
                number = name.rpartition(":stage-")[2]
                if number.isdecimal() and int(number) > stages:
                    self.remove(name)
            self.discard(app)

    def discard(self, app: str) -> None:
        """Remove what has no name: what a build left that failed."""
        with contextlib.suppress(OctoError):  # an engine that is away has nothing to remove
            for image in self._leaves(self.repository(app)):
                self.remove(image)

    def made(self, app: str, since: float) -> int:
        """Bytes of all layers that were made on the app's own images since then."""
        found = self._family(self.repository(app))
        return sum(size for size, created in found.values() if created >= int(since))

    def _family(self, repository: str) -> Mapping[str, tuple[int, int]]:
        """All that was ever built on these images, and is still there: id -> bytes of its own layer, when."""
        found = {str(i["Id"]): i for i in self._engine.get("images", "json", query={"all": True})}
        named = f"{repository}:from-"
        family = {id for id, i in found.items() if any(t.startswith(named) for t in i.get("RepoTags") or ())}
        roots, size = set(family), -1
        while size < len(family):  # until no image is added whose parent is in it
            size = len(family)
            family |= {id for id, i in found.items() if i.get("ParentId") in family}
        below = {id: found[found[id]["ParentId"]]["Size"] for id in family - roots}
        return {id: (found[id]["Size"] - size, found[id]["Created"]) for id, size in below.items()}

    def _leaves(self, repository: str) -> Sequence[str]:
        """Unnamed images without children."""
        dangling = self._engine.get("images", "json", query={"filters": {"dangling": ["true"]}})
        family = self._family(repository) if dangling else {}
        return [i["Id"] for i in dangling if i["Id"] in family]

    def forget(self, app: str, records: Sequence[str]) -> bool:
        """Remove all that is the app's; whether nothing is left. records: as of BuildKit."""
        names = self.names(app)
        for name in names:
            if ":from-" not in name:  # by these its layers are known
                self.remove(name)
        before: set[str] = set()
        while (leaves := set(self._leaves(self.repository(app)))) != before:
            before = leaves
            for image in leaves:
                self.remove(image)
        if not leaves:
            self._prune(records)
            for name in names:
                self.remove(name)
        return not self.names(app)

    def records(self, since: float) -> Sequence[str]:
        """BuildKit's records that were made since then, in seconds since the epoch."""
        found = self._engine.get("system", "df", query={"type": "build-cache"}).get("BuildCache") or ()
        return [str(r["ID"]) for r in found if _seconds(r["CreatedAt"]) >= since]

    def _prune(self, records: Sequence[str]) -> None:
        """Remove records, the last of each chain first. One that others have built on is theirs by now, and stays."""
        left, gone = set(records) & set(self.records(0) if records else ()), True
        while left and gone:
            gone = False
            for record in sorted(left):
                query = {"all": True, "filters": {"id": [f"^{record}$"]}}
                gone = bool(self._engine.post("build", "prune", query=query)["CachesDeleted"]) or gone
            left &= set(self.records(0))

    def remove(self, ref: str) -> None:
        with contextlib.suppress(OctoError):
            self._engine.delete("images", ref)

    def oldest(self) -> Iterator[Sequence[str]]:
        """The names of what can go, used longest ago first: the cache of an app, or an image that was fetched."""
        with contextlib.suppress(OctoError):
            self._engine.post("build", "prune", query={"all": True})
        images = [i for i in self._engine.get("images", "json") if i.get("RepoTags")]
        dated = [(self._used(i["Id"]), i["RepoTags"]) for i in images]
        yield from (tags for _, tags in sorted(dated))

    def sweep(self, main: Engine) -> Iterator[str]:
        """Remove what interrupted builds left, and the caches of apps that have no image in the main engine."""
        tags = [t for i in main.get("images", "json") for t in i.get("RepoTags") or ()]
        mine = [t for t in tags if t.startswith(f"{self._instance}/")]
        alive = {self.repository(t.removeprefix(f"{self._instance}/").rpartition(":")[0]) for t in mine}
        names = [t for i in self._engine.get("images", "json") for t in i.get("RepoTags") or ()]
        caches = sorted(n for n in names if n.startswith(f"{self._instance}-cache/"))
        for repository in {n.rpartition(":")[0] for n in caches}:
            for image in self._leaves(repository):
                self.remove(image)
                yield f"image {_short(image)}"
        for name in caches:
            if name.rpartition(":")[0] not in alive:
                self.remove(name)
                yield f"image {name}"

    def _used(self, image: str) -> str:
        """When it was named last, which each build does; a time that sorts as text."""
        found = self._engine.find("images", image, "json") or {}
        return str((found.get("Metadata") or {}).get("LastTagTime") or "")

    def _secret(self) -> bytes:
        file = self._place.folder / "secret"
        if not self._key:
            self._place.folder.mkdir(mode=0o711, parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                fresh = file.with_name(f"secret-{os.getpid()}")
                fresh.touch(mode=0o600)
                fresh.write_bytes(secrets.token_bytes(32))
                try:
                    os.link(fresh, file)  # whole, and the first one wins
                finally:
                    fresh.unlink()
            self._key = file.read_bytes()
        return self._key


def _seconds(stamp: str) -> float:
    """Since the epoch, of "2026-11-21T16:03:14.482441914Z"."""
    whole = calendar.timegm(time.strptime(stamp[:19], "%Y-%m-%dT%H:%M:%S"))
    return whole + float("0" + stamp[19:].rstrip("Z"))


def _short(id: str) -> str:
    return id.removeprefix("sha256:")[:12]
