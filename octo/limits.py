"""What the builds of one app may take where it differs from the host's settings: names, units, and the sum of both."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from octo.errors import Usage
from octo.model import App, shown
from octo.specs import GB, MB, Limits, Strike

KB = 1024
_SIZE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?) ?([KMGT])i?B?", re.IGNORECASE)
_TIME = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?) ?([smh]?)")
_COUNT = re.compile(r"[0-9]{1,9}")
_NUMBER = re.compile(r"[0-9]{1,4}(?:\.[0-9]{1,3})?")
_BYTES = {"K": KB, "M": MB, "G": GB, "T": KB * GB}
FRACTIONS = ("cpus", "seconds")
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600}


@dataclass(frozen=True)
class Kind:
    """One limit: how its value is read and written, and within which bounds it makes sense."""

    read: Callable[[str], float | None]  # None: it cannot be read
    write: Callable[[float], str]
    least: float
    most: float
    example: str
    what: str


def _size(text: str) -> float | None:
    """Bytes, in whole kilobytes."""
    found = _SIZE.fullmatch(text)
    return round(float(found[1]) * _BYTES[found[2].upper()] / KB) * KB if found else None


def _time(text: str) -> float | None:
    found = _TIME.fullmatch(text)
    return float(found[1]) * _SECONDS[found[2]] if found else None


def _count(text: str) -> float | None:
    return int(text) if _COUNT.fullmatch(text) else None


def _number(text: str) -> float | None:
    return float(text) if _NUMBER.fullmatch(text) else None


def size_text(number: float) -> str:
    """Bytes as `limits:set` takes them: 2G, 1.5G, 1500M; in the largest unit that says it exactly."""
    parts = ((number / _BYTES[unit], unit) for unit in "TGM")
    count, unit = next(((n, u) for n, u in parts if n >= 1 and n == round(n, 3)), (number / KB, "K"))
    return f"{_plain(count)}{unit}"


def _plain(number: float) -> str:
    return f"{number:.10g}"


KINDS: Mapping[str, Kind] = {
    "memory": Kind(_size, size_text, 32 * MB, KB * GB, "memory=2G", "memory, without swap"),
    "cpus": Kind(_number, _plain, 0.05, 1024, "cpus=2", "processors"),
    "pids": Kind(_count, _plain, 16, 4_000_000, "pids=1024", "processes and threads at once"),
    "seconds": Kind(_time, _plain, 1, 7 * 86400, "seconds=1800", "wall clock"),
    "disk": Kind(_size, size_text, 16 * MB, 16 * KB * GB, "disk=4G", "what a build may write"),
    "files": Kind(_count, _plain, 1000, 100_000_000, "files=500000", "files and folders"),
    "tmp": Kind(_size, size_text, MB, KB * GB, "tmp=1G", "what /tmp holds, of its memory"),
    "open_files": Kind(_count, _plain, 64, 1_048_576, "open_files=8192", "files open at once"),
    "output": Kind(_size, size_text, 64 * KB, GB, "output=20M", "what a build may print"),
    "slug": Kind(_size, size_text, MB, 64 * GB, "slug=500M", "size of the slug"),
}


def limit_name(text: str) -> str:
    if text not in KINDS:
        raise Usage(f"cannot use {shown(text)} as a limit", hint=f"The limits are: {', '.join(KINDS)}.")
    return text


def limit_value(name: str, text: str) -> float:
    """Read a limit's value: bytes, seconds or a number. Raises Usage, naming the form that it takes."""
    kind = KINDS[limit_name(name)]
    value = kind.read(text.strip())
    if value is None:
        raise Usage(f"cannot read {shown(text)} as a limit of {name}", hint=f"Give it as in {kind.example}.")
    if not kind.least <= value <= kind.most:
        raise Usage(
            f"cannot set {name} to {shown(text)}",
            hint=f"Give something from {kind.write(kind.least)} to {kind.write(kind.most)}.",
        )
    return value


def limit_text(name: str, value: float) -> str:
    """The value as `limit_value` reads it."""
    return KINDS[name].write(value)


def limits_for(host: Limits, app: App) -> Limits:
    """The host's limits with what the operator has set for this app."""
    known = {f.name: float if f.name in FRACTIONS else int for f in fields(Limits)}
    own: dict[str, Any] = {name: known[name](value) for name, value in app.limits.items() if name in known}
    return replace(host, **own)


def slug_limit(host: int, app: App) -> int:
    """Bytes that a slug of this app may have."""
    return int(app.limits.get("slug", host))


STRUCK: Mapping[Strike, Callable[[Limits], str]] = {  # what a build did that was ended for it
    Strike.MEMORY: lambda limits: f"ran out of memory (limit {size_words(limits.memory)})",
    Strike.PIDS: lambda limits: f"ran more than {limits.pids} processes and threads at once, the limit",
    Strike.SECONDS: lambda limits: f"ended after {limits.seconds:g} s, the limit",
    Strike.DISK: lambda limits: f"wrote more than {size_words(limits.disk)}, the limit",
    Strike.FILES: lambda limits: f"made more than {limits.files} files and folders, the limit",
    Strike.OUTPUT: lambda limits: f"printed more than {size_words(limits.output)}, the limit",
}


def how_to_raise(strike: Strike, name: str) -> str:
    """The hint for a build of the app of that name."""
    return f"Let it need less, or ask the operator: octo limits:set {name} {KINDS[strike.value].example}"


def size_words(number: int) -> str:
    """Bytes for a message: 1.5 GB, 300 MB."""
    return f"{number / GB:g} GB" if number >= GB else f"{number / MB:g} MB"
