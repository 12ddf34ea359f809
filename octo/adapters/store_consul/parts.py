"""Values that are too big for one transaction: pieces under keys of their own, and a head in the value's place.

The pieces are written first, the head with the transaction: so the value changes at once or not at all.
"""

import json
import logging
import threading
from collections.abc import Iterable
from contextlib import suppress
from urllib.parse import quote, unquote

from octo.agent import Agent, Found, Refused
from octo.errors import OctoError, Unavailable

PIECE = 300_000  # bytes of one piece: as base64 it fits into a transaction
PLAIN, PARTED = 0x6F, 0x70  # the last byte of the flags; the rest is the writer's mark

log = logging.getLogger(__name__)


class Replaced(Exception):
    """The value was written anew while its pieces were being read."""


class Parts:
    def __init__(self, agent: Agent, root: str) -> None:
        self._agent, self._root = agent, root
        self._known: dict[str, set[str]] = {}  # key -> marks of which there are pieces
        self._mutex = threading.Lock()

    def split(self, key: str, data: bytes, mark: str) -> bytes:
        """Write the pieces; returns the head."""
        with self._mutex:
            self._known.setdefault(key, set()).add(mark)
        pieces = [data[start : start + PIECE] for start in range(0, len(data), PIECE)]
        for number, piece in enumerate(pieces):
            self._agent.do({"Verb": "set", "Key": f"{self._folder(key, mark)}{number:06d}", "Value": piece})
        return json.dumps({"mark": mark, "pieces": len(pieces)}).encode()

    def whole(self, found: Found) -> bytes:
        """The value of what was found. Raises Replaced."""
        if found.flags & 0xFF != PARTED:
            return found.data
        head = json.loads(found.data)
        folder = self._folder(found.key, head["mark"])
        try:
            pieces = [self._agent.read({"Verb": "get", "Key": f"{folder}{n:06d}"}) for n in range(head["pieces"])]
        except Refused:
            now = self._agent.read({"Verb": "get", "Key": found.key})
            if now and now[0].version == found.version:
                raise Unavailable(f'cannot read "{found.key}": pieces of it are missing in Consul') from None
            raise Replaced from None
        return b"".join(piece[0].data for piece in pieces)

    def forget(self, keys: Iterable[str], *, but: str = "", only: str = "") -> None:
        """Remove the pieces of these keys, but those with that mark, or only those.

        What fails is removed at the next start.
        """
        for key in keys:
            with self._mutex:
                known = self._known.get(key, set())
                old = known & {only} if only else known - {but}
                known -= old
            for mark in old:
                with suppress(OctoError):
                    self._remove(key, mark)

    def sweep(self) -> None:
        """Remove the pieces of writes that were never done."""
        _, keys = self._agent.ask(lambda: self._agent.api.kv.get(self._root, keys=True))
        for folder in sorted({key.removeprefix(self._root).rpartition("/")[0] for key in keys or ()}):
            quoted, _, mark = folder.partition("/")
            key = unquote(quoted)
            if self._mark_of(key) == mark:
                self._known.setdefault(key, set()).add(mark)
            else:
                log.warning('removing pieces of "%s" that belong to no value', key)
                self._remove(key, mark)

    def _mark_of(self, key: str) -> str:
        try:
            found = self._agent.read({"Verb": "get", "Key": key})
        except Refused:
            return ""
        parted = found and found[0].flags & 0xFF == PARTED
        return str(json.loads(found[0].data)["mark"]) if parted else ""

    def _remove(self, key: str, mark: str) -> None:
        self._agent.do({"Verb": "delete-tree", "Key": self._folder(key, mark)})

    def _folder(self, key: str, mark: str) -> str:
        return f"{self._root}{quote(key, safe='')}/{mark}/"
