"""Where the room went: what each app takes, and octo as a whole."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields

from octo.catalog import Catalog
from octo.disk import Disks, Room, Stored
from octo.errors import NotFound
from octo.model import App
from octo.pipeline.disk import megabytes
from octo.pipeline.plan import cache_blob, repository_blob, slug_blob
from octo.ports import Blobs, Ports, StackVersion

SHARED, STACKS, FOREIGN = "shared", "stacks", "foreign"  # owners of layers that are no app's


@dataclass(frozen=True)
class Held:
    """What one app takes, in bytes: what would be free without it."""

    images: int = 0
    slugs: int = 0
    cache: int = 0
    repository: int = 0
    builds: int = 0  # what they printed

    @property
    def total(self) -> int:
        return sum(getattr(self, f.name) for f in fields(self))

    def __add__(self, other: "Held") -> "Held":
        return Held(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


@dataclass(frozen=True)
class Part:
    """One line of what octo takes as a whole."""

    name: str
    bytes: int
    detail: str = ""


@dataclass(frozen=True)
class Report:
    apps: Sequence[tuple[App, Held]]
    parts: Sequence[Part]  # add up to all that octo takes
    rooms: Sequence[Room]
    least: int  # bytes that must be free for a push


class Account:
    def __init__(self, ports: Ports, catalog: Catalog, disks: Disks, *, instance: str, least: int) -> None:
        self._ports, self._catalog, self._disks = ports, catalog, disks
        self._instance, self._least = instance, least

    def app(self, app: App) -> Held:
        images = shares(self._disks.images(), self._owners([app]))
        return self._held(app, images.get(app.id, 0))

    def report(self) -> Report:
        apps = self._catalog.apps()
        images = shares(self._disks.images(), self._owners(apps))
        held = [(app, self._held(app, images.get(app.id, 0))) for app in apps]
        return Report(held, self._parts(held, images), self._disks.rooms(), self._least)

    def _held(self, app: App, images: int) -> Held:
        blobs, prefix = self._ports.blobs, f"builds/{app.id}/"
        return Held(
            images,
            sum(_size(blobs, slug_blob(b.id)) for b in self._catalog.builds(app) if b.slug),
            _size(blobs, cache_blob(app.id)),
            self._disks.repository(app.id).bytes + _size(blobs, repository_blob(app.id)),
            sum(_size(blobs, name) for name in blobs.list(prefix)),
        )

    def _parts(self, held: Sequence[tuple[App, Held]], images: Mapping[str, int]) -> Sequence[Part]:
        engine, most = self._disks.build_engine()
        others = self._disks.others()
        stacks = self._ports.stacks.list()
        return [
            Part("apps", sum(h.total for _, h in held), f"{len(held)} of them"),
            Part("shared", images.get(SHARED, 0), "layers that several apps' images have in common"),
            Part("stacks", sum(s.size for s in stacks) + images.get(STACKS, 0), _versions(stacks)),
            Part("build engine", engine.bytes, f"grows to {megabytes(most)} at most"),
            Part("octo's own", others.bytes, "its memory, the router's files, builds under way"),
        ]

    def _owners(self, apps: Iterable[App]) -> Callable[[Stored], str]:
        known = {f"{self._instance}/{app.id}": app.id for app in apps}
        stacks = {s.image for s in self._ports.stacks.list()}

        def owner(image: Stored) -> str:
            names = [t.rpartition(":")[0] for t in image.tags]
            found = next((known[n] for n in names if n in known), None)
            if found:
                return found
            return STACKS if {image.id, *image.tags} & stacks else FOREIGN

        return owner


def shares(images: Iterable[Stored], owner: Callable[[Stored], str]) -> Mapping[str, int]:
    """Bytes per owner of the layers that nobody else has, and of those that several apps share.

    What the stacks have is theirs, whoever else uses it; what an image that is none of octo's has counts for nobody.
    """
    owners: dict[str, set[str]] = {}
    sizes: dict[str, int] = {}
    for image in images:
        for layer, size in image.layers:
            owners.setdefault(layer, set()).add(owner(image))
            sizes[layer] = max(size, sizes.get(layer, 0))
    total: dict[str, int] = {}
    for layer, having in owners.items():
        whose = STACKS if STACKS in having else FOREIGN if FOREIGN in having else SHARED
        whose = next(iter(having)) if len(having) == 1 else whose
        total[whose] = total.get(whose, 0) + sizes[layer]
    return total


def _versions(stacks: Sequence[StackVersion]) -> str:
    """octo, node: 3 versions, as tree and as image."""
    names = ", ".join(sorted({s.name for s in stacks}))
    many = "1 version" if len(stacks) == 1 else f"{len(stacks)} versions"
    return f"{names}: {many}, as tree and as image" if stacks else ""


def _size(blobs: Blobs, name: str) -> int:
    try:
        return blobs.size(name)
    except NotFound:
        return 0
