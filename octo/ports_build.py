"""What octo needs from the outside to build: promises like those of ports.py, which hands them on."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from octo.specs import *

# --- Sandbox: one throw-away container per push ---------------------------------------------------------


class Sandbox(Protocol):
    def run(self, spec: SandboxSpec, streams: Streams) -> Ended:
        """Run argv as an unprivileged user with these streams and nothing else, and say how it ended.

        Nothing of it runs when it returns; what is left of the sandbox itself may be removed right behind.
        Raises Unavailable when no sandbox can be had.
        """

    def stop(self, id: str) -> None:
        """Kill the sandbox with all that runs in it. An unknown id is no error."""

    def sweep(self, keep: Iterable[str]) -> Sequence[str]:
        """Remove every sandbox of this octo but those in `keep` and those under `run`; returns the ids removed."""

    def owns(self, id: str, pid: int) -> bool:
        """Whether the process runs inside that sandbox, by its cgroup."""

    def forget(self, app: str) -> None:
        """Remove the app's repository."""


# --- Builder: a Dockerfile to an image -------------------------------------------------------------------


class Builder(Protocol):
    def build(
        self, spec: BuildSpec, context: Iterable[bytes], output: Callable[[bytes], None], cancelled: Callable[[], bool]
    ) -> str:
        """Build the tar stream, output live; return the image's content id. Raises BuildFailed and Cancelled."""

    def prewarm(self) -> None:
        """A Dockerfile is on its way: have all that takes time ready while its files are being received."""

    def sweep(self) -> Sequence[str]:
        """Remove what an interrupted build of this octo left; returns what was removed."""

    def forget(self, app: str) -> None:
        """Drop what is kept for the app's next build, soon and for certain; no build of it may run. Never raises."""

    def close(self) -> None:
        """octod ends: let go of what costs something at rest."""

    def clear(self) -> None:
        """Remove what lies outside octo's own folder."""

    def compose(self, spec: SlugSpec, slug: Iterable[bytes]) -> str:
        """Make an image of a stack and a slug, one layer on top; return its content id.

        slug: a tar, gzipped or not. It runs as the stack's user `app`, in /app. Raises BuildFailed, NotFound (stack).
        """


# --- Stacks: the root file systems of builds and slugs ------------------------------------------------------


class Stacks(Protocol):
    def build(self, name: str, recipe: Mapping[str, str], output: Callable[[bytes], None]) -> StackVersion:
        """Make the newest version; what is the same already stays. recipe: suite, mirror, packages; absent: as before.

        Raises BuildFailed; what was there before is as it was.
        """

    def list(self) -> Sequence[StackVersion]:
        """All versions, the current one of each name first."""

    def current(self, name: str) -> StackVersion:
        """Raises NotFound."""

    def remove(self, id: str) -> None:
        """Remove one version, tree and image. Raises Conflict while it is used, NotFound."""

    def sweep(self) -> Sequence[str]:
        """Remove what an interrupted build left, and versions that are neither current nor used; returns what was."""


# --- Image registry: where images go after a deploy, and come from ---------------------------------------------


class ImageRegistry(Protocol):
    @property
    def at(self) -> str:
        """HOST[:PORT][/PATH]; "" when there is none."""

    def local(self, name: str) -> str:
        """How an image of that name is called on this machine: ORG/NAME:latest."""

    def push(self, image: str, name: str, tags: Sequence[str]) -> None:
        """Put an image of the engine there, under each tag. image: its content id. Raises Unavailable."""

    def pull(self, name: str) -> str:
        """Fetch NAME:latest, call it `local(name)`, and return its content id. Raises Unavailable, NotFound."""


# --- Custom: the operator's own receiver, in place of build and deploy --------------------------------------


class Custom(Protocol):
    def run(
        self,
        receipt: Receipt,
        files: Iterable[bytes],
        output: Callable[[bytes], None],
        cancelled: Callable[[], bool],
    ) -> int:
        """Hand it the tar of a commit, its output live, and return its exit code.

        Raises Unavailable when it must not or cannot be run, BuildFailed when it takes too long, and Cancelled.
        """

    def sweep(self) -> None:
        """Remove what one left whose octod was killed."""
