"""Writes, all or none: as one transaction where Consul takes it as one.

More than 64 operations are written down first, as one document, in the transaction that checks what has to hold:
with it they are done. Then they are carried out, in as many transactions as it takes, and until that has ended every
read and write of this store waits; when Consul or octo fails on the way, the next call of either goes on with it.
"""

import base64
import json
import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from octo.adapters.store_consul.parts import PARTED, PIECE, PLAIN, Parts
from octo.agent import BODY, OPERATIONS, Agent, Found, Op, Refused
from octo.errors import Conflict, Unavailable
from octo.ports import Write

Fence = tuple[Op, str]  # a check that a lock is still held, and what to say when it is not
_ROUND = 200  # bytes of an operation beside its key and value, rather too many


@dataclass(frozen=True)
class _Put:
    """A write whose value fits. data None deletes."""

    key: str
    data: bytes | None
    flags: int
    expect: int | None

    def checks(self) -> Sequence[Op]:
        if self.expect is None:
            return ()
        if self.expect == 0:
            return ({"Verb": "check-not-exists", "Key": self.key},)
        return ({"Verb": "check-index", "Key": self.key, "Index": self.expect},)

    def act(self) -> Op:
        if self.data is None:
            return {"Verb": "delete", "Key": self.key}
        # Consul leaves the index as it is when nothing is different; the flags always are.
        return {"Verb": "set", "Key": self.key, "Value": self.data, "Flags": self.flags}

    def size(self) -> int:
        return len(json.dumps(self.key)) * (1 + len(self.checks())) + 4 * len(self.data or b"") // 3 + 2 * _ROUND


class Batches:
    def __init__(
        self, agent: Agent, parts: Parts, root: str, fences: Callable[[Sequence[str]], Sequence[Fence]]
    ) -> None:
        self._agent, self._parts, self._root, self._fences = agent, parts, root, fences
        self._unsettled = True  # something of an earlier process may be to be carried out
        self._mutex = threading.RLock()

    def settle(self) -> None:
        """Carry out what was begun and not ended; wait while another thread is at it."""
        if self._unsettled:
            with self._mutex:
                if self._unsettled:
                    for found in self._agent.read({"Verb": "get-tree", "Key": self._root}):
                        self._carry_out(found.key, json.loads(self._parts.whole(found)))
                    self._parts.sweep()
                    self._unsettled = False

    def write(self, writes: Sequence[Write]) -> int:
        """Do all or none; returns the version. Raises Conflict."""
        self.settle()
        mark = secrets.token_hex(5)  # Consul 1.8 reads numbers as floats: 53 bits at most
        puts = self._fitting(writes, mark)
        keys = [put.key for put in puts]
        try:
            if sum(len(put.checks()) + 1 for put in puts) + len(self._fences(keys)) <= OPERATIONS:
                acts = [op for put in puts for op in (*put.checks(), put.act())]
                version = self._commit(puts, acts, keys)
            else:
                version = self._in_steps(puts, keys, mark)
        except Conflict:
            self._parts.forget(keys, only=mark)
            raise
        self._parts.forget(keys, but=mark)
        return version

    def _fitting(self, writes: Sequence[Write], mark: str) -> list[_Put]:
        """Put into pieces what is too big by itself, then the biggest ones until the rest goes into a transaction."""
        puts = [_Put(w.key, w.data, _flags(mark, PLAIN), w.expect) for w in writes]
        while True:
            biggest = max(range(len(puts)), key=lambda i: len(puts[i].data or b""))
            key, data = puts[biggest].key, puts[biggest].data or b""
            alone = len(data) > PIECE
            together = len(puts) <= OPERATIONS and sum(put.size() for put in puts) > BODY and len(data) > 10 * _ROUND
            if not alone and not together:
                return puts
            head = self._parts.split(key, data, mark)
            puts[biggest] = _Put(key, head, _flags(mark, PARTED), puts[biggest].expect)

    def _commit(self, puts: Sequence[_Put], acts: Sequence[Op], keys: Sequence[str]) -> int:
        fences = self._fences(keys)
        ops = [*(op for op, _ in fences), *acts]
        try:
            found = self._agent.ask(lambda: self._agent.transact(ops), again=lambda: self._again(ops))
        except Refused as error:
            if error.index < len(fences):
                raise Unavailable(fences[error.index][1], hint="Try again.") from None
            key = ops[error.index]["Key"]
            if any(put.key == key and put.expect is not None for put in puts):
                raise Conflict(f'cannot write "{key}": it has changed meanwhile', hint="Try again.") from None
            raise Unavailable(f'cannot write "{key}" to Consul: {error.message}') from None
        return max((f.version for f in found), default=0)

    def _again(self, ops: Sequence[Op]) -> Sequence[Found]:
        """Nobody knows whether the try before was done: look for its mark before and after another one."""
        done = self._done(ops)
        if done:
            return done
        try:
            return self._agent.transact(ops)
        except Refused:
            done = self._done(ops)
            if done:
                return done
            raise

    def _done(self, ops: Sequence[Op]) -> Sequence[Found]:
        """What the transaction left, if it was done; a deletion leaves nothing, and is no harm to do twice."""
        for op in ops:
            if op["Verb"] == "set":
                try:
                    found = self._agent.transact([{"Verb": "get", "Key": op["Key"]}], consistent=True)
                except Refused:
                    return ()
                return [f for f in found if f.flags == op["Flags"]]
        return ()

    # --- more than one transaction ---

    def _in_steps(self, puts: Sequence[_Put], keys: Sequence[str], mark: str) -> int:
        name = self._root + mark
        plan = [[p.key, None if p.data is None else base64.b64encode(p.data).decode(), p.flags] for p in puts]
        checks = [op for put in puts for op in put.checks()]
        if len(checks) + len(self._fences(keys)) >= OPERATIONS:
            raise Unavailable(f"cannot write {len(puts)} keys to Consul at once: too many of them have to be checked")
        (document,) = self._fitting([Write(name, json.dumps(plan).encode())], mark)
        with self._mutex:
            self._unsettled = True  # whatever happens from here on, the next call looks
            try:
                version = self._commit(puts, [*checks, document.act()], keys)
            except Conflict:
                self._unsettled = False
                self._parts.forget([name])
                raise
            self._carry_out(name, plan)
            self._parts.forget([name])
            self._unsettled = False
        return version

    def _carry_out(self, name: str, plan: Sequence[Sequence[Any]]) -> None:
        puts = [_Put(key, None if data is None else base64.b64decode(data), flags, None) for key, data, flags in plan]
        for some in _portions(puts):
            self._agent.do(*(put.act() for put in some))
        self._agent.do({"Verb": "delete", "Key": name})


def _portions(puts: Sequence[_Put]) -> Iterator[Sequence[_Put]]:
    some: list[_Put] = []
    for put in puts:
        if some and (len(some) == OPERATIONS or sum(p.size() for p in some) + put.size() > BODY):
            yield some
            some = []
        some.append(put)
    if some:
        yield some


def _flags(mark: str, kind: int) -> int:
    return int(mark, 16) << 8 | kind
