"""What both builders are given, and how another build upsets one."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from octo.adapters.builder_docker.usage import Usage
from octo.errors import OctoError
from octo.images.watch import Watch
from octo.ports import BuildSpec

CHUNK = 64 * 1024  # bytes


@dataclass(frozen=True)
class Job:
    """One try of a build.

    group: the name of its control group. files: the tar, from the beginning each time. names: what the engine is told
    in place of the Dockerfile's own names of images. dockerfile: which of the files is the one to build from.
    word: another one when the app's cache was emptied.
    """

    spec: BuildSpec
    group: str
    use: Usage
    watch: Watch
    files: Callable[[], Iterable[bytes]]
    names: Mapping[str, str]
    dockerfile: str
    word: str


class LostLayer(OctoError):
    """The engine removed an image that the build had counted on."""


class Squeezed(OctoError):
    """Other builds had filled the disk."""
