"""nginx's logs: the access log counted and kept small, the error log quoted.

The log folder belongs to nginx's uid, so root opens nothing in it through a link and waits on no pipe.
"""

import json
import logging
import os
import re
import stat
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from octo import codec
from octo.ports import Tally

log = logging.getLogger(__name__)

LIMIT = 20 * 1024 * 1024  # bytes of a log; twice that is on disk at most, between two looks
_TAIL = 256 * 1024  # bytes of the error log that are looked at
_BY_ROUTER = frozenset(("502", "503", "504"))
_SERIOUS = re.compile(r"\[(emerg|alert)\]")
# Said about each connection that outlived the drain budget; nothing is wrong then.
_HARMLESS = re.compile(r"open socket #\d+ left in connection|: aborting$")


@dataclass(frozen=True)
class Offsets:
    """Positions count from the first line ever written, so that a mark outlives rotations and octod."""

    rotated: int = 0  # position at which access.log.1 begins
    current: int = 0  # position at which access.log begins
    calm: int = 0  # offset in error.log up to which all is well again


class Logs:
    def __init__(self, prefix: Path, *, limit: int = LIMIT) -> None:
        self._access = prefix / "logs" / "access.log"
        self._error = prefix / "logs" / "error.log"
        self._state = prefix / "logs.json"
        self._limit = limit
        self._lock = threading.Lock()

    # --- the access log

    def mark(self) -> int:
        with self._lock:
            return self._offsets().current + _size(self._access)

    def tally(self, app: str, since: int) -> Tally:
        """Count the app's requests from the mark on.

        failed: a 502, 503 or 504 for which no container had sent a header. What the client itself gave up (499) or
        sent wrongly (other answers of nginx) counts as neither. What was rotated away twice is no longer counted.
        """
        with self._lock:
            offsets = self._offsets()
        served = failed = 0
        for entry in self._entries(offsets, since, b'"app":' + json.dumps(app).encode()):
            if entry.get("app") != app:
                continue
            answered = _answered(entry)
            served += answered
            failed += not answered and entry.get("status") in _BY_ROUTER
        return Tally(served, failed)

    def _entries(self, offsets: Offsets, since: int, needle: bytes) -> Iterator[dict[str, object]]:
        if since < offsets.current:
            yield from _parsed(_old(self._access), since - offsets.rotated, needle)
        past = since - offsets.current
        yield from _parsed(self._access, past if past <= _size(self._access) else 0, needle)

    def rotate(self, reopen: Callable[[], bool]) -> None:
        """Put a log away that is over the limit; `reopen` tells nginx, and whether there is one."""
        with self._lock:
            large = [file for file in (self._access, self._error) if _size(file) > self._limit]
            if not large:
                return
            offsets = self._offsets()
            if self._access in large:
                offsets = replace(offsets, rotated=offsets.current, current=offsets.current + _size(self._access))
            if self._error in large:
                offsets = replace(offsets, calm=0)
            for file in large:
                file.replace(_old(file))
            self._save(offsets)
            if reopen():
                _await(lambda: all(file.exists() for file in large))

    def _offsets(self) -> Offsets:
        try:
            return codec.loads(Offsets, self._state.read_bytes())
        except (OSError, ValueError, TypeError, AttributeError):
            return Offsets()

    def _save(self, offsets: Offsets) -> None:
        fresh = self._state.with_suffix(".new")
        try:
            fresh.write_bytes(codec.dumps(offsets))
            fresh.replace(self._state)
        except OSError as error:  # a full disk must not undo a reload that is proven
            log.warning("cannot keep the positions in nginx's logs: %s", error.strerror)

    # --- the error log

    def error_mark(self) -> int:
        return _size(self._error)

    def calm(self) -> None:
        """What the error log said until now is over: a reload was proven."""
        with self._lock:
            self._save(replace(self._offsets(), calm=_size(self._error)))

    def serious(self, since: int | None = None) -> Sequence[str]:
        """The emerg and alert lines from the mark on, safe to print; None: since the last proven reload."""
        start = self._offsets().calm if since is None else since
        size = _size(self._error)
        raw = _lines(self._error, max(start if start <= size else 0, size - _TAIL))
        lines = [_printable(line.decode("utf-8", "replace").rstrip()) for line in raw]
        return [line for line in lines if _SERIOUS.search(line) and not _HARMLESS.search(line)]


def _answered(entry: dict[str, object]) -> bool:
    """Whether a container began to answer: its last attempt has a header time."""
    last = re.split(r", | : ", str(entry.get("upstream_header", "")))[-1]
    return last not in ("", "-") and entry.get("status") != "499"


def _parsed(file: Path, offset: int, needle: bytes) -> Iterator[dict[str, object]]:
    for line in _lines(file, max(0, offset)):
        if needle not in line:
            continue
        try:
            entry = json.loads(line)
        except ValueError:  # a line cut by a full disk
            continue
        if isinstance(entry, dict):
            yield entry


def _old(file: Path) -> Path:
    return file.with_name(f"{file.name}.1")


def _size(file: Path) -> int:
    try:
        return file.lstat().st_size
    except OSError:
        return 0


def _lines(file: Path, offset: int) -> Iterator[bytes]:
    try:
        fd = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return
    with open(fd, "rb") as opened:
        if stat.S_ISREG(os.fstat(fd).st_mode):
            opened.seek(offset)
            yield from opened


def _printable(line: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in line)[:500]


def _await(happened: Callable[[], bool], seconds: float = 2) -> None:
    end = time.monotonic() + seconds
    while not happened() and time.monotonic() < end:
        time.sleep(0.005)
