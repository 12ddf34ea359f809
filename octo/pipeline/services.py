"""What the registry is told of a container: octohost's names, tags and checks. Pure."""

import re
from collections.abc import Mapping
from ipaddress import IPv4Address

from octo.errors import Usage
from octo.model import App, Check, Service, Slot, shown

WEB = "http"  # the tag whose services are asked by default, as octohost had it
_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}
_LEAST, _MOST = 1, 3600  # seconds
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")  # octohost's app_redis too
_TAG = re.compile(r"[!-+\--~]{1,128}")


def service_id(app: App, slot: Slot) -> str:
    """octohost's NAME-IP-PORT (row J1)."""
    return f"{app.name}-{slot.address}-{slot.port}"


def service_of(app: App, slot: Slot, config: Mapping[str, str]) -> Service:
    """config: of the container's release; CONSUL_TAGS, CUSTOM_CHECK, CUSTOM_CHECK_INTERVAL count. Raises Usage."""
    given = [word.strip() for word in config.get("CONSUL_TAGS", WEB).split(",")]
    tags = tuple(dict.fromkeys(tag for tag in (*given, f"v{slot.release}") if tag))
    check = check_of(config) if WEB in tags or config.get("CUSTOM_CHECK") else None
    return Service(service_id(app, slot), app.name, slot.address, slot.port, tags, check)


def by_hand(name: str, address: str, port: int, tags: str, config: Mapping[str, str]) -> Service:
    """A service that somebody set (row L23), for what octo does not run. tags: a list with commas; "" is http.

    config: of the app of that name, for its check. Raises Usage.
    """
    if not _NAME.fullmatch(name):
        hint = "Use lower-case letters, digits, dashes and underscores, a letter first."
        raise Usage(f"cannot use {shown(name)} as the name of a service", hint=hint)
    try:
        at = str(IPv4Address(address))
    except ValueError:
        raise Usage(f"cannot use {shown(address)} as the address of a service", hint="Give it as 10.0.0.5.") from None
    words = tuple(dict.fromkeys(word.strip() for word in (tags or WEB).split(",") if word.strip()))
    if not all(_TAG.fullmatch(word) for word in words):
        raise Usage(f"cannot use {shown(tags)} as tags", hint="Give them as http,blue.")
    check = check_of(config) if WEB in words else None
    return Service(f"{name}-{at}-{port}", name, at, port, words, check, by_hand=True)


def check_of(config: Mapping[str, str]) -> Check:
    """The check of a service: a GET of "/" every 15 s, unless the config has it otherwise. Raises Usage."""
    return Check(_path(config.get("CUSTOM_CHECK", "")), _seconds(config.get("CUSTOM_CHECK_INTERVAL", "")))


def _path(text: str) -> str:
    """Of a URL, the path and query alone: each container is asked at its own address, and nobody else is."""
    if text == "tcp":
        return ""
    matched = re.fullmatch(r"(?:https?://[^/?#\s]+)?(/[!-\"$-~]{0,2000})?(?:#.*)?", text)
    if not matched:
        raise Usage(
            f'cannot use "{text[:60]}" as CUSTOM_CHECK', hint='Set it to a path as "/health", to a URL, or to "tcp".'
        )
    return matched[1] or "/"


def _seconds(text: str) -> float:
    matched = re.fullmatch(r"(\d{1,9}(?:\.\d{1,3})?)(ms|s|m|h)?", text or "15s")
    seconds = float(matched[1]) * _UNITS[matched[2] or "s"] if matched else 0
    if not _LEAST <= seconds <= _MOST:
        raise Usage(
            f'cannot use "{text[:60]}" as CUSTOM_CHECK_INTERVAL', hint='Set it from 1s to 1h, as "30s" or "2m".'
        )
    return seconds
