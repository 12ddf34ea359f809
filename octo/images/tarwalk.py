"""The members of a tar as it passes: their names and kinds, without unpacking anything. Source: tar(5), pax(1)."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from octo.errors import BuildFailed

BLOCK = 512  # bytes
MOST_EXTRA = 1024 * 1024  # bytes of one extended header, as Go's archive/tar takes them
FILE, HARD_LINK, LINK, FOLDER = "0", "1", "2", "5"
_LONG_NAME, _LONG_LINK, _PAX, _PAX_ALL = "L", "K", "x", "g"
_EXTRA = (_LONG_NAME, _LONG_LINK, _PAX, _PAX_ALL)


@dataclass(frozen=True)
class Member:
    name: bytes
    kind: str  # the tar's type letter
    link: bytes
    size: int
    at: int  # offset of its content
    begin: int = 0  # offset of its first header
    end: int = 0  # and of what comes behind it


class Tally:
    """How many files and folders names make, with the folders on the way to them that were never named themselves.

    Exact where names come folder by folder, as tar writes them; else too many, never too few.
    """

    def __init__(self) -> None:
        self.number = 0
        self._last: list[bytes] = []

    def add(self, name: bytes) -> int:
        """Returns how many there are now."""
        parts = [part for part in name.split(b"/") if part not in (b"", b".")]
        pairs = zip(self._last, parts, strict=False)
        same = next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(self._last), len(parts)))
        self.number += max(1, len(parts) - same)
        self._last = parts
        return self.number


class Walk:
    """Feed it the tar in pieces of any size. Raises BuildFailed for what is no tar."""

    def __init__(self, member: Callable[[Member], None]) -> None:
        self.end: int | None = None  # offset of the empty block that ends it
        self._member = member
        self._at = 0  # bytes seen
        self._begin: int | None = None  # of the member whose headers are being read
        self._skip = 0  # bytes of content to pass over
        self._need = BLOCK
        self._kept = bytearray()
        self._kind = ""  # of the extended header that is being collected; "" a plain one
        self._size = 0  # of it
        self._more: dict[str, bytes] = {}  # what extended headers say of the next member

    def feed(self, chunk: bytes) -> None:
        at = 0
        while at < len(chunk) and self.end is None:
            if self._skip:
                step = min(self._skip, len(chunk) - at)
                self._skip, at, self._at = self._skip - step, at + step, self._at + step
                continue
            step = min(self._need - len(self._kept), len(chunk) - at)
            self._kept += chunk[at : at + step]
            at, self._at = at + step, self._at + step
            if len(self._kept) == self._need:
                data, self._kept, self._need = bytes(self._kept), bytearray(), BLOCK
                self._extra(data) if self._kind else self._head(data)

    def finish(self) -> None:
        """Raise BuildFailed when it breaks off."""
        if self._skip or self._kept or self._kind:
            raise broken("it breaks off in the middle")

    def _head(self, head: bytes) -> None:
        if not any(head):
            self.end = self._at - BLOCK
            return
        if sum(head) - sum(head[148:156]) + 256 != _number(head[148:156]):
            raise broken("it is no tar")
        kind, size = chr(head[156] or 48), _number(head[124:136])
        if self._begin is None:
            self._begin = self._at - BLOCK
        if kind in _EXTRA:
            if size > MOST_EXTRA:
                raise broken("a name in it is too long")
            self._kind, self._size, self._need = kind, size, -(-size // BLOCK) * BLOCK
            if not size:
                self._kind, self._need = "", BLOCK
            return
        name, prefix = _text(head[:100]), _text(head[345:500]) if head[257:263] == b"ustar\0" else b""
        more, self._more = self._more, {}
        size = int(more.get("size", size))
        self._skip = -(-size // BLOCK) * BLOCK if kind not in (HARD_LINK, LINK, FOLDER, "3", "4", "6") else 0
        name = more.get("path", prefix + b"/" + name if prefix else name)
        link, begin, self._begin = more.get("linkpath", _text(head[157:257])), self._begin, None
        self._member(Member(name, kind, link, size, self._at, begin, self._at + self._skip))

    def _extra(self, data: bytes) -> None:
        kind, data, self._kind = self._kind, data[: self._size], ""
        if kind == _LONG_NAME:
            self._more["path"] = data.rstrip(b"\0")
        elif kind == _LONG_LINK:
            self._more["linkpath"] = data.rstrip(b"\0")
        elif kind == _PAX:
            self._more |= _records(data)


def _records(data: bytes) -> dict[str, bytes]:
    """ "30 path=some/name\n" one behind the other."""
    found: dict[str, bytes] = {}
    while data:
        length, space, _ = data.partition(b" ")
        if not space or not length.isdigit() or not len(length) < int(length) <= len(data):
            raise broken("an extended header in it is none")
        key, _, value = data[len(length) + 1 : int(length) - 1].partition(b"=")
        data = data[int(length) :]
        if key in (b"path", b"linkpath") or (key == b"size" and value.isdigit() and len(value) < 20):
            found[key.decode()] = value
        elif key == b"size" or key.startswith(b"GNU.sparse."):
            raise broken("a file in it is of a kind that is not taken")
    return found


def _number(field: bytes) -> int:
    if field[0] & 0x80:  # GNU: base 256
        return int.from_bytes(field[1:])
    digits = field.strip(b" \0")
    if digits and not re.fullmatch(rb"[0-7]+", digits):
        raise broken("it is no tar")
    return int(digits or b"0", 8)


def _text(field: bytes) -> bytes:
    return field.split(b"\0", 1)[0]


def broken(why: str) -> BuildFailed:
    return BuildFailed(f"cannot read the files: {why}")
