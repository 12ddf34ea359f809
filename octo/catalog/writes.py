"""The keys, what lies under them, and the writes that make it so."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from octo import codec
from octo.errors import Conflict, Usage
from octo.model import App, Domain, Hostname, Release, config_key, config_value
from octo.ports import Front, Stream, Value, Write

CONFIG = "octohost/"
DOCUMENTS = "octo/"
ADDRESSES = "octo/addresses/"
ENDS = "octo/ends/"
KNOWN_CONFIG = "octo/configs/"


@dataclass(frozen=True)
class Targets:
    """What the router sends an app's requests to; written by the commit of a deploy."""

    release: int
    routed: bool = True
    addresses: tuple[str, ...] = ()  # "address:port"
    front: Front = field(default_factory=Front)
    streams: tuple[Stream, ...] = ()  # its ports of the host, those without containers too


@dataclass(frozen=True)
class Live:
    """What lists show of the release that serves, so that they read one key an app."""

    version: int
    created_at: float
    routed: bool = True
    processes: Mapping[str, str | None] = field(default_factory=dict)
    stack: str = ""  # as in Build.stack
    slug: int = 0  # bytes, as in Build.slug
    port: int = 5000


def free_addresses(candidates: Iterable[str], taken: Mapping[str, str], count: int, *, after: str | None) -> list[str]:
    """Choose `count` addresses, going round from `after`, so that a freed one rests as long as can be."""
    every = list(candidates)
    start = every.index(after) + 1 if after in every else 0
    free = [a for a in every[start:] + every[:start] if a not in taken]
    if len(free) < count:
        raise Conflict("cannot allot an address: all of the apps' network are taken", hint="Choose a larger subnet.")
    return free[:count]


def usable(prefix: str, found: Iterable[tuple[str, Value]]) -> Iterable[tuple[str, str]]:
    """The pairs below `prefix` that can be config: see config_key and config_value."""
    for key, value in found:
        with suppress(Usage, UnicodeDecodeError):
            yield config_key(key.removeprefix(prefix)), config_value(value.data.decode())


def digest(config: Mapping[str, str]) -> bytes:
    """Without DOMAINS, which makes no release: who has which domain is told by the documents."""
    config = {key: value for key, value in config.items() if key != "DOMAINS"}
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest().encode()


def strange(
    apps: Iterable[App], found: Iterable[tuple[str, Value]], known: Mapping[str, bytes], domains: Iterable[Domain]
) -> dict[str, bytes]:
    """As Catalog.strange. found: all that lies where config does. known: digests by App.id."""
    values: dict[str, list[tuple[str, Value]]] = {}
    for key, value in found:
        values.setdefault(key.split("/")[1], []).append((key, value))
    owned: dict[str, set[str]] = {}
    for domain in domains:
        owned.setdefault(domain.app, set()).add(domain.hostname)
    result = {}
    for app in apps:
        config = dict(usable(f"{CONFIG}{app.name}/", values.get(app.name, ())))
        named = config.get("DOMAINS", "")
        other = "DOMAINS" in config and set(named.replace(",", " ").split()) != owned.get(app.id, set())
        if other or known.get(app.id, digest(config)) != digest(config):
            result[app.id] = digest({**config, "-": named})
    return result


def known_write(app: App, config: Mapping[str, str]) -> Write:
    """Say that octo knows of this config: it is in a release, or waits for the next one."""
    return Write(f"{KNOWN_CONFIG}{app.id}", digest(config))


def lock_key(app: str) -> str:
    """app: App.id."""
    return f"octo/locks/{app}"


def app_write(app: App) -> Write:
    return Write(f"octo/apps/{app.id}", codec.dumps(app))


def ending_write(app: App, at: float | None) -> Write:
    """The app goes by itself at that time; None: it stays."""
    return Write(ENDS + app.id, None if at is None else repr(at).encode())


def release_write(release: Release, *, expect: int | None = None) -> Write:
    return Write(release_key(release.app, release.version), codec.dumps(release), expect)


def scale_write(app: App, scale: Mapping[str, int]) -> Write:
    return Write(f"octo/formation/{app.id}", codec.dumps(scale))


def targets_write(app: App, targets: Targets) -> Write:
    return Write(f"octo/routes/{app.id}", codec.dumps(targets))


def domain_write(name: Hostname, domain: Domain | None, *, expect: int | None = None) -> Write:
    """domain None removes it."""
    return Write(f"octo/domains/{name}", None if domain is None else codec.dumps(domain), expect)


def address_write(address: str, name: str | None) -> Write:
    """name None frees the address."""
    return Write(ADDRESSES + address, None if name is None else name.encode(), 0 if name else None)


def branch_key(parent: str, ref: str) -> str:
    """Hashed: a branch may be longer than a key, and hold any character."""
    return f"octo/branches/{parent}/{hashlib.sha256(ref.encode('utf-8', 'surrogateescape')).hexdigest()[:40]}"


def release_key(app: str, version: int) -> str:
    return f"octo/releases/{app}/{version:08d}"
