"""The Store in Consul's KV. Versions are ModifyIndexes; every read sees all that was written before (`consistent`).

All but the watching goes by transactions, whose keys lie in the body: a key is never part of a path, so none can be
bent by the way there. What Consul cannot take in one piece is in batches.py and parts.py, locks are in locks.py.
Whether octo wrote a key is told by its flags: `consul kv put` leaves them 0.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from itertools import takewhile
from pathlib import Path

from octo.adapters.store_consul.batches import Batches
from octo.adapters.store_consul.locks import Locks
from octo.adapters.store_consul.parts import Parts, Replaced
from octo.agent import Agent, Found, Refused
from octo.ports import Value, Write

LONGEST = 60.0  # seconds of one blocking query: what is between us and the agent may forget longer ones
LOCK_TTL = 10.0  # seconds, Consul's least; a dead process's locks are free after twice that


class ConsulStore:
    """prefixes: what octo's keys begin with, and what they begin with in Consul.

    own: a prefix in Consul for what belongs to the store itself, in keys that begin with a dot.
    memory: a file that keeps the session's id, so that the next process ends what a killed one held at once.
    """

    def __init__(
        self,
        agent: Agent,
        *,
        prefixes: Mapping[str, str],
        own: str,
        lock_ttl: float = LOCK_TTL,
        memory: Path | None = None,
    ) -> None:
        self._agent, self._prefixes, self._hidden = agent, prefixes, own + "."
        self._guarded: bool | None = None  # whether access control is on
        self._parts = Parts(agent, own + ".parts/")
        self._locks = Locks(agent, own + ".locks/", ttl=lock_ttl, memory=memory)
        self._batches = Batches(agent, self._parts, own + ".batches/", self._locks.fences)

    def about(self) -> str:
        self.list(next(iter(self._prefixes)))  # what it may, and not only that it answers
        return self._agent.about()

    def leave(self) -> None:
        self._locks.close()

    def close(self) -> None:
        self._locks.close()
        self._agent.close()

    def get(self, key: str) -> Value | None:
        self._batches.settle()
        at = self._at(key)
        while True:
            try:
                found = self._agent.read({"Verb": "get", "Key": at})
            except Refused:
                return None
            if not found:  # it is there, and was filtered out of the answer
                raise self._agent.denied(at)
            try:
                return self._value(found[0])
            except Replaced:
                continue

    def put(self, key: str, data: bytes, *, expect: int | None = None) -> int:
        return self._batches.write([Write(self._at(key), data, expect)])

    def put_many(self, writes: Sequence[Write]) -> None:
        if writes:
            self._batches.write([Write(self._at(w.key), w.data, w.expect) for w in writes])

    def delete(self, key: str) -> None:
        self._batches.write([Write(self._at(key), None)])

    def list(self, prefix: str) -> Sequence[tuple[str, Value]]:
        self._batches.settle()
        at, apart = self._at(prefix), self._apart(prefix)
        while True:
            found = self._agent.read({"Verb": "get-tree", "Key": at})
            if not found:
                self._prove_access(at)
            try:
                return sorted((prefix + f.key.removeprefix(at), self._value(f)) for f in found if not apart(f.key))
            except Replaced:
                continue

    def watch(self, prefix: str, since: int, timeout: float) -> int:
        """As the port says. May wake for nothing: when nothing is under the prefix, or Consul forgot old deletions.

        An index that went back, as after the restore of a snapshot, is returned as it is: then all may be new.
        """
        at, deadline = _clean(self._at(prefix)), time.monotonic() + timeout
        index = self._agent.index(at, 0, 0)
        while index == since and (left := deadline - time.monotonic()) > 0:
            index = self._agent.index(at, since, min(left, LONGEST))
        return index

    def lock(
        self, key: str, *, holder: str, wait: float = 0, waiting: Callable[[str], None] | None = None
    ) -> AbstractContextManager[None]:
        """As the port says. While it is held, writes to keys that bear its last word are done only if it still is.

        So a holder that Consul gave up, as after a pause of the whole machine, changes nothing of the next one's.
        """
        return self._locks.lock(key, holder=holder, wait=wait, waiting=waiting)

    def holder(self, key: str) -> str | None:
        return self._locks.holder(key)

    def _value(self, found: Found) -> Value:
        return Value(self._parts.whole(found), found.version)

    def _at(self, key: str) -> str:
        for mine, consuls in self._prefixes.items():
            if key.startswith(mine):
                return consuls + key.removeprefix(mine)
        raise ValueError(f"{key!r} is not octo's")

    def _apart(self, prefix: str) -> Callable[[str], bool]:
        """Whether a key in Consul, found under a prefix, is not of it: another prefix may lie below the same."""
        others = [consuls for mine, consuls in self._prefixes.items() if not prefix.startswith(mine)]
        apart = (self._hidden, *(consuls for consuls in others if consuls.startswith(self._at(prefix))))
        return lambda key: key.startswith(apart)

    def _prove_access(self, prefix: str) -> None:
        """An answer without keys may be one that access control has emptied. Raises Denied.

        Reads are filtered, writes are refused: so one is tried that cannot succeed.
        """
        if self._guarded is None:
            self._guarded = self._agent.guarded()
        if self._guarded:
            key = prefix + ".access"
            with suppress(Refused):
                self._agent.do({"Verb": "delete", "Key": key}, {"Verb": "check-index", "Key": key, "Index": 1})


def _clean(prefix: str) -> str:
    """What of a prefix can be part of a path: Consul shortens "a//b" and "a/../b" there, and refuses "a\\nb"."""
    *folders, last = prefix.split("/")
    kept = list(takewhile(_fits, folders))
    whole = len(kept) == len(folders) and (not last or _fits(last))
    return "/".join([*kept, last if whole else ""])


def _fits(word: str) -> bool:
    return word not in ("", ".", "..") and word.isprintable()
