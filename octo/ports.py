"""All that octo needs from the outside, as promises. Each has a test file in tests/contract/."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from octo.model import Service
from octo.ports_build import *  # handed on: one name to import from
from octo.specs import *

# --- Store: octo's memory -------------------------------------------------------------------------


class Store(Protocol):
    def get(self, key: str) -> Value | None: ...
    def put(self, key: str, data: bytes, *, expect: int | None = None) -> int:
        """Write, and return the new version.

        expect: None writes always; 0 only when absent; n only when the version is still n.
        Raises Conflict when `expect` does not hold. Source: Consul KV `?cas=`.
        """

    def put_many(self, writes: Sequence[Write]) -> None:
        """Do all writes or none. Raises Conflict when one `expect` does not hold."""

    def delete(self, key: str) -> None:
        """Remove the key; an absent key is no error."""

    def list(self, prefix: str) -> Sequence[tuple[str, Value]]:
        """Keys that start with `prefix`, with their values, sorted by key."""

    def watch(self, prefix: str, since: int, timeout: float) -> int:
        """Wait until something under `prefix` is newer than `since`, or `timeout` seconds passed.

        Returns the newest version, to be handed in as the next `since`. 0 asks for it at once.
        """

    def lock(
        self, key: str, *, holder: str, wait: float = 0, waiting: Callable[[str], None] | None = None
    ) -> AbstractContextManager[None]:
        """Hold a lock for the body of a `with`; it dies with its process.

        Waits up to `wait` seconds and tells `waiting` once who holds it. Raises Locked.
        """

    def holder(self, key: str) -> str | None:
        """Who holds the lock now, in words; None when it is free."""

    def about(self) -> str: ...  # where it is and how it is, in words; raises Unavailable
    def leave(self) -> None: ...  # octod ends: let go of what others wait for


# --- Registry: services that may get traffic ---------------------------------------------------------


class Registry(Protocol):
    def register(self, service: Service) -> None:
        """Make the service known, passing until its check fails. The same id replaces. Raises Taken: not octo's."""

    def deregister(self, id: str) -> None: ...  # an unknown id is no error, and what is not octo's stays
    def services(self, name: str | None = None) -> Sequence[Service]: ...  # of this octo, or of one name, sorted by id
    def catalog(self) -> Sequence[Listed]: ...  # every service that is known, of others too, sorted by node and id
    def failing(self) -> Sequence[str]: ...  # ids of those whose check fails now, sorted
    def watch(self, since: int, timeout: float) -> int: ...  # for a service that came, went or changed; as Store.watch


# --- Blobs: what is too big for the store -------------------------------------------------------------


class Blobs(Protocol):
    def put(self, name: str, chunks: Iterable[bytes]) -> int:
        """Store whole or not at all; returns the size in bytes. The same name replaces."""

    def get(self, name: str) -> Iterable[bytes]:
        """The content in chunks. Raises NotFound."""

    def delete(self, name: str) -> None: ...
    def list(self, prefix: str) -> Sequence[str]: ...

    def size(self, name: str) -> int:
        """Bytes. Raises NotFound."""

    def sign(self, method: str, name: str, *, seconds: float, most: int = 0) -> str:
        """A path with a query that allows one method (GET, PUT) on one object for so long.

        most: bytes that a PUT may bring. seconds: at most 600 for GET, 3600 for PUT.
        """

    def check(self, method: str, target: str) -> Grant:
        """What a signed path with its query allows, once. Raises Forbidden when altered, expired, of another method."""

    def renew(self, target: str) -> None:
        """Let a signed path that was checked, and of which nothing came, be used again until it expires."""


# --- Runtime: app containers ------------------------------------------------------------------------------


class Runtime(Protocol):
    def prepare(self) -> None:
        """Make what containers need (the network). Twice is the same as once. Raises Unavailable."""

    def clear(self) -> None:
        """Remove what `prepare` made."""

    def addresses(self) -> Iterable[str]:
        """Every IPv4 address that octo may allot, in order."""

    def image(self, ref: str) -> Image | None: ...
    def tag(self, image: str, ref: str) -> None: ...

    def untag(self, ref: str) -> None:
        """Drop the name, and the image with its last name. Absent or in use is no error."""

    def start(self, spec: ContainerSpec) -> Running:
        """Create and start. A left-over of the same name is removed first. Raises DeployFailed."""

    def keep(self, name: str) -> None:
        """From now on the engine itself restarts this container, also after a reboot."""

    def inspect(self, name: str) -> Running | None: ...

    def list(self, app: str | None = None) -> Sequence[Running]:
        """This octo's containers, by exact labels, running or not, sorted by name."""

    def listening(self, name: str) -> Sequence[tuple[str, int]]:
        """The TCP (address, port) pairs on which the container's processes listen."""

    def join(self, link: str, name: str, aliases: Sequence[str]) -> None:
        """Make the container a member of a link network, where it is found under these names; twice is once.

        A link network has no way out; it is made when it is not there. link: letters, digits, - and _.
        Raises NotFound (the container), Unavailable.
        """

    def members(self, app: str | None = None) -> Mapping[str, Sequence[str]]:
        """The link networks of this octo, or those with this App.id in their name; and who runs in each, by name."""

    def unlink(self, link: str) -> None:
        """Remove a link network, whoever is in it. Absent is no error."""

    def volumes(self, app: str | None = None) -> Sequence[Volume]: ...  # of this octo, or of one AppName, sorted
    def remove_volume(self, name: str) -> None:
        """With all that it holds. Absent is no error. Raises Conflict while a container has it."""

    def stop(self, name: str, grace: float) -> bool:
        """SIGTERM (or the image's signal), up to `grace` seconds, SIGKILL, remove. Absent is no error.

        Returns whether SIGKILL was needed.
        """

    def logs(self, name: str, *, tail: int, follow: bool) -> Iterable[bytes]:
        """Raw lines "<RFC 3339 time> <text>", oldest first, stdout and stderr together."""

    def attach(self, spec: ContainerSpec, streams: Streams, size: tuple[int, int]) -> int:
        """Run a one-off container with these streams; return its exit code; remove it.

        size: rows and columns of the terminal, when spec.tty.
        """


# --- Probe: is anybody there? --------------------------------------------------------------------------------


class Probe(Protocol):
    def http(self, address: str, port: int, path: str, host: str) -> int | None:
        """GET, and return the status; 0 when it is open but does not speak HTTP; None when nobody listens."""


# --- Router --------------------------------------------------------------------------------------------------


class Router(Protocol):
    def start(self) -> None:
        """Make the router serve what was applied last; a running one is adopted. Raises RouterFailed."""

    def stop(self) -> None: ...
    def apply(self, routes: Sequence[Route], *, anew: bool = False) -> bool:
        """Render, test, swap, reload, prove that only the new table answers. False: nothing was different.

        An app whose own template or certificate is at fault stays on what was good before, see `faults`.
        anew: reload though nothing is different, and try again what was refused before.
        Raises RouterFailed after the old table was put back.
        """

    def check(self, route: Route) -> None:
        """Raise RouterFailed when this app could not be served so: its template or its certificate is at fault."""

    def faults(self) -> Mapping[str, str]:
        """App.id -> why the app is served as before, and not as its template and certificate say now."""

    def ending(self) -> Sequence[str]:
        """Which certificates have ended or will in a week, a sentence each."""

    def connections(self, targets: Iterable[str]) -> int:
        """Open connections from the router to these "address:port" targets."""

    def taken(self, streams: Iterable[Stream]) -> str:
        """Which of these ports another program listens on, and who that is, in words; "" when none is."""

    def mark(self) -> int:
        """A point in the access log, for `tally`."""

    def tally(self, app: str, since: int) -> Tally: ...

    def problems(self) -> Sequence[str]:
        """What is wrong with it now, a sentence each."""


# --- Console, Clock --------------------------------------------------------------------------------------------


class Console(Protocol):
    def step(self, text: str) -> None:
        """ "-----> text", a new step."""

    def detail(self, text: str) -> None:
        """Seven spaces and the text."""

    def error(self, text: str) -> None:
        """ " !     text"."""

    def result(self, text: str) -> None:
        """ "=====> text", the last word."""

    def raw(self, data: bytes) -> None:
        """Output of a program, whole lines, made safe for a terminal."""

    def formatted(self, data: bytes) -> None:
        """As `raw`, of a program whose lines have their leads already; only those that have none are set in."""


class Clock(Protocol):
    def now(self) -> float:
        """Seconds since the epoch."""

    def monotonic(self) -> float: ...
    def sleep(self, seconds: float) -> None: ...


@dataclass(frozen=True)
class Ports:
    """What the pipelines are given."""

    store: Store
    registry: Registry
    blobs: Blobs
    sandbox: Sandbox
    builder: Builder
    stacks: Stacks
    runtime: Runtime
    images: ImageRegistry
    probe: Probe
    router: Router
    clock: Clock
