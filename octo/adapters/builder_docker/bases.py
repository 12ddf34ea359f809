"""The images that Dockerfiles begin from: the operator's own are brought from the main engine, others are fetched.

An app's image is never brought, whoever names it.
"""

import contextlib
import threading
from collections.abc import Callable, Sequence

from octo.buildengine.engine import BuildEngine
from octo.engine import Engine
from octo.errors import NotFound, OctoError, Unavailable
from octo.images.dockerfile import check_triggers, repository
from octo.images.layers import Store, base_layer, hand_over
from octo.images.log import ClassicLog, failed, no_base
from octo.images.watch import Watch
from octo.model import shown

SEEN = "octo-base"  # names a copy after its original, whose id may be another kind of digest there


class Bases:
    """listed: repositories, or full names, that the operator lets Dockerfiles use."""

    def __init__(self, main: Engine, place: BuildEngine, instance: str, listed: Sequence[str]) -> None:
        self._main, self._place, self._instance = main, place, instance
        self._listed = frozenset(listed)
        self._lock = threading.Lock()

    def bring(self, images: Sequence[str], show: Callable[[bytes], None]) -> Sequence[str]:
        """Bring those that the operator lets Dockerfiles use; return the others. Raises BuildFailed for an app's."""
        rest = []
        for image in images:
            listed = repository(image) in self._listed or image in self._listed
            found = self._main.find("images", image, "json") if listed else None
            if found:
                self._copy(image, found["Id"], show)
            else:
                self._refuse_apps(image)
                rest.append(image)
        return rest

    def fetch(self, images: Sequence[str], watch: Watch) -> None:
        """Fetch what is not there, and see that it does not make a build take files from elsewhere."""
        for image in images:
            if self._place.engine.find("images", image, "json") is None:
                self._pull(image, watch)
            config = self._place.engine.get("images", image, "json")["Config"] or {}
            check_triggers(config.get("OnBuild") or (), image)

    def usual(self) -> Sequence[str]:
        """The names by which most Dockerfiles ask for them."""
        return [name if ":" in name.rpartition("/")[2] else f"{name}:latest" for name in sorted(self._listed)]

    def _refuse_apps(self, image: str) -> None:
        name = repository(image)
        if name.startswith((f"{self._instance}/", f"{self._instance}-cache/")) and name not in self._listed:
            raise failed(
                f"{shown(image)} belongs to an app of this server, and no build sees another app's files",
                hint=f"Begin from another image, as {', '.join(sorted(self._listed)) or 'one of a registry'}.",
            )

    def _copy(self, image: str, id: str, show: Callable[[bytes], None]) -> None:
        engine, seen = self._place.engine, f"{SEEN}:{id.removeprefix('sha256:')[:32]}"
        with self._lock:
            there, copy = engine.find("images", image, "json"), engine.find("images", seen, "json")
            if there and copy and there["Id"] == copy["Id"]:
                return
            show(f"Taking {image} over from this server\n".encode())
            name, _, tag = image.rpartition(":")
            theirs, ours = Store.of(self._main), self._place.store()
            with base_layer(id, f"{SEEN}:arriving-{self._instance}", theirs, engine, ours):
                new = hand_over(id, image, image, self._main, theirs, engine, ours)
            engine.post("images", new, "tag", query={"repo": SEEN, "tag": seen.partition(":")[2]})
            engine.post("images", new, "tag", query={"repo": name, "tag": tag})
            if there and there["Id"] != new:
                self._drop(there["Id"])

    def _drop(self, old: str) -> None:
        """The version before: it stays as long as an app's cache lies on it."""
        found = self._place.engine.find("images", old, "json") or {}
        for tag in found.get("RepoTags") or ():
            if tag.startswith(f"{SEEN}:"):
                with contextlib.suppress(OctoError):
                    self._place.engine.delete("images", tag)

    def _pull(self, image: str, watch: Watch) -> None:
        name, _, digest = image.partition("@")
        name, tag = (name, digest) if digest else (image.rpartition(":")[0], image.rpartition(":")[2])
        log = ClassicLog()
        try:
            stream = self._place.engine.stream("POST", "images", "create", query={"fromImage": name, "tag": tag})
            with watch.over(stream.close, stream.close):
                for message in stream.lines():
                    watch.show(log.read(message))
        except Unavailable:
            raise
        except OctoError as error:
            if watch.verdict is None:
                raise no_base(image, error.message) from None
        watch.check()
        if log.error:
            raise no_base(image, log.error)
        if self._place.engine.find("images", image, "json") is None:
            raise NotFound(f"cannot build the image: {shown(image)} did not arrive")
