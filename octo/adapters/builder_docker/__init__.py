"""Builder on Docker: Dockerfiles in an engine apart (octo/buildengine/engine.py), slugs as one layer on a stack.

"auto" takes BuildKit only from engine 26 on and where the client has buildx: older ones lack the fixes of
CVE-2024-23651, -23652 and -23653, and in an engine with users of its own they leave what COPY takes out of the image
(moby/buildkit 4708). Every build runs in a control group of octo's own, which holds it to memory, processor and
processes, whichever builder it is; wall clock, output and disk are held here. The files are always a stream: a path
would let a symbolic link in it name a file of the host.
"""

import contextlib
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from octo.adapters.builder_docker.bases import Bases
from octo.adapters.builder_docker.buildkit import Modern
from octo.adapters.builder_docker.caches import Caches
from octo.adapters.builder_docker.classic import Classic
from octo.adapters.builder_docker.kept import Kept
from octo.adapters.builder_docker.parts import Job, LostLayer, Squeezed
from octo.adapters.builder_docker.room import Room
from octo.adapters.builder_docker.slugs import Slugs
from octo.buildengine.engine import GROUP, BuildEngine
from octo.engine import Engine
from octo.errors import BuildFailed, Unavailable
from octo.images import dockerfile
from octo.images.context import NAME, Files
from octo.images.dockerfile import Recipe
from octo.images.layers import Store, hand_over
from octo.images.log import failed, struck
from octo.images.watch import Output, Watch
from octo.ports import BuildSpec, SlugSpec, Strike
from octo.sandbox.cgroups import Group
from octo.specs import GB

TRIES = 3  # of a build that another one upset
BUILDKIT = (26,)  # before it, one with user remapping loses files that COPY takes (moby/buildkit 4712)


class DockerBuilder:
    """`context` and `slug` are read in the caller's thread; `cancelled` is asked in one of the builder's own, too.

    bases: local images that Dockerfiles may be FROM, by repository or by full name. slug_most: bytes, unpacked.
    stack_image: how the engine calls a version of a stack. oldest: the first engine whose BuildKit is taken.
    """

    def __init__(
        self,
        engine: Engine,
        place: BuildEngine,
        *,
        instance: str,
        mode: str,
        bases: Sequence[str] = (),
        slug_most: int = 2 * GB,
        stack_image: Callable[[str], str] = lambda id: f"octo/stack:{id}",
        docker: str = "/usr/bin/docker",
        oldest: tuple[int, ...] = BUILDKIT,
    ) -> None:
        self._main, self._place, self._instance, self._mode = engine, place, instance, mode
        self._gate = threading.Lock()  # held while sweeping, and for a moment by a build that begins or ends
        self._active: set[str] = set()  # names of control groups
        self._caches = Caches(place, instance)
        self._kept = Kept(place, self._caches, instance)
        self._bases = Bases(engine, place, instance, bases)
        self._room = Room(place, self._caches)
        self._slugs = Slugs(engine, instance, slug_most, stack_image)
        self._classic = Classic(place.engine, self._caches)
        self._modern = Modern(place.engine, self._caches, instance, docker)
        self._chosen: bool | None = None
        self._layers: tuple[Store | None] | None = None
        self._docker, self._oldest = docker, oldest

    def build(self, spec: BuildSpec, context: Iterable[bytes], output: Output, cancelled: Callable[[], bool]) -> str:
        watch = Watch(spec, output, cancelled)
        warming = self._place.prewarm(self._kept.drop_noted)
        try:
            with Files(context, spec.limits.disk, watch.check, app=spec.name) as files:
                recipe = dockerfile.read(files.dockerfile(), spec.args)
                watch.check()
                with self._place.use():
                    self._fits(recipe)
                    return self._until_whole(spec, files, recipe, watch)
        finally:
            warming.join()

    def compose(self, spec: SlugSpec, slug: Iterable[bytes]) -> str:
        return self._slugs.compose(spec, slug)

    def prewarm(self) -> None:
        """A Dockerfile is on its way: have the engine and the usual bases ready while its files are being received."""
        self._place.prewarm(lambda: self._bases.bring(self._bases.usual(), lambda _: None))

    def close(self) -> None:
        """octod ends: the engine goes too, when no other octod uses it."""
        self._place.close()

    def clear(self) -> None:
        """Remove what is outside octo's folder."""
        self._place.clear()

    def forget(self, app: str) -> None:
        """Drop what is kept of the app's builds; where the engine is stopped, behind the caller's back."""
        self._kept.forget(app)

    def sweep(self) -> Sequence[str]:
        """Does nothing while a build runs: its containers are no left-overs."""
        with self._gate:
            if self._active:
                return ()
            found: list[str] = []
            if self._place.adopt():
                with self._place.use() as engine:
                    found += self._sweep_containers(engine)
                    found += self._caches.sweep(self._main)
                    self._kept.drop_noted()
            elif self._kept.noted():
                self._place.prewarm(self._kept.drop_noted)
            return (*found, *self._sweep_groups(), *self._sweep_homes())

    # --- one build ----------------------------------------------------------------------------------------

    def _until_whole(self, spec: BuildSpec, files: Files, recipe: Recipe, watch: Watch) -> str:
        """Build, and build again when others upset it: the engine loses a layer that another build's end removed
        (moby keeps no reference to the parents of a running build), or another one had filled the disk."""
        for tries_left in reversed(range(TRIES)):
            try:
                return self._once(spec, files, recipe, watch)
            except (LostLayer, Squeezed) as upset:
                if not tries_left:
                    raise BuildFailed(upset.message, hint="Push again.") from None
                watch.show(f"... {upset.hint}; building again\n".encode())
        raise AssertionError("BUG: no try left and no answer")

    def _once(self, spec: BuildSpec, files: Files, recipe: Recipe, watch: Watch) -> str:
        self._room.make(spec.limits.disk)
        modern = self._buildkit()
        foreign = self._bases.bring(recipe.images, watch.show)
        with (
            self._kept.building(spec.app, records=modern) as word,
            self._grouped(spec) as group,
            self._room.watched(spec, group, watch) as use,
        ):
            watch.begin()
            names: Mapping[str, str] = {}
            text: str = NAME
            added: Mapping[str, bytes] = {NAME: recipe.plain}
            if not modern:  # which knows images by their names alone, and fetches them by itself
                self._bases.fetch(foreign, watch)
                names = self._caches.own(spec.app, recipe.bases)
                text, added = files.beside(recipe.text(names))
            job = Job(spec, group.name, use, watch, lambda: files.chunks(added), names, text, word)
            with self._caches.writing(spec) as name:
                image = (self._modern if modern else self._classic).run(job, name)
                watch.check()
                return self._handed_over(image, name, spec)

    def _handed_over(self, image: str, name: str, spec: BuildSpec) -> str:
        """Its files are counted once more: here it is the host's own disk that has to take them."""

        def count(files: int) -> None:
            if files > spec.limits.files:
                raise struck(Strike.FILES, spec)

        theirs, ours = self._place.store(), self._ours()
        return hand_over(image, name, spec.tag, self._place.engine, theirs, self._main, ours, count)

    def _ours(self) -> Store | None:
        """The main engine's layers, asked once: it costs 20 ms, and an octod does not outlive a change of them."""
        if self._layers is None:
            self._layers = (Store.of(self._main),)
        return self._layers[0]

    @contextlib.contextmanager
    def _grouped(self, spec: BuildSpec) -> Iterator[Group]:
        # Named by the app, which builds one thing at a time: BuildKit files a step's result under this name, too.
        group = self._place.cgroups.make(f"app-{spec.app}", spec.limits)
        with self._gate:
            self._active.add(group.name)
        try:
            yield group
        finally:
            group.remove()
            with self._gate:
                self._active.discard(group.name)

    def _fits(self, recipe: Recipe) -> None:
        if recipe.modern and not self._buildkit():
            raise failed(
                f"{recipe.modern} needs BuildKit, and the engine of this server has none that can be used",
                hint="Write it without, or ask the operator for Docker 26 or newer with buildx.",
            )

    def _buildkit(self) -> bool:
        """Decided once: asking each time costs 10 ms of a build."""
        if self._chosen is None:
            good = self._mode != "classic" and self._place.engine.version() >= self._oldest
            if self._mode == "buildkit" and not good:
                raise Unavailable(
                    f"cannot build: BuildKit of a Docker before {self._oldest[0]} would leave out files of the image",
                    hint='Set builder = "auto", or install a newer Docker.',
                )
            self._chosen = good and (self._mode == "buildkit" or self._modern.has_buildx())
        return self._chosen

    # --- left-overs ---------------------------------------------------------------------------------------

    def _sweep_containers(self, engine: Engine) -> Iterator[str]:
        for each in engine.get("containers", "json", query={"all": True}):
            found = engine.find("containers", each["Id"], "json")
            if found and str(found["HostConfig"].get("CgroupParent")).startswith(f"/{self._place.cgroups.name}/"):
                engine.remove_container(found["Id"])
                yield f"container {found['Id'][:12]}"

    def _sweep_groups(self) -> Iterator[str]:
        for id in self._place.cgroups.list():
            if id != GROUP:
                self._place.cgroups.group(id).remove()
                yield f"control group {id}"

    def _sweep_homes(self) -> Iterator[str]:
        for path in Path(tempfile.gettempdir()).glob(self._modern.homes + "*"):
            if path.lstat().st_uid == os.getuid() and path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
                yield f"folder {path}"
