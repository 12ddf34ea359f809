"""Locks by one session of this process: Consul deletes its locks when the session is not renewed for its TTL.

Threads of one process wait for each other here; only the first of them asks Consul.
"""

import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import consul

from octo.agent import Agent, Op, Refused
from octo.agent.line import Away
from octo.errors import Locked, OctoError

LONGEST = 60.0  # seconds of one blocking query

log = logging.getLogger(__name__)


class Locks:
    def __init__(self, agent: Agent, root: str, *, ttl: float, memory: Path | None) -> None:
        self._agent, self._root, self._ttl, self._memory = agent, root, ttl, memory
        self._changed = threading.Condition()
        self._holders: dict[str, str] = {}  # of this process, also while they wait for Consul
        self._held: dict[str, str] = {}  # key -> the session by which Consul gave it
        self._owed: dict[str, str] = {}  # key -> session, of locks that could not be given back yet
        self._session = ""
        self._opening = threading.Lock()
        self._over = threading.Event()

    def close(self) -> None:
        self._over.set()
        if self._session:
            with suppress(OctoError, consul.ConsulException):
                self._agent.api.session.destroy(self._session)

    @contextmanager
    def lock(
        self, key: str, *, holder: str, wait: float = 0, waiting: Callable[[str], None] | None = None
    ) -> Iterator[None]:
        tell = _once(waiting) if waiting and wait > 0 else lambda _: None
        deadline = time.monotonic() + wait
        self._be_first(key, holder, deadline, tell)
        try:
            session = self._take(key, holder, deadline, tell)
            try:
                yield
            finally:
                self._held.pop(key, None)
                self._give_back(key, session)
        finally:
            with self._changed:
                del self._holders[key]
                self._changed.notify_all()

    def holder(self, key: str) -> str | None:
        with self._changed:
            if key in self._held:
                return self._holders.get(key)
        try:
            found = self._agent.read({"Verb": "get", "Key": self._at(key)})
        except Refused:
            return None
        return found[0].data.decode("utf-8", "replace") if found and found[0].session else None

    def fences(self, keys: Sequence[str]) -> Sequence[tuple[Op, str]]:
        """Checks for a transaction that writes these keys: that locks whose last word is in one are still held."""
        words = {word for key in keys for word in key.split("/")}
        with self._changed:
            held = [(key, session) for key, session in self._held.items() if key.rpartition("/")[2] in words]
        return [
            (
                {"Verb": "check-session", "Key": self._at(key), "Session": session},
                f"cannot go on: Consul did not hear of octo for too long, and gave the lock {key!r} away",
            )
            for key, session in held
        ]

    # --- taking ---

    def _be_first(self, key: str, holder: str, deadline: float, tell: Callable[[str], None]) -> None:
        """Wait for the other threads of this process."""
        while True:
            with self._changed:
                other = self._holders.get(key)
                if other is None:
                    self._holders[key] = holder
                    return
            tell(other)  # outside the condition: it may write to a slow client
            with self._changed:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise _locked(key, other)
                self._changed.wait_for(lambda: key not in self._holders, left)

    def _take(self, key: str, holder: str, deadline: float, tell: Callable[[str], None]) -> str:
        at, since = self._at(key), 0
        while True:
            session = self._open()
            try:
                self._agent.do({"Verb": "lock", "Key": at, "Value": holder.encode(), "Session": session})
            except Refused:
                if not self._renew(session):
                    continue
            else:
                with self._changed:
                    self._held[key] = session
                    self._owed.pop(key, None)
                return session
            left = deadline - time.monotonic()
            other = self.holder(key)
            if other and left <= 0:
                raise _locked(key, other)
            if other:
                tell(other)
                since = self._agent.index(at, since, min(max(left, 0), LONGEST) if since else 0)

    def _give_back(self, key: str, session: str) -> None:
        with self._changed:
            self._owed[key] = session
        try:
            self._return(key, session)
        except Away as error:
            log.warning("cannot give back the lock %s yet: %s", key, error.message)
        except Refused:
            log.error("the lock %s was lost while it was held", key)

    def _return(self, key: str, session: str) -> None:
        """Raises Away, and Refused when it is somebody else's by now."""
        at = self._at(key)
        ops: Sequence[Op] = [
            {"Verb": "unlock", "Key": at, "Value": b"", "Session": session},
            {"Verb": "delete", "Key": at},
        ]
        try:
            self._agent.transact(ops)
        except Refused:
            self._owed.pop(key, None)
            raise
        self._owed.pop(key, None)

    # --- the session ---

    def _open(self) -> str:
        with self._opening:
            if not self._session:
                self._end_the_last()
                self._session = self._agent.ask(self._create)
                if self._memory:
                    self._memory.touch(0o600)
                    self._memory.write_text(self._session)
                threading.Thread(target=self._keep, args=[self._session], daemon=True, name="consul session").start()
            return self._session

    def _create(self) -> str:
        # No checks: of an agent that is down the TTL tells soon enough. No delay: writes are fenced.
        words: Mapping[str, object] = {
            "Name": f"octo, process {os.getpid()}",
            "TTL": f"{self._ttl * 1000:.0f}ms",
            "Behavior": "delete",
            "LockDelay": "0s",
            "Checks": [],
            "NodeChecks": [],
        }
        http, dc = self._agent.api.http, self._agent.datacenter
        params = [("dc", dc)] if dc else []
        return str(http.put(consul.callback.CB.json(is_id=True), "/v1/session/create", params, json.dumps(words)))

    def _end_the_last(self) -> None:
        """What a killed process held; that it has ended is known by the lock on octo's folder."""
        if self._memory and self._memory.exists():
            last = self._memory.read_text().strip()
            with suppress(OctoError):
                self._agent.ask(lambda: self._agent.api.session.destroy(last))

    def _keep(self, session: str) -> None:
        while not self._over.wait(self._ttl / 3):
            try:
                if not self._renew(session):
                    return
                self._pay()
            except OctoError as error:
                log.warning("cannot renew octo's locks: %s", error.message)

    def _pay(self) -> None:
        """Give back what could not be given back before, unless a thread has taken it again meanwhile."""
        for key, session in list(self._owed.items()):
            with self._changed:
                if key in self._holders:
                    continue
                self._holders[key] = "octo, giving it back"
            try:
                with suppress(Refused):
                    self._return(key, session)
            finally:
                with self._changed:
                    del self._holders[key]
                    self._changed.notify_all()

    def _renew(self, session: str) -> bool:
        """Whether the session is still there. One that has gone takes all its locks with it."""
        try:
            self._agent.api.session.renew(session)
        except consul.NotFound:
            with self._opening, self._changed:
                if self._session == session:
                    self._session = ""
                    lost = sorted(key for key, by in self._held.items() if by == session)
                    log.log(
                        logging.ERROR if lost else logging.INFO, "Consul ended octo's session; locks lost: %s", lost
                    )
            return False
        return True

    def _at(self, key: str) -> str:
        return self._root + quote(key, safe="")


def _once(tell: Callable[[str], None]) -> Callable[[str], None]:
    told: list[str] = []

    def first(holder: str) -> None:
        if not told:
            told.append(holder)
            tell(holder)

    return first


def _locked(key: str, holder: str) -> Locked:
    return Locked(f"cannot take the lock {key!r}: held by {holder}", holder=holder)
