"""One command in a process of its own: streams, environment and session made of what the caller sent."""

import io
import os
import re
import select
import sys
from collections.abc import Mapping
from pathlib import Path

from octo.cli.client import Api
from octo.cli.session import Session, read_remotes

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SAFE = {"TERM": re.compile(r"[A-Za-z0-9._+-]{1,64}"), "COLUMNS": re.compile(r"[1-9]\d{0,3}")}
_SAFE["LINES"] = _SAFE["COLUMNS"]


def session(api: Path, fields: Mapping[str, str]) -> Session:
    """Make this process the caller's: call it once, in the child."""
    _environment(fields)
    _streams()
    return Session(
        Api(api, fields.get("token", "")),
        actor=fields.get("actor", ""),
        remote=bool(fields.get("from")),
        remotes=read_remotes(fields.get("remotes", "").split("\n")),
    )


def _environment(fields: Mapping[str, str]) -> None:
    """Nothing of octod's, and of the caller's only what formats output."""
    os.environ.clear()
    os.environ |= {"PATH": PATH, "LANG": "C.UTF-8"}
    for name, form in _SAFE.items():
        value = fields.get(name.lower(), "")
        if form.fullmatch(value):
            os.environ[name] = value


class _Patient(io.FileIO):
    """A descriptor that somebody else may have made non-blocking: wait, where Python would fail."""

    def write(self, data: object) -> int:
        while True:
            count: int | None = super().write(data)  # type: ignore[arg-type]
            if count is not None:
                return count
            select.select([], [self], [])


def _streams() -> None:
    sys.stdin = open(0, encoding="utf-8", errors="surrogateescape", closefd=False)  # noqa: SIM115
    sys.stdout = _writer(1, by_line=os.isatty(1))
    sys.stderr = _writer(2, by_line=True)


def _writer(descriptor: int, *, by_line: bool) -> io.TextIOWrapper:
    raw = io.BufferedWriter(_Patient(descriptor, "w", closefd=False))
    return io.TextIOWrapper(raw, encoding="utf-8", errors="surrogateescape", line_buffering=by_line)
