"""The values in which the ports speak."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

MB = 1024 * 1024
GB = 1024 * MB


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
    disk: int = 2 * GB  # bytes that may be written: /app of a sandbox, all of a Dockerfile build
    files: int = 300_000  # files and folders under /app
    tmp: int = 512 * MB  # bytes of /tmp
    open_files: int = 4096
    output: int = 10 * MB  # bytes of output


class Strike(Enum):
    """A limit that was hit. The value is its name in the settings and in `octo limits`."""

    MEMORY = "memory"
    PIDS = "pids"
    SECONDS = "seconds"
    DISK = "disk"
    FILES = "files"
    OUTPUT = "output"


@dataclass(frozen=True)
class Ended:
    """How a sandboxed program ended."""

    code: int  # 124: the wall clock struck; 137: it was killed
    strike: Strike | None = None  # the limit that ended it, or that it ran into before it ended


@dataclass(frozen=True)
class Streams:
    """Three open file descriptors that the sandboxed process gets as its own. Pipes or sockets only."""

    stdin: int
    stdout: int
    stderr: int


@dataclass(frozen=True)
class SandboxSpec:
    """What a sandbox is for decides what is in it.

    A receiver has the app's repository, the only thing that stays, at /app/repo.git, and no network. A build
    (`build=True`) has an empty /app and an empty /work, two folders of one disk of limits.disk bytes (the slug comes of
    /app; cache, fetched buildpacks and env dir lie in /work), the built-in buildpacks at /octo-buildpacks, and a
    network that reaches the internet and nothing else.
    """

    id: str  # hex, unique
    app: str  # App.id
    argv: Sequence[str]
    env: Mapping[str, str]
    socket_dir: str  # host path, mounted read-only at /run/octo
    limits: Limits
    build: bool = False
    stack: str = ""  # StackVersion.id; "" is the default stack's current one
    mounted: bool = True  # False: a receiver's /app/repo.git is empty, of limits.disk bytes, and goes with the sandbox
    reads: bool = False  # a receiver that changes nothing, beside a push maybe: nothing is tidied up after it


@dataclass(frozen=True)
class BuildSpec:
    id: str  # Build.id
    app: str  # App.id
    tag: str  # name:tag the image gets
    limits: Limits
    args: Mapping[str, str] = field(default_factory=dict)  # build-time variables, as of --build-arg
    name: str = "APP"  # AppName, for what a person is told to type


@dataclass(frozen=True)
class Grant:
    """What a signed URL allows."""

    method: str
    name: str  # of the blob
    most: int  # bytes of a PUT


@dataclass(frozen=True)
class Receipt:
    """What a receiver of the operator's own is told of a push, as its arguments, in this order."""

    repository: str  # "shop.git"
    revision: str
    user: str
    fingerprint: str  # "" of a push without a key
    branch: str  # with dashes for slashes


@dataclass(frozen=True)
class SlugSpec:
    """A slug that is to become an image: one layer on a stack."""

    app: str  # App.id
    tag: str  # name:tag the image gets
    stack: str  # its version, as in StackVersion.id
    slug: str  # name of the blob: a gzipped tar whose members lie under app/
    most: int = 0  # bytes that it may unpack to; 0 is the builder's own limit
    files: int = 0  # files and folders that may be in it; 0 for any number
    name: str = "APP"  # as in BuildSpec


@dataclass(frozen=True)
class StackVersion:
    """One build of a stack, named by its content."""

    id: str  # "NAME-HASH"
    name: str
    image: str  # how the engine calls it
    tree: str  # host path of the root file system
    created_at: float
    size: int  # bytes
    recipe: Mapping[str, str] = field(default_factory=dict)  # suite, mirror, packages
    current: bool = True  # False: kept because a release uses it


@dataclass(frozen=True)
class Image:
    id: str
    ports: tuple[int, ...]  # TCP ports of EXPOSE, in the order of the Dockerfile where the engine keeps it
    command: bool  # whether the image says what to run
    env: Mapping[str, str] = field(default_factory=dict)
    volumes: tuple[str, ...] = ()  # paths of its VOLUMEs, sorted


@dataclass(frozen=True)
class Mounted:
    """A folder or file of the host in a container; or, when `volume`, a named volume, made when it is not there."""

    source: str  # host path, or the volume's name
    path: str  # in the container
    volume: "Volume | None" = None


@dataclass(frozen=True)
class Volume:
    """What an app's containers keep. A new one is filled with what the image has at its path."""

    name: str  # for the engine
    app: str  # AppName: volumes are found again by a new app of that name
    path: str
    owner: str = ""  # UserName; "" the operator


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
    hostname: str = ""  # "" is the engine's choice
    mounts: tuple[Mounted, ...] = ()
    links: tuple[str, ...] = ()  # link networks that it is a member of from its start


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
class Listed:
    """A service as it is known to all."""

    node: str  # the machine whose agent has it
    id: str
    name: str
    address: str
    port: int
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Front:
    """How an app is served where that differs from the other apps."""

    template: str = ""  # file name in the operator's folder; "" is the block that all apps share
    forced: bool = False  # http is answered with where https is
    sticky: bool = False  # a client stays with one container
    certificate: str = ""  # PEM, or the path of such a file; without a certificate and a key octo's own is shown
    key: str = field(default="", repr=False)


@dataclass(frozen=True)
class Stream:
    """A TCP port of the host that leads to containers. Without targets nothing listens there."""

    ip: str
    port: int
    targets: tuple[str, ...] = ()  # "address:port"


@dataclass(frozen=True)
class Route:
    app: str  # AppName
    id: str  # App.id
    hosts: tuple[str, ...]
    targets: tuple[str, ...] = ()  # "address:port"; none: the 503 page
    release: int = 0
    front: Front = field(default_factory=Front)
    config: Mapping[str, str] = field(default_factory=dict, repr=False)  # what a template of its own may name
    streams: tuple[Stream, ...] = ()


@dataclass(frozen=True)
class Tally:
    served: int
    failed: int  # answered by the router because no container did
