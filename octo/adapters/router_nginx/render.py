"""The table of routes as nginx's files. Only values that a filter has checked get into a file."""

import html
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import AddressValueError, IPv4Address, ip_address
from pathlib import Path
from typing import NoReturn

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from octo import codec
from octo.errors import RouterFailed
from octo.model import shown
from octo.ports import Route, Stream

ROUTES = "routes.json"  # the table itself, in each tree: what `start` renders again after an upgrade

_LABEL = "[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST = re.compile(rf"(?:{_LABEL}\.)+{_LABEL}")
_ID = re.compile(r"[0-9a-f]{1,32}")
_APP = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_TARGET = re.compile(r"([0-9.]{7,15}):([1-9][0-9]{0,4})")
_PATH = re.compile(r"/[A-Za-z0-9._+@,=/-]*")
_UNIX_SOCKET_MAX = 107  # bytes, sun_path of unix(7) without its NUL
_CONNECTIONS = 4096  # of one worker, both sides counted
_OPEN_FILES = 16384

PAGES = {
    "unknown": (404, "No such app here", "Nothing is served under this address. Look for a slip in the name."),
    "idle": (503, "This app is not running", "It has no process that could answer. Try again in a little while."),
    "silent": (502, "This app does not answer", "It was asked and gave no answer. Try again in a few seconds."),
    "slow": (504, "This app takes too long", "It was asked and gave no answer in time. Try again in a few seconds."),
    "large": (413, "That is too much at once", "The body of the request is larger than this server takes."),
}


class Checked(str):
    """Text that a filter below let through; nothing else is ever written."""


@dataclass(frozen=True)
class Frame:
    """What the configuration holds besides the table."""

    listen: str  # an IP address
    port: int
    shutdown: float  # seconds an old worker keeps its connections
    socket: Path  # where the marker answers
    open_files: int  # that a worker may have
    workers: int
    stream_module: Callable[[], str] = str  # path of the module for plain TCP; "" where nginx has it built in
    tls_port: int = 0  # 0: no https


@dataclass(frozen=True)
class Brought:
    """What apps bring of their own, as far as it is good, by App.id."""

    blocks: Mapping[str, str] = field(default_factory=dict)  # nginx's text
    secured: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # hosts of the app's certificate


class Renderer:
    def __init__(self, templates: Path, frame: Frame) -> None:
        self._frame = frame
        self._env = Environment(
            loader=FileSystemLoader(templates),
            undefined=StrictUndefined,
            finalize=_checked_only,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
            autoescape=False,  # HTML escaping says nothing about nginx; the filters do
        )
        self._env.filters.update(FILTERS)

    def table(self, routes: Sequence[Route], brought: Brought = Brought()) -> Mapping[str, bytes]:
        """Every file of a tree but the marker, and what apps brought, by its path in it.

        An app whose block is missing gets the 503 page: what its template would have kept out must not come in.
        Raises RouterFailed for a value that is off.
        """
        check(routes)
        routes = sorted(routes, key=lambda route: route.id)
        served = [replace(r, targets=()) if r.front.template and r.id not in brought.blocks else r for r in routes]
        main = self._main(routes)
        secured = sorted(brought.secured.items())
        tables = {"routes": served, "secured": secured, "streams": any(_streams(routes))}
        files = {
            **{name: self._render(f"{name}.j2", **main) for name in _FRAMES},
            **{name: self._render(f"{name}.j2", **tables) for name in _TABLES},
            **self._pages(),
        }
        return {name: text.encode() for name, text in files.items()} | {ROUTES: codec.dumps(routes)}

    def marker(self, generation: str) -> bytes:
        return self._render("marker.conf.j2", generation=generation, socket=str(self._frame.socket)).encode()

    def _main(self, routes: Sequence[Route]) -> Mapping[str, object]:
        entries = max(len(routes), sum(len(route.hosts) for route in routes))
        open_files = min(self._frame.open_files, _OPEN_FILES)
        return {
            "workers": self._frame.workers,
            "open_files": open_files,
            "connections": max(64, min(_CONNECTIONS, open_files - 64)),
            "shutdown": round(self._frame.shutdown),
            "endpoint": (self._frame.listen, self._frame.port),
            "tls": (self._frame.listen, self._frame.tls_port) if self._frame.tls_port else None,
            "tls_port": self._frame.tls_port,
            "stream_module": self._frame.stream_module() if any(_streams(routes)) else "",
            "hash_size": max(2048, 1 << (2 * entries).bit_length()),
        }

    def _pages(self) -> Mapping[str, str]:
        pages = {}
        for name, (status, title, text) in PAGES.items():
            pages[f"pages/{name}.html"] = self._render("page.html.j2", status=status, title=title, text=text)
            pages[f"pages/{name}.txt"] = f"{title.lower()}: {text}\n"
            pages[f"pages/{name}.json"] = codec.dumps({"id": name, "message": f"{title}. {text}"}).decode() + "\n"
        return pages

    def _render(self, template: str, **values: object) -> str:
        return self._env.get_template(template).render(**values)


_FRAMES = ("nginx.conf", "listen.conf", "locations.conf", "proxy.conf")
_TABLES = ("hosts.map", "idle.map", "releases.map", "forced.map", "tls.map", "upstreams.conf", "streams.conf")


def _streams(routes: Sequence[Route]) -> Iterator[Stream]:
    """Those that something listens for."""
    return (stream for route in routes for stream in route.streams if stream.targets)


def check(routes: Sequence[Route]) -> None:
    """Raise RouterFailed for a table that must not be served, before anything is touched."""
    for route in routes:
        app_name(route.app)
        app_id(route.id)
        number(route.release)
        for one in route.hosts:
            host(one)
        for one in route.targets:
            target(one)
        for stream in route.streams:
            endpoint((stream.ip, stream.port))
            for one in stream.targets:
                target(one)
    _no_doubles(routes)


def _no_doubles(routes: Sequence[Route]) -> None:
    """Refuse a name that two apps have: nginx would refuse the whole table, or let the first one win."""
    for what, values in (
        ("host", [host for route in routes for host in route.hosts]),
        ("app id", [route.id for route in routes]),
        ("port", [stream.port for route in routes for stream in route.streams]),
    ):
        twice = [value for value, count in Counter(map(str, values)).items() if count > 1]
        if twice:
            raise RouterFailed(f"cannot route the {what} {shown(twice[0])}: it is in the table twice")


def _refuse(what: str, value: object) -> NoReturn:
    raise RouterFailed(f"cannot route {shown(str(value))}: it is not {what}")


def _checked_only(value: object) -> str:
    if type(value) is not Checked:
        raise TypeError("a template writes a value that no filter has checked")
    return value


def host(value: object) -> Checked:
    if not isinstance(value, str) or len(value) > 253 or not _HOST.fullmatch(value) or _numeric(value):
        _refuse("a host name", value)
    return Checked(value)


def _numeric(name: str) -> bool:
    """Whether the last label is a number: such a name is an address in some notation (URL standard)."""
    return name.rpartition(".")[2].isdigit()


def app_id(value: object) -> Checked:
    if not isinstance(value, str) or not _ID.fullmatch(value):
        _refuse("an app id", value)
    return Checked(value)


def app_name(value: object) -> Checked:
    if not isinstance(value, str) or not _APP.fullmatch(value):
        _refuse("an app name", value)
    return Checked(value)


def target(value: object) -> Checked:
    """Let an IPv4 address and port through; names never, nginx would resolve them at load."""
    found = _TARGET.fullmatch(value) if isinstance(value, str) else None
    if not found or int(found[2]) > 65535:
        _refuse('an "address:port" of IPv4', value)
    try:
        address = IPv4Address(found[1])
    except AddressValueError:
        _refuse('an "address:port" of IPv4', value)
    if address.is_unspecified or address.is_multicast or address.is_reserved:
        _refuse("an address of one container", value)
    return Checked(f"{address}:{int(found[2])}")


def number(value: object) -> Checked:
    if type(value) is not int or not 0 <= value < 1 << 53:
        _refuse("a number", value)
    return Checked(value)


def digits(value: object) -> Checked:
    if not isinstance(value, str) or not re.fullmatch("[0-9]{1,20}", value):
        _refuse("a generation", value)
    return Checked(value)


def path(value: object) -> Checked:
    if not isinstance(value, str) or not _PATH.fullmatch(value) or len(value) > _UNIX_SOCKET_MAX:
        raise RouterFailed(
            f"cannot put nginx's socket at {shown(str(value))}: the path is longer than {_UNIX_SOCKET_MAX} characters"
            " or has others than letters, digits and ._+@,=-",
            hint="Choose a shorter, plainer home folder.",
        )
    return Checked(value)


def endpoint(value: object) -> Checked:
    """Let a pair of IP address and port through."""
    listen, port = value if isinstance(value, tuple) and len(value) == 2 else (None, None)
    try:
        address = ip_address(listen if isinstance(listen, str) else "")
    except ValueError:
        _refuse("an address to listen on", listen)
    if type(port) is not int or not 0 < port < 65536:
        _refuse("a port to listen on", port)
    return Checked(f"{address}:{port}" if address.version == 4 else f"[{address}]:{port}")


def port_suffix(value: object) -> Checked:
    """What a URL of https has behind its host."""
    return Checked("" if value == 443 else f":{number(value)}")


def words(value: object) -> Checked:
    return Checked(html.escape(str(value)))


FILTERS = {f.__name__: f for f in (host, app_id, app_name, target, number, digits, path, endpoint, port_suffix, words)}
