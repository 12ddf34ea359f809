"""Signed paths: what may be done with one blob, once, until when.

The key is this process's own and is kept nowhere: nothing on disk gives it away, and a path that was signed before
octod's restart, when the memory of the used ones was lost, is worth nothing. A path has one spelling only: what is not
that very text, byte for byte, is refused before anything is decoded.
"""

import hmac
import json
import re
import secrets
import threading
import time
from collections.abc import Callable

from octo.errors import Forbidden, Usage
from octo.specs import Grant

LONGEST = {"GET": 600.0, "PUT": 3600.0}  # seconds

_PART = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}"
_NAME = re.compile(rf"{_PART}(?:/{_PART}){{0,7}}")
_TARGET = re.compile(
    rf"/blobs/(?P<name>{_PART}(?:/{_PART}){{0,7}})"
    r"\?expires=(?P<expires>[0-9]{1,12})&most=(?P<most>[0-9]{1,15})"
    r"&nonce=(?P<nonce>[0-9a-f]{32})&signature=(?P<signature>[0-9a-f]{64})"
)


def blob_name(text: str) -> str:
    """The name, when it is one that leads nowhere but to a blob. Raises Usage."""
    if not _NAME.fullmatch(text):
        raise Usage(f"cannot use {text[:64]!r} as the name of a blob")
    return text


class Signer:
    """now: seconds on a clock that nobody sets."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._key = secrets.token_bytes(32)
        self._used: dict[str, int] = {}  # nonce -> when it expires
        self._lock = threading.Lock()

    def sign(self, method: str, name: str, *, seconds: float, most: int = 0) -> str:
        """As Blobs.sign."""
        if not 0 < seconds <= LONGEST[method] or (most <= 0) is (method == "PUT"):
            raise ValueError(f"BUG: nobody may be allowed {method} for {seconds} s with {most} bytes")
        expires, nonce = int(self._now() + seconds), secrets.token_hex(16)
        signature = self._signature(method, blob_name(name), str(expires), str(most), nonce)
        return f"/blobs/{name}?expires={expires}&most={most}&nonce={nonce}&signature={signature}"

    def check(self, method: str, target: str) -> Grant:
        """As Blobs.check."""
        found = _TARGET.fullmatch(target)
        if not found:
            raise Forbidden("cannot read that address: octo has not signed it")
        name, expires, most, nonce, given = found.groups()
        if not hmac.compare_digest(self._signature(method, name, expires, most, nonce), given):
            raise Forbidden("cannot allow that: octo has not signed it for this object and method")
        with self._lock:
            now = self._now()
            self._used = {n: until for n, until in self._used.items() if until > now}
            if int(expires) <= now:
                raise Forbidden("cannot allow that: the address has expired")
            if nonce in self._used:
                raise Forbidden("cannot allow that: the address was used already")
            self._used[nonce] = int(expires)
        return Grant(method, name, int(most))

    def renew(self, target: str) -> None:
        """As Blobs.renew."""
        found = _TARGET.fullmatch(target)
        if found:
            with self._lock:
                self._used.pop(found["nonce"], None)

    def _signature(self, *fields: str) -> str:
        text = json.dumps(fields).encode()  # a list: no two of them read the same
        return hmac.new(self._key, text, "sha256").hexdigest()
