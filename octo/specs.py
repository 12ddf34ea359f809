"""The values in which the ports speak."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Value:
    data: bytes
    version: int  # grows with every write of the key; never 0


@dataclass(frozen=True)
class Write:
    """One part of an atomic multi-write. data None deletes; expect as in Store.put."""

    key: str
    data: bytes | None
    expect: int | None = None


@dataclass(frozen=True)
class Limits:
    memory: int  # bytes, no swap on top
    cpus: float
    pids: int
    seconds: float  # wall clock


@dataclass(frozen=True)
class Streams:
    """Three open file descriptors that the sandboxed process gets as its own. Pipes or sockets only."""

    stdin: int
    stdout: int
    stderr: int


@dataclass(frozen=True)
class SandboxSpec:
    id: str  # hex, unique
    app: str  # App.id; its repository, the only thing that stays, is at /app/repo.git
    argv: Sequence[str]
    env: Mapping[str, str]
    socket_dir: str  # host path, mounted read-only at /run/octo
    limits: Limits


@dataclass(frozen=True)
class BuildSpec:
    id: str  # Build.id
    app: str  # App.id
    tag: str  # name:tag the image gets
    limits: Limits
    output_limit: int  # bytes of output after which the build is ended


@dataclass(frozen=True)
class Image:
    id: str
    ports: tuple[int, ...]  # TCP ports of EXPOSE, in the order of the Dockerfile where the engine keeps it
    command: bool  # whether the image says what to run


@dataclass(frozen=True)
class ContainerSpec:
    name: str
    image: str
    app: str  # App.id
    release: int
    process: str
    index: int
    address: str | None  # None: no network of the apps, for one-off processes any free address
    env: Mapping[str, str]
    command: str | None = None  # for /bin/sh -c; None: the image's own
    memory: int | None = None  # bytes
    tty: bool = False


@dataclass(frozen=True)
class Running:
    """A container of octo as the engine sees it."""

    id: str
    name: str
    app: str
    release: int
    process: str
    index: int
    address: str
    state: str  # created, running, paused, restarting, exited, dead
    exit_code: int
    oom: bool
    started_at: float
    image: str


@dataclass(frozen=True)
class Route:
    app: str  # AppName
    id: str  # App.id
    hosts: tuple[str, ...]
    targets: tuple[str, ...] = ()  # "address:port"; none: the 503 page
    release: int = 0


@dataclass(frozen=True)
class Tally:
    served: int
    failed: int  # answered by the router because no container did
