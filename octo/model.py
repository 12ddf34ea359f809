"""The nouns of octo, and the one place where their names are parsed."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import NewType

from octo.errors import Usage
from octo.runoptions import PLAIN, RunOptions

AppName = NewType("AppName", str)
ConfigKey = NewType("ConfigKey", str)
Hostname = NewType("Hostname", str)
ProcessName = NewType("ProcessName", str)
UserName = NewType("UserName", str)
Fingerprint = NewType("Fingerprint", str)  # "SHA256:" and 43 characters of base64, as ssh-keygen -l prints it

MAX_CONFIG_VALUE = 64 * 1024  # bytes
MAX_SCALE = 100  # containers of one process type

# Keys that steer octo: kept with the app's config, never handed to the app (octohost's KV layout).
CONTROL_KEYS = frozenset(
    "CONTAINERS DOMAINS MEMORY_LIMIT CUSTOM_CHECK CUSTOM_CHECK_INTERVAL NO_HTTP_PROXY NGINX_ALT"
    " NGINX_STICKY SSL_FORCED SSL_CERTIFICATE SSL_KEY BUILDPACK_URL STACK"
    " ADD_NAME VOLUMES_FROM LINK_SERVICE MOUNT_FROM_HOST PORTS_FROM_HOST".split()
)

_APP = re.compile(r"[a-z]([a-z0-9_-]{0,61}[a-z0-9_])?")  # a label of a host name
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_PROCESS = re.compile(r"[a-z][a-z0-9-]{0,30}")
_USER = re.compile(r"[a-z0-9][a-z0-9._@-]{0,63}")
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")


def shown(text: str) -> str:
    """Quote text from outside for a message: short, printable, in quotes."""
    cut = text if len(text) <= 64 else text[:61] + "..."
    return '"' + "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in cut) + '"'


def app_name(text: str) -> AppName:
    if not _APP.fullmatch(text):
        raise Usage(
            f"cannot use {shown(text)} as an app name: it must match [a-z][a-z0-9_-]{{0,62}}",
            hint="Use lower-case letters, digits, - and _, a letter first, no - last, 63 characters at most.",
        )
    return AppName(text)


def config_key(text: str) -> ConfigKey:
    if not _KEY.fullmatch(text):
        raise Usage(
            f"cannot use {shown(text)} as a config key",
            hint="Use letters, digits and underscores, no digit first, 128 characters at most.",
        )
    return ConfigKey(text)


def config_value(text: str) -> str:
    if "\0" in text or len(text.encode("utf-8", "surrogatepass")) > MAX_CONFIG_VALUE:
        raise Usage("cannot use that config value: it holds a NUL or is longer than 64 KB")
    if any("\ud800" <= c <= "\udfff" for c in text):  # neither store nor engine could take it
        raise Usage("cannot use that config value: it is not UTF-8", hint="Encode it first, as with base64.")
    return text


def process_name(text: str) -> ProcessName:
    if not _PROCESS.fullmatch(text):
        raise Usage(
            f"cannot use {shown(text)} as a process type",
            hint="Use lower-case letters, digits and dashes, as in web or worker.",
        )
    return ProcessName(text)


def user_name(text: str) -> UserName:
    if not _USER.fullmatch(text):
        raise Usage(
            f"cannot use {shown(text)} as a name for a key's owner",
            hint="Use lower-case letters, digits and . _ @ -, 64 characters at most.",
        )
    return UserName(text)


def fingerprint(text: str) -> Fingerprint:
    if not _FINGERPRINT.fullmatch(text):
        raise Usage(f"cannot read {shown(text)} as a SHA256 fingerprint")
    return Fingerprint(text)


def hostname(text: str) -> Hostname:
    """Parse a domain: lower case, punycode, no port, no address, no wildcard, at least two labels."""
    name = text.rstrip(".") if text.endswith(".") and not text.endswith("..") else text
    try:
        name = name.lower() if name.isascii() else name.encode("idna").decode("ascii")
    except UnicodeError:
        name = ""
    labels = name.split(".")
    if not 0 < len(name) <= 253 or len(labels) < 2 or not all(map(_LABEL.fullmatch, labels)) or _is_address(name):
        raise Usage(
            f"cannot use {shown(text)} as a domain",
            hint="Give a host name such as www.example.com, without scheme, port or path.",
        )
    return Hostname(name)


def _is_address(name: str) -> bool:
    """Whether the last label is a number: an address in some notation (URL standard); the router refuses those too."""
    return name.rpartition(".")[2].isdigit()


def port_number(text: str) -> int:
    if not re.fullmatch(r"[1-9][0-9]{0,4}", text) or int(text) > 65535:
        raise Usage(f"cannot use {shown(text)} as a port", hint="Give a number from 1 to 65535.")
    return int(text)


def quantity(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,3}", text) or int(text) > MAX_SCALE:
        raise Usage(f"cannot scale to {shown(text)}", hint=f"Give a number from 0 to {MAX_SCALE}.")
    return int(text)


@dataclass(frozen=True)
class App:
    id: str  # 12 hex digits, stays when the app is renamed
    name: AppName
    created_at: float  # seconds since the epoch
    owner: UserName | None = None  # None: made by the operator
    live: int = 0  # the release that serves; 0 before the first
    last: int = 0  # the newest release's number, failed ones counted
    stopped: bool = False  # by ps:stop: no containers until ps:start or the next push
    limits: Mapping[str, float] = field(default_factory=dict)  # of its builds, where they differ from the host's
    parent: str = ""  # App.id of the app whose branch this one is; "" of an app with a repository of its own
    branch: str = ""  # that branch, in full: "refs/heads/feature/x"
    allowed: tuple[str, ...] = ()  # what the operator lets it have: mount=/srv/photos, port=25, link=other


@dataclass(frozen=True)
class Key:
    fingerprint: Fingerprint
    user: UserName
    kind: str  # "ssh-ed25519"
    blob: str  # base64
    added_at: float


@dataclass(frozen=True)
class Domain:
    hostname: Hostname
    app: str  # App.id
    added_at: float
    pushed: bool = False  # came by the CNAME file of a push, and goes with it


class BuildStatus(Enum):
    RUNNING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    ABANDONED = "abandoned"  # octod stopped, or the pusher went away


@dataclass(frozen=True)
class Build:
    id: str
    app: str  # App.id
    commit: str
    user: UserName | None
    created_at: float
    status: BuildStatus = BuildStatus.RUNNING
    finished_at: float | None = None
    image: str = ""  # the engine's content id, "sha256:..."
    buildpack: str = ""  # its name; "" of a Dockerfile build
    stack: str = ""  # StackVersion.id; "" of a Dockerfile build
    slug: int = 0  # bytes; 0 of a Dockerfile build
    defaults: Mapping[str, str] = field(default_factory=dict)  # config that the buildpack proposes
    processes: Mapping[str, str | None] = field(default_factory=dict)
    ports: tuple[int, ...] = ()  # TCP ports of EXPOSE, the first one first
    reason: str = ""
    ref: str = ""  # what was pushed, in full: "refs/heads/main"; "" of builds from before it was kept
    domains: tuple[Hostname, ...] = ()  # those of its CNAME file
    options: RunOptions = PLAIN  # what the Dockerfile asks for
    tags: str = ""  # CONSUL_TAGS in the image's ENV
    volumes: tuple[str, ...] = ()  # paths of the image's VOLUMEs


class ReleaseStatus(Enum):
    PENDING = "pending"  # claimed, not yet serving
    LIVE = "succeeded"  # serves now, or served until the next one
    FAILED = "failed"


@dataclass(frozen=True)
class Release:
    """One frozen combination of image, config and process types; numbers only go up."""

    app: str  # App.id
    version: int
    image: str
    created_at: float
    commit: str = ""
    description: str = ""
    user: UserName | None = None
    build: str = ""
    config: Mapping[str, str] = field(default_factory=dict)
    processes: Mapping[str, str | None] = field(default_factory=dict)  # None: the image's own command
    port: int = 5000
    routed: bool = True  # False: a worker, run and not routed
    status: ReleaseStatus = ReleaseStatus.PENDING
    reason: str = ""
    took: Mapping[str, float] = field(default_factory=dict)  # seconds per step
    options: RunOptions = PLAIN  # what its containers are run with
    tags: str = ""  # as in Build
    volumes: tuple[str, ...] = ()  # as in Build


@dataclass(frozen=True)
class Slot:
    """A container that is to be: which process, under which name, at which address."""

    app: str  # App.id
    release: int
    process: str
    index: int  # counts from 1
    name: str
    address: str  # IPv4, allotted to this container alone
    port: int = 0  # where its release listens
    ports: tuple[int, ...] = ()  # and those to which ports of the host lead


@dataclass(frozen=True)
class Check:
    """How a registry asks a service whether it is well."""

    path: str = "/"  # of an HTTP GET; "" asks for an open port alone
    interval: float = 15.0  # seconds


@dataclass(frozen=True)
class Service:
    """A registry entry: one container that may get traffic."""

    id: str
    name: str
    address: str
    port: int
    tags: tuple[str, ...] = ("http",)
    check: Check | None = None  # None: nobody asks it
    by_hand: bool = False  # set by service:set, for what octo does not run: octo's own rounds leave it alone


def environment(app: AppName, release: Release, process: str, index: int) -> dict[str, str]:
    """The variables a container gets: the app's config, without what steers octo, and octo's own."""
    given = {k: v for k, v in release.config.items() if k not in CONTROL_KEYS}
    return given | {
        "PORT": str(release.port),
        "DYNO": f"{process}.{index}",
        "SOURCE_VERSION": release.commit,
        "OCTO_RELEASE": f"v{release.version}",
        "CONTAINER_NAME": app,  # octohost's
    }
