"""Magic comments, config keys of the same names, and what the operator allows: text to values.

octohost's form: a line `# NAME arguments` in the Dockerfile, in any case. A config key NAME holds the arguments, of
several times on several lines or with `;` between them; it counts where the Dockerfile does not have that comment.
"""

import posixpath
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from ipaddress import AddressValueError, IPv4Address
from typing import Any

from octo.errors import BuildFailed, OctoError, Usage
from octo.model import app_name, port_number, quantity, shown
from octo.runoptions import ANY, PLAIN, HostPort, Link, Mount, RunOptions

MOST = 32  # links, mounts or ports of one app
LEAST_MEMORY = 6 * 1024 * 1024  # bytes; Docker 20.10 and newer take no less
DATA = "_data"  # what the name of an app ends in that keeps the volumes of another

_FLAGS = {"ADD_NAME": "add_name", "VOLUMES_FROM": "volumes_from", "NO_HTTP_PROXY": "no_http_proxy"}
_ALIAS = re.compile(r"[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?")
_PATH = re.compile(r"/[^\0-\x1f\x7f,:]*")
_MEMORY = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,6})?) ?(?:([bkmgt])(?:i?b)?)?", re.IGNORECASE)
_UNITS = {"b": 1, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}
_COMMENT = re.compile(
    r"#[ \t]*(ADD_NAME|VOLUMES_FROM|NO_HTTP_PROXY|LINK_SERVICE|MOUNT_FROM_HOST|PORTS_FROM_HOST)(?:[ \t]+(.*))?",
    re.IGNORECASE,
)


def from_dockerfile(text: str) -> RunOptions:
    """Read the magic comments. Raises BuildFailed, naming the line."""
    found = PLAIN
    for number, line in enumerate(text.splitlines(), 1):
        matched = _COMMENT.fullmatch(line.rstrip())
        if matched:
            try:
                found = _with(found, matched[1].upper(), matched[2] or "")
            except OctoError as error:
                why = error.message.removeprefix("cannot ")
                raise BuildFailed(
                    f"cannot take line {number} of the Dockerfile: cannot {why}", hint=error.hint
                ) from None
    return found


def from_config(config: Mapping[str, str]) -> RunOptions:
    """Read the config keys. Raises Usage, naming the key."""
    found = PLAIN
    for key in (*_FLAGS, *_LISTS):
        for arguments in _times(key, config.get(key, "")):
            try:
                found = _with(found, key, arguments)
            except Usage as error:
                why = error.message.removeprefix("cannot ")
                raise Usage(f"cannot use the config key {key}: cannot {why}", hint=error.hint) from None
    return found


def effective(asked: RunOptions, config: Mapping[str, str]) -> RunOptions:
    """What runs. asked: by the Dockerfile. Raises Usage."""
    return asked.or_else(from_config(config))


def allowance(text: str) -> str:
    """Read what an operator allows, as mount=/srv/photos, port=25 or link=other; returns its one spelling."""
    kind, _, value = text.partition("=")
    if kind == "mount":
        return f"mount={_path(value)}"
    if kind == "port":
        return f"port={port_number(value)}"
    if kind == "link":
        return f"link={app_name(value)}"
    raise Usage(f"cannot read {shown(text)} as an allowance", hint="Give it as mount=/PATH, port=NUMBER or link=APP.")


def memory_limit(config: Mapping[str, str]) -> int | None:
    """MEMORY_LIMIT in bytes, as Docker reads it: 512m, 1g, 1.5GiB, or a number of bytes. Raises Usage."""
    text = config.get("MEMORY_LIMIT", "").strip()
    if not text:
        return None
    matched = _MEMORY.fullmatch(text)
    number = int(float(matched[1]) * _UNITS[(matched[2] or "b").lower()]) if matched else 0
    if not LEAST_MEMORY <= number < 1 << 50:
        raise Usage(
            f"cannot use {shown(text)} as MEMORY_LIMIT",
            hint="Set it to 6m or more, as in 512m, 1g or a number of bytes.",
        )
    return number


def containers(config: Mapping[str, str]) -> int | None:
    """CONTAINERS, how many of `web` run; None when it is not set. Raises Usage."""
    text = config.get("CONTAINERS", "").strip()
    try:
        return quantity(text) if text else None
    except Usage as error:
        raise Usage(f"cannot use {shown(text)} as CONTAINERS", hint=error.hint) from None


def is_data(name: str) -> bool:
    """Whether an app of that name keeps volumes for another: octohost's convention."""
    return name.endswith(DATA) and name != DATA


# --- one comment ------------------------------------------------------------------------------------------------------


def _times(key: str, value: str) -> Sequence[str]:
    if key in _FLAGS:
        return [value] if value else []
    return [part.strip() for part in re.split(r"[;\n]", value) if part.strip()]


def _with(options: RunOptions, name: str, arguments: str) -> RunOptions:
    changed: dict[str, Any] = {}
    if name in _FLAGS:
        changed[_FLAGS[name]] = True
        return replace(options, **changed)
    field, read, counts, form = _LISTS[name]
    words = arguments.split()
    if len(words) not in counts:
        raise Usage(f"cannot read {shown(arguments)} as its arguments", hint=f"Write it as: {form}")
    one, known = read(*words), getattr(options, field)
    if one in known:
        return options
    _check_beside(known, one)
    changed[field] = (*known, one)
    return replace(options, **changed)


def _check_beside(known: Sequence[Any], one: Any) -> None:
    """Each name, path and port leads to one place."""
    if len(known) == MOST:
        raise Usage(f"cannot take more than {MOST} of a kind")
    if any(_said(other) == _said(one) for other in known):
        raise Usage(f"cannot take {_said(one)}: it is asked for twice, in different ways")


def _said(one: Link | Mount | HostPort) -> str:
    """What there can be one of."""
    if isinstance(one, Link):
        return f'the link "{one.alias}"'
    return f'the mount at "{one.container}"' if isinstance(one, Mount) else f"the port {one.host}"


def _link(alias: str, to: str = "") -> Link:
    if not _ALIAS.fullmatch(alias):
        raise Usage(
            f"cannot use {shown(alias)} as the name of a link",
            hint="Use lower-case letters, digits, - and _, as in redis.",
        )
    return Link(alias, app_name(to) if to else "")


def _mount(host: str, container: str = "") -> Mount:
    return Mount(_path(host), _path(container or host))


def _port(host: str, container: str, ip: str = ANY) -> HostPort:
    try:
        address = str(IPv4Address(ip))
    except AddressValueError:
        raise Usage(f"cannot use {shown(ip)} as an address", hint="Give an IPv4 address of this host.") from None
    return HostPort(port_number(host), port_number(container.removesuffix("/tcp")), address)


def _path(text: str) -> str:
    """An absolute path in its one spelling; the root itself is none. Docker's own separators cannot be in it."""
    text = text.removesuffix("/")
    plain = _PATH.fullmatch(text) and posixpath.normpath(text) == text and text != "/" and text[:2] != "//"
    if not plain or len(text) > 1024:
        raise Usage(f"cannot use {shown(text)} as a path", hint="Give an absolute path, without .. or // in it.")
    return text


# name -> field, how it is read, of how many words, and how it is written
_LISTS: Mapping[str, tuple[str, Callable[..., Any], tuple[int, ...], str]] = {
    "LINK_SERVICE": ("links", _link, (1, 2), "LINK_SERVICE service [app]"),
    "MOUNT_FROM_HOST": ("mounts", _mount, (1, 2), "MOUNT_FROM_HOST /host/path [/container/path]"),
    "PORTS_FROM_HOST": ("ports", _port, (2, 3), "PORTS_FROM_HOST hostport containerport [ip]"),
}
KEYS = frozenset((*_FLAGS, *_LISTS))
