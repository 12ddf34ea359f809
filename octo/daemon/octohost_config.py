"""What an octohost's KV means here: each app's config, in the order in which it can be had. Pure.

Values may be secrets: messages name keys alone.
"""

import base64
import binascii
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from octo.daemon.api_config import changes_of
from octo.daemon.moving import app_called
from octo.daemon.octohost_files import KV, PLAIN
from octo.errors import Usage
from octo.model import AppName, Hostname, hostname, shown
from octo.pipeline.domains import KEY as DOMAINS

TEMPLATE, FORCED = "NGINX_ALT", "SSL_FORCED"
PAIR = ("SSL_CERTIFICATE", "SSL_KEY")
STOCK, STOCK_FORCED = "nginx.ctmpl", "nginx-ssl.ctmpl"  # octohost's own: one block for all, and one that forces https
LONG = 5  # strange keys that are named


@dataclass(frozen=True)
class Found:
    """The KV as it was, by name; and what of it cannot be an app's config, in words."""

    apps: Mapping[AppName, Mapping[str, str]] = field(default_factory=dict, repr=False)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Wanted:
    """One app's config as it is to be here: what it starts with, and what can be had when it serves.

    nginx refuses a certificate for names that the app has not yet, and a template that it cannot read: those come last,
    each by itself, so that an app whose template is off serves all the same.
    """

    first: Mapping[str, str] = field(default_factory=dict, repr=False)
    domains: tuple[Hostname, ...] = ()
    last: tuple[Mapping[str, str], ...] = field(default=(), repr=False)
    notes: tuple[str, ...] = ()


def kv_export(data: bytes, prefix: str) -> Found:
    """Read what `consul kv export` printed: [{"key": ..., "flags": ..., "value": base64}]. Raises Usage."""
    try:
        entries = json.loads(data)
    except (ValueError, RecursionError):
        raise _unreadable("it is no JSON") from None
    if not isinstance(entries, list):
        raise _unreadable("it is no list")
    apps: dict[AppName, dict[str, str]] = {}
    strange: list[str] = []
    notes: list[str] = []
    lead = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
    for number, entry in enumerate(entries, 1):
        path, value = _entry(entry, number)
        name, _, key = path.removeprefix(lead).partition("/")
        app = _named(name) if path.startswith(lead) and key and "/" not in key else None
        if app is None:
            strange += [] if path.endswith("/") else [path]  # a folder of Consul's is no loss
            continue
        try:
            apps.setdefault(app, {})[key] = value.decode()
        except UnicodeDecodeError:
            notes.append(f"{app}: {shown(key)} is left out: it is no text in UTF-8")
    return Found(apps, (*notes, *_strange(strange, lead)))


def wanted(
    config: Mapping[str, str],
    suffixes: Iterable[str],
    *,
    pem: Callable[[str], str],
    template: Callable[[str], str],
) -> Wanted:
    """Sort an app's config. suffixes: octo's own.

    pem: what is to stand for the path of a certificate or key. template: the name here of a template of octohost's.
    Both raise Usage when there is none.
    """
    notes: list[str] = []
    good = {}
    for key, value in _restored(config, notes).items():
        why = "" if key in (DOMAINS, TEMPLATE, *PAIR) else _fault(key, value)
        if why:
            notes.append(f"{shown(key)} is left out: {why}")
        else:
            good[key] = value
    domains = _domains(good.pop(DOMAINS, ""), tuple(suffixes), notes)
    pair = _each(good, PAIR, pem, notes)
    if notes and len(pair) == 1:
        notes.append(f"{next(iter(pair))} is left out too: one is of no use without the other")
        pair = {}
    alternative = _each(good, (TEMPLATE,), template, notes)
    first = {key: value for key, value in good.items() if key not in (TEMPLATE, *PAIR)}
    return Wanted(first, domains, tuple(each for each in (pair, alternative) if each), tuple(notes))


def in_order(names: Iterable[AppName]) -> Sequence[AppName]:
    """What keeps others' data first; then what others link to, by octohost's names: shop_redis before shop."""
    return sorted(names, key=lambda name: (not name.endswith("_data"), -name.count("_"), name))


def _entry(entry: Any, number: int) -> tuple[str, bytes]:
    if isinstance(entry, dict) and isinstance(entry.get("key"), str):
        try:
            return entry["key"], base64.b64decode(entry.get("value") or "", validate=True)
        except (binascii.Error, ValueError, TypeError):
            pass
    raise _unreadable(f"entry {number} has no key, or a value that is no base64")


def _named(name: str) -> AppName | None:
    try:
        return app_called(name) if PLAIN.fullmatch(name) else None
    except Usage:
        return None


def _strange(keys: Sequence[str], lead: str) -> Sequence[str]:
    if not keys:
        return ()
    named = ", ".join(map(shown, keys[:LONG])) + (f" and {len(keys) - LONG} more" if len(keys) > LONG else "")
    return (f"{KV}: no app's config are {named}: that would be {lead}APP/KEY",)


def _unreadable(why: str) -> Usage:
    return Usage(f"cannot read {KV}: {why}", hint=f"Make it on the other server: consul kv export > {KV}")


def _restored(config: Mapping[str, str], notes: list[str]) -> Mapping[str, str]:
    """octohost's stock templates are what octo does by itself."""
    name = PurePosixPath(config.get(TEMPLATE, "")).name
    if name not in (STOCK, STOCK_FORCED):
        return config
    rest = {key: value for key, value in config.items() if key != TEMPLATE}
    notes.append(f"{TEMPLATE} is left out: octo serves as octohost's {name} did")
    return rest | {FORCED: rest.get(FORCED) or "1"} if name == STOCK_FORCED else rest


def _fault(key: str, value: str) -> str:
    try:
        changes_of({key: value})
    except Usage as error:
        return error.message
    return ""


def _domains(text: str, suffixes: Sequence[str], notes: list[str]) -> tuple[Hostname, ...]:
    """octohost wrote "a b" or "a,b", the app's own names among them."""
    names: dict[Hostname, None] = {}
    for word in text.replace(",", " ").split():
        try:
            name = hostname(word)
        except Usage as error:
            notes.append(f"a domain is left out: {error.message}")
            continue
        if not any(name == suffix or name.endswith(f".{suffix}") for suffix in suffixes):
            names[name] = None
    return tuple(names)


def _each(
    config: Mapping[str, str], keys: Iterable[str], found: Callable[[str], str], notes: list[str]
) -> dict[str, str]:
    result = {}
    for key in keys:
        if config.get(key):
            try:
                result[key] = found(config[key])
            except Usage as error:
                notes.append(f"{key} is left out: {error.message}")
    return result
