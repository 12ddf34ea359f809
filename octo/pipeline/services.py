"""What the registry is told of a container: octohost's names, tags and checks. Pure."""

import re
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address

from octo.errors import Usage
from octo.model import App, Check, Service, Slot, shown

WEB = "http"  # the tag whose services are asked by default, as octohost had it
_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}
_LEAST, _MOST = 1, 3600  # seconds
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")  # octohost's app_redis too
_TAGS, _TAG = 64, 255  # tags, and characters of one


def service_id(app: App, slot: Slot) -> str:
    """octohost's NAME-IP-PORT (row J1)."""
    return f"{app.name}-{slot.address}-{slot.port}"


def service_of(app: App, slot: Slot, config: Mapping[str, str], image_tags: str = "") -> Service:
    """config: of the container's release; CONSUL_TAGS, CUSTOM_CHECK, CUSTOM_CHECK_INTERVAL count. Raises Usage.

    image_tags: CONSUL_TAGS in the image's ENV, which count where the config has none.
    """
    given = tags_of(config.get("CONSUL_TAGS", image_tags or WEB))
    tags = tuple(dict.fromkeys((*given, f"v{slot.release}")))
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
    words = tuple(dict.fromkeys(tags_of(tags or WEB)))
    if any(" " in word for word in words):
        raise Usage(f"cannot use {shown(tags)} as tags", hint="Give them as http,blue.")
    check = check_of(config) if WEB in words else None
    return Service(f"{name}-{at}-{port}", name, at, port, words, check, by_hand=True)


def tags_of(text: str) -> Sequence[str]:
    """A list with commas as tags. Raises Usage."""
    tags = [tag for tag in map(str.strip, text.split(",")) if tag]
    if len(tags) > _TAGS or any(len(tag) > _TAG or not tag.isprintable() for tag in tags):
        raise Usage(
            "cannot use CONSUL_TAGS", hint=f"Set it to at most {_TAGS} words of {_TAG} characters, with commas."
        )
    return tags


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
