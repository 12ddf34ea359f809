"""Procedures that survive a crash: tables of steps with do and undo, their position kept in the Store.

Before each step the journal holds its number: a step whose number is stored may have begun, may have ended, or
neither; so a step looks at the world and can run twice. What a step writes to the Store goes into one transaction
with the journal's new position. One step commits: its transaction is the point of no return. Before it a crash
goes back, after it forward.
"""

import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Generic, TypeVar

from octo import codec
from octo.errors import Conflict, Unavailable
from octo.ports import Store, Write

log = logging.getLogger(__name__)

S = TypeVar("S")  # the subject: a frozen dataclass that each step hands on

PREFIX = "octo/journal/"
TRIES = 20  # of a step whose writes conflict


class Way(Enum):
    DO = "do"  # steps from `next` on are to be done
    UNDO = "undo"  # steps from `next` down are to be undone


@dataclass(frozen=True)
class Step(Generic[S]):
    name: str
    do: Callable[[S], S]
    undo: Callable[[S], None] | None = None
    writes: Callable[[S], Sequence[Write]] | None = None  # stored in one transaction with the journal's position
    commits: bool = False  # the point of no return; its `writes` make it true


@dataclass(frozen=True)
class Procedure(Generic[S]):
    name: str
    kind: type[S]
    steps: tuple[Step[S], ...]
    about: Callable[[S], str]  # the subject in words, for the log

    @property
    def commit(self) -> int:
        return next(i for i, s in enumerate(self.steps) if s.commits)


@dataclass(frozen=True)
class Entry:
    """One line of the journal, as stored."""

    id: str
    procedure: str
    subject: Mapping[str, Any]
    way: Way = Way.DO
    next: int = 0
    reason: str = ""  # why it is being undone


class Journal:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._active: set[str] = set()  # entries that a thread of this process is at

    def begin(self, procedure: Procedure[S], subject: S, *, before: Callable[[str], None] = lambda _: None) -> "Entry":
        """Do all steps up to the commit, and return the entry for `finish`.

        before: told each step's name; what it raises undoes too.
        Undoes what was done and raises again when a step raises. Should an undo raise, the entry stays for `recover`.
        """
        entry = Entry(secrets.token_hex(6), procedure.name, codec.plain(subject))
        self._active.add(entry.id)
        try:
            self._keep(entry)
            while entry.next <= procedure.commit:
                before(procedure.steps[entry.next].name)
                entry = self._advance(procedure, entry)
        except Exception as error:
            try:
                if isinstance(error, Unavailable) and (done := self._committed(procedure, entry)):
                    return done
                self._undo(procedure, replace(entry, way=Way.UNDO, reason=str(error)))
            finally:
                self._active.discard(entry.id)
            raise
        return entry

    def finish(self, procedure: Procedure[S], entry: Entry) -> S:
        """Do the steps after the commit. They are tried again by `recover` when one raises."""
        self._active.add(entry.id)
        try:
            while entry.next < len(procedure.steps):
                entry = self._advance(procedure, entry)
            self._store.delete(PREFIX + entry.id)
        finally:
            self._active.discard(entry.id)
        return self._subject(procedure, entry)

    def open(self) -> Sequence[Entry]:
        """Every procedure that has not ended and that nobody is at."""
        return [e for e in self.all() if e.id not in self._active]

    def all(self) -> Sequence[Entry]:
        return [codec.loads(Entry, value.data) for _, value in self._store.list(PREFIX)]

    def recover(self, procedure: Procedure[S], entry: Entry) -> None:
        """After a crash: forward when it was committed, else back."""
        about = procedure.about(self._subject(procedure, entry))
        if entry.way is Way.DO and entry.next > procedure.commit:
            log.warning("finishing %s", about)
            self.finish(procedure, entry)
            return
        log.warning("undoing %s", about)
        reason = entry.reason or "octod was stopped in the middle"
        self._undo(procedure, replace(entry, way=Way.UNDO, reason=reason))

    def _advance(self, procedure: Procedure[S], entry: Entry) -> Entry:
        step = procedure.steps[entry.next]
        for _ in range(TRIES):
            subject = step.do(self._subject(procedure, entry))
            after = replace(entry, next=entry.next + 1, subject=codec.plain(subject))
            try:
                self._keep(after, *(step.writes(subject) if step.writes else ()))
            except Conflict as error:  # somebody else took what the step had chosen: let it choose again
                conflict = error
                continue
            return after
        raise conflict

    def _committed(self, procedure: Procedure[S], entry: Entry) -> Entry | None:
        """The entry as it is stored, when it says that the commit was done: a store may fail to say so.

        Raises Unavailable when nobody knows; `recover` will.
        """
        kept = self._store.get(PREFIX + entry.id)
        stored = codec.loads(Entry, kept.data) if kept else entry
        return stored if stored.way is Way.DO and stored.next > procedure.commit else None

    def _undo(self, procedure: Procedure[S], entry: Entry) -> None:
        """Undo the step that may have begun and all before it, in the opposite order."""
        self._keep(entry)
        while entry.next >= 0:
            undo = procedure.steps[entry.next].undo
            if undo:
                undo(_with_reason(self._subject(procedure, entry), entry.reason))
            entry = replace(entry, next=entry.next - 1)
            self._keep(entry)
        self._store.delete(PREFIX + entry.id)

    def _keep(self, entry: Entry, *writes: Write) -> None:
        self._store.put_many([Write(PREFIX + entry.id, codec.dumps(entry)), *writes])

    def _subject(self, procedure: Procedure[S], entry: Entry) -> S:
        subject: S = codec.build(procedure.kind, entry.subject)
        return subject


def _with_reason(subject: S, reason: str) -> S:
    return replace(subject, reason=reason) if hasattr(subject, "reason") else subject  # type: ignore[type-var]
