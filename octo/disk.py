"""The machine's disks as octo sees them: what is free, and what its own things take."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Room:
    """One file system."""

    path: str  # what of octo's or the engine's lies on it
    total: int  # bytes
    free: int  # bytes
    files: int | None = None  # that can still be made; None: as many as there are bytes for


@dataclass(frozen=True)
class Taken:
    """What a folder takes. whole False: there are too many files to count them all."""

    bytes: int
    whole: bool = True


@dataclass(frozen=True)
class Stored:
    """An image of the engine. layers: (what tells it from all others, bytes), the base first."""

    id: str
    tags: tuple[str, ...]
    layers: tuple[tuple[str, int], ...]


class Disks(Protocol):
    def rooms(self) -> Sequence[Room]:
        """The file systems that a push fills, each once. The build engine sees to its own."""

    def tags(self) -> Sequence[str]:
        """Names of all the engine's images, as "name:tag"."""

    def images(self) -> Sequence[Stored]: ...

    def repository(self, app: str) -> Taken: ...

    def build_engine(self) -> tuple[Taken, int]:
        """What the build engine takes, and the most that it may."""

    def others(self) -> Taken:
        """What lies in octo's folder beside repositories, blobs, stacks and the build engine."""
