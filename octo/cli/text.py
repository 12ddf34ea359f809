"""What people see: lines, tables, JSON, steps; safe for the terminal that shows them."""

import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TextIO

from octo.errors import OctoError

# CSI, OSC and its kin, other escapes, C0, DEL, C1. Colours (SGR) are kept by `clean`, as git and Heroku do.
_STEERING = re.compile(
    r"(\x1b\[[0-9;]*m)|"
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[ -/]*[0-~]|"
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]"
)
_UNITS = ((1024**3, "GB"), (1024**2, "MB"), (1024, "KB"))
_LEADS = {"step": "-----> ", "detail": "       ", "error": " !     ", "result": "=====> ", "raw": "       "}
GREEN, RED, YELLOW, PLAIN = "\x1b[32m", "\x1b[31m", "\x1b[33m", "\x1b[0m"


def clean(text: str) -> str:
    """Leave text, tabs, line ends and colours; drop what else a terminal would obey."""
    return _STEERING.sub(lambda m: m[1] or "", text.replace("\r\n", "\n"))


def cell(value: object) -> str:
    """One line without colours."""
    shown = "" if value is None else str(value)
    return _STEERING.sub("", shown.replace("\r", "").replace("\n", "\\n").replace("\t", " "))


def line(text: str = "") -> None:
    sys.stdout.write(clean(text) + "\n")


def note(text: str) -> None:
    """Beside the result: on stderr, at once."""
    sys.stderr.write(clean(text) + "\n")
    sys.stderr.flush()


def raw(text: str, *, guarded: bool) -> None:
    """Exactly what it is, but for a terminal that it would steer."""
    sys.stdout.write(clean(text) if guarded else text)


def show_json(value: Any) -> None:
    """ASCII alone: nothing in it can steer a terminal."""
    sys.stdout.write(json.dumps(value, indent=2).replace("\x7f", "\\u007f") + "\n")


def table(head: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> None:
    """Aligned columns; `empty` is said on stderr when there are no rows."""
    cells = [[cell(value) for value in row] for row in rows]
    if not cells:
        note(empty)
        return
    wide = [max(map(len, column)) for column in zip(head, *cells, strict=True)]
    for row in [list(head), *cells]:
        sys.stdout.write("  ".join(c.ljust(w) for c, w in zip(row, wide, strict=True)).rstrip() + "\n")


def pairs(values: Mapping[str, object]) -> None:
    """name: value, aligned; those without a value are left out."""
    shown = {name: value for name, value in values.items() if value not in (None, "")}
    wide = max(map(len, shown), default=0) + 1
    for name, value in shown.items():
        sys.stdout.write(f"{cell(name) + ':':<{wide}} {cell(value)}".rstrip() + "\n")


def when(iso: object) -> str:
    """2026-11-20T21:56:00Z for people, who are not all in one time zone: still UTC."""
    return str(iso or "").replace("T", " ").replace("Z", " UTC")


def size(number: int) -> str:
    """Bytes for people: 0, 12 KB, 3.4 MB, 1.25 GB."""
    for unit, name in _UNITS:
        if number >= unit:
            count = number / unit
            return f"{count:.2f} {name}" if count < 10 and name == "GB" else f"{count:.{int(count < 10)}f} {name}"
    return str(number)


def coloured(text: str, colour: str) -> str:
    return f"{colour}{text}{PLAIN}" if sys.stdout.isatty() else text


def complain(error: OctoError, *, as_json: bool) -> None:
    if as_json:
        document = {"id": error.id, "message": error.message, "hint": error.hint}
        sys.stderr.write(json.dumps(document) + "\n")
    else:
        hint = [f"       {clean(error.hint)}"] if error.hint else []
        sys.stderr.write("\n".join([f" !     {clean(error.message)}", *hint]) + "\n")
    sys.stderr.flush()


class Steps:
    """Shows what octod tells while it deploys, in the tradition of push output."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self.shown = 0  # lines

    def tell(self, kind: str, text: str) -> None:
        lead = _LEADS.get(kind, _LEADS["raw"])
        out = sys.stderr if kind == "error" else self._out
        for part in clean(text).removesuffix("\n").split("\n"):
            out.write(f"{lead}{part}".rstrip() + "\n")
            self.shown += 1
        out.flush()
