"""The Store in one SQLite file: the embedded default. One process owns the file."""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from octo.errors import Conflict, Locked, Unavailable
from octo.ports import Value, Write

# A deleted key stays as a row without data until the next start, so that watchers see the deletion.
_SCHEMA = """
create table if not exists kv (key text primary key, data blob, version integer not null) without rowid;
create table if not exists sequence (one integer primary key check (one = 1), version integer not null);
insert or ignore into sequence values (1, 0);
delete from kv where data is null;
"""


class SqliteStore:
    def __init__(self, file: Path) -> None:
        self._file = file
        try:
            self._db = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
            file.chmod(0o600)
            self._db.execute("pragma journal_mode = wal")
            self._db.execute("pragma synchronous = full")  # a release that was told to a person survives a power cut
            self._db.executescript(_SCHEMA)
        except sqlite3.DatabaseError as error:
            raise Unavailable(f'cannot open "{file}": {error}') from None
        self._changed = threading.Condition(threading.RLock())
        self._holders: dict[str, str] = {}

    def about(self) -> str:
        return f"SQLite, {self._file} of {self._file.stat().st_size / 1_000_000:.1f} MB"

    def leave(self) -> None:
        pass

    def close(self) -> None:
        with self._changed:
            self._db.close()

    def get(self, key: str) -> Value | None:
        with self._changed:
            row = self._db.execute("select data, version from kv where key = ? and data is not null", (key,)).fetchone()
        return Value(*row) if row else None

    def put(self, key: str, data: bytes, *, expect: int | None = None) -> int:
        return self._write([Write(key, data, expect)])

    def put_many(self, writes: Sequence[Write]) -> None:
        self._write(writes)

    def delete(self, key: str) -> None:
        if self.get(key):
            self._write([Write(key, None)])

    def list(self, prefix: str) -> Sequence[tuple[str, Value]]:
        with self._changed:
            rows = self._db.execute(
                "select key, data, version from kv where key >= ? and key < ? and data is not null order by key",
                _range(prefix),
            ).fetchall()
        return [(key, Value(data, version)) for key, data, version in rows]

    def watch(self, prefix: str, since: int, timeout: float) -> int:
        deadline = time.monotonic() + timeout
        with self._changed:
            while (newest := self._newest(prefix)) <= since and (left := deadline - time.monotonic()) > 0:
                self._changed.wait(left)
            return max(newest, since)

    @contextmanager
    def lock(
        self, key: str, *, holder: str, wait: float = 0, waiting: Callable[[str], None] | None = None
    ) -> Iterator[None]:
        self._acquire(key, holder, time.monotonic() + wait, waiting if wait > 0 else None)
        try:
            yield
        finally:
            with self._changed:
                del self._holders[key]
                self._changed.notify_all()

    def holder(self, key: str) -> str | None:
        with self._changed:
            return self._holders.get(key)

    def _acquire(self, key: str, holder: str, deadline: float, waiting: Callable[[str], None] | None) -> None:
        while True:
            with self._changed:
                if (other := self._holders.get(key)) is None:
                    self._holders[key] = holder
                    return
                left = deadline - time.monotonic()
                if left <= 0:
                    raise Locked(f"cannot take the lock {key!r}: held by {other}", holder=other)
                if waiting is None:
                    self._changed.wait(left)
                    continue
            waiting(other)  # outside the condition: it may write to a slow client
            waiting = None

    def _write(self, writes: Sequence[Write]) -> int:
        with self._changed:
            self._db.execute("begin immediate")
            try:
                version = self._apply(writes)
                self._db.execute("commit")
            except BaseException as error:
                if self._db.in_transaction:  # SQLite has rolled back by itself when the disk is full
                    self._db.execute("rollback")
                if isinstance(error, sqlite3.OperationalError):
                    raise Unavailable(f"cannot write octo.db: {error}", hint="See: octo doctor") from None
                raise
            self._changed.notify_all()
        return version

    def _apply(self, writes: Sequence[Write]) -> int:
        (version,) = self._db.execute("update sequence set version = version + 1 returning version").fetchone()
        for write in writes:
            row = self._db.execute("select version from kv where key = ? and data is not null", (write.key,)).fetchone()
            if write.expect is not None and write.expect != (row[0] if row else 0):
                raise Conflict(f'cannot write "{write.key}": it has changed meanwhile', hint="Try again.")
            self._db.execute("insert or replace into kv values (?, ?, ?)", (write.key, write.data, version))
        return int(version)

    def _newest(self, prefix: str) -> int:
        query = "select coalesce(max(version), 0) from kv where key >= ? and key < ?"
        return int(self._db.execute(query, _range(prefix)).fetchone()[0])


def _range(prefix: str) -> tuple[str, str]:
    return prefix, prefix + "\U0010ffff"
