"""A Consul agent: py-consul over connections of octo's own, and the transactions on which the store rests."""

import base64
import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import consul

from octo.agent.line import Api, Away, Denied, Line
from octo.errors import OctoError

PATIENCE = 15.0  # seconds that a call waits for a Consul that has just gone: a new leader takes five to ten
OPERATIONS = 64  # of one transaction
BODY = 500_000  # bytes of one transaction, of 524,288

T = TypeVar("T")
Op = Mapping[str, object]  # of type KV: Verb, Key, ...; Value is bytes


class Refused(OctoError):
    """A check of a transaction did not hold, and nothing of it was done. index: of the operation."""

    def __init__(self, what: str, index: int) -> None:
        super().__init__(f"cannot do the transaction: {what}")
        self.index = index


@dataclass(frozen=True)
class Found:
    """A key as Consul has it."""

    key: str
    data: bytes
    flags: int
    version: int  # ModifyIndex
    session: str


class Agent:
    """One agent. Safe for threads. Every call raises Away when nobody answers in time, Denied when it may not.

    url: http://, https:// or unix:///SOCKET. ca: a PEM file; "" trusts whom the host trusts.
    """

    def __init__(self, url: str, *, token: str = "", ca: str = "", datacenter: str = "", patience: float = PATIENCE):
        self.url, self.datacenter, self._patience = url, datacenter, patience
        self._line = Line(url, token, ca)
        self.api: Any = Api(self._line, datacenter)
        self._failing: tuple[float, float] | None = None  # since when, and when the last time

    def close(self) -> None:
        self._line.close()

    def ask(self, act: Callable[[], T], *, again: Callable[[], T] | None = None) -> T:
        """Do a call until it is answered. Raises OctoError, in Consul's own words, for what it refuses.

        again: what to do instead once a try had an unknown end.
        """
        pause = 0.05
        while True:
            began = time.monotonic()
            try:
                answer = act()
            except Away as error:
                if self._gave_up(began):
                    raise
                act = again if again and error.unknown else act
                time.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - so that not all come back at once
                pause = min(2 * pause, 1.0)
                continue
            except consul.ConsulException as error:
                raise OctoError(f"cannot use Consul at {self.url}: {str(error)[:300]}") from None
            self._failing = None
            return answer

    def _gave_up(self, began: float) -> bool:
        """Whether it is away for too long by now. Nobody waits again for one that is known to be away.

        began: when the call did that has failed now; Consul holds one without a leader for seven seconds.
        """
        now = time.monotonic()
        since, last = self._failing or (began, began)
        if began - last > max(4 * self._patience, 10):  # that was another time
            since = began
        self._failing = since, now
        return now - since >= self._patience

    def read(self, *ops: Op) -> Sequence[Found]:
        """A transaction of reads alone: all that was written before is seen. Raises Refused for an absent key."""
        found: Sequence[Found] = self.ask(lambda: self.transact(ops, consistent=True))
        return found

    def do(self, *ops: Op) -> Sequence[Found]:
        """A transaction that may be done twice. Raises Refused."""
        found: Sequence[Found] = self.ask(lambda: self.transact(ops))
        return found

    def transact(self, ops: Sequence[Op], *, consistent: bool = False) -> Sequence[Found]:
        """One try of one transaction. Source: Consul HTTP API, /v1/txn."""
        params = [("dc", self.datacenter)] if self.datacenter else []
        params += [("consistent", "")] if consistent else []
        answer = self.api.http.put(lambda given: given, "/v1/txn", params=params, data=payload(ops))
        if answer.code == 409:
            error = json.loads(answer.body)["Errors"][0]
            if error["What"].startswith("Permission denied"):  # the only sign that there is
                raise self.denied(str(ops[error["OpIndex"]]["Key"]))
            raise Refused(error["What"], error["OpIndex"])
        if answer.code != 200:
            raise OctoError(f"cannot use Consul at {self.url}: {answer.body.strip()[:300]}")
        return [_found(result["KV"]) for result in json.loads(answer.body)["Results"] or ()]

    def index(self, prefix: str, since: int, wait: float) -> int:
        """The index of a prefix: at once for since 0, else when it is another one or after about `wait` seconds."""

        def blocking() -> int:
            index, _ = self.api.kv.get(prefix, keys=True, separator="/", index=since, wait=f"{wait * 1000:.0f}ms")
            return int(index)

        return self.ask(blocking)

    def about(self) -> str:
        """Its version, where it may tell, and its cluster, in words."""
        leader, peers = self.ask(self.api.status.leader), self.ask(self.api.status.peers)
        try:
            version = self.ask(self.api.agent.self)["Config"]["Version"]
        except Denied:  # agent:read is more than octo needs
            version = ""
        servers = "1 server" if len(peers) == 1 else f"{len(peers)} servers"
        return f"{f'Consul {version}'.strip()} at {self.url}: {servers}, {leader or 'none'} leads"

    def guarded(self) -> bool:
        """Whether access control is on: without it nobody has a token. Raises Denied for an unknown token."""
        code = self.ask(lambda: self.api.http.get(lambda answer: answer.code, "/v1/acl/token/self"))
        return bool(code != 401)

    def denied(self, what: str) -> Denied:
        return Denied(
            f'cannot use "{what}" in Consul: its access control refuses octo\'s token',
            hint="Mend consul_token or its policy: see docs/consul.md.",
        )


def payload(ops: Sequence[Op]) -> bytes:
    def plain(op: Op) -> Op:
        data = op.get("Value")
        return {**op, "Value": base64.b64encode(data).decode()} if isinstance(data, bytes) else op

    return json.dumps([{"KV": plain(op)} for op in ops]).encode()


def _found(entry: Mapping[str, Any]) -> Found:
    data = base64.b64decode(entry["Value"] or "")
    return Found(entry["Key"], data, entry["Flags"], entry["ModifyIndex"], entry.get("Session", ""))
