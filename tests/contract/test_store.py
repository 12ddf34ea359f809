"""The Store's promises, kept by the fake and by every adapter."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from octo.adapters.store_consul import ConsulStore
from octo.adapters.store_sqlite import SqliteStore
from octo.agent import Agent
from octo.errors import Conflict, Locked, Unavailable
from octo.ports import Store, Write
from tests.consul_agent import TOKEN, ConsulAgent
from tests.fakes import FakeStore


@pytest.fixture(params=["fake", "sqlite", "consul"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "fake":
        yield FakeStore()
        return
    if request.param == "sqlite":
        made: SqliteStore | ConsulStore = SqliteStore(tmp_path / "octo.db")
    else:
        consul: ConsulAgent = request.getfixturevalue("consul")
        place = f"test-{os.urandom(4).hex()}/"
        made = ConsulStore(Agent(consul.url, token=TOKEN), prefixes={"": place}, own=place)
    yield made
    made.close()


def test_what_was_put_is_got_with_a_growing_version(store: Store) -> None:
    first = store.put("a", b"1")
    second = store.put("a", b"2")
    found = store.get("a")
    assert second > first > 0
    assert found is not None and (found.data, found.version) == (b"2", second)


def test_an_absent_key_is_none_and_may_be_deleted(store: Store) -> None:
    store.delete("a")
    assert store.get("a") is None


@pytest.mark.parametrize("data", [b"", b"\0\xff\n", b"x" * 500_000])
def test_any_bytes_come_back(store: Store, data: bytes) -> None:
    store.put("k", data)
    found = store.get("k")
    assert found is not None and found.data == data


def test_expect_zero_writes_only_what_is_absent(store: Store) -> None:
    store.put("a", b"1", expect=0)
    with pytest.raises(Conflict):
        store.put("a", b"2", expect=0)
    store.delete("a")
    store.put("a", b"3", expect=0)


def test_expect_a_version_writes_only_over_that_version(store: Store) -> None:
    version = store.put("a", b"1")
    store.put("a", b"2", expect=version)
    with pytest.raises(Conflict):
        store.put("a", b"3", expect=version)
    found = store.get("a")
    assert found is not None and found.data == b"2"


def test_many_writes_happen_all_or_not_at_all(store: Store) -> None:
    store.put("gone", b"1")
    store.put_many([Write("a", b"1", 0), Write("gone", None)])
    with pytest.raises(Conflict):
        store.put_many([Write("b", b"1"), Write("a", b"2", 0)])
    assert store.get("b") is None and store.get("gone") is None


def test_the_same_data_again_is_a_new_version(store: Store) -> None:
    first = store.put("a", b"1")
    since = store.watch("a", 0, 0)
    assert store.put("a", b"1") > first
    assert store.watch("a", since, 0) > since
    with pytest.raises(Conflict):
        store.put("a", b"2", expect=first)


def test_a_deletion_can_expect_a_version_too(store: Store) -> None:
    old = store.put("a", b"1")
    now = store.put("a", b"2")
    for expect in (old, 0):
        with pytest.raises(Conflict):
            store.put_many([Write("a", None, expect), Write("b", b"1")])
    store.put_many([Write("a", None, now)])
    with pytest.raises(Conflict):
        store.put_many([Write("a", None, now)])
    assert store.get("a") is None and store.get("b") is None


@pytest.mark.parametrize("key", ["a//b", "a/../b", "a/./b", "/a", "a/", "..", "a b?c=d&e#f%2e%00", "ü/☃", "a\nb", "-x"])
def test_any_key_is_taken_as_it_is(store: Store, key: str) -> None:
    since = store.watch(f"k/{key}", 0, 0)
    version = store.put(f"k/{key}", b"1", expect=0)
    assert [row[0] for row in store.list(f"k/{key}")] == [f"k/{key}"]
    assert store.watch(f"k/{key}", since, 0) > since
    store.put("k/a/b", b"other")
    store.put("k/b", b"other")
    found = store.get(f"k/{key}")
    assert found is not None and (found.data, found.version) == (b"1", version)
    store.delete(f"k/{key}")
    assert store.get(f"k/{key}") is None and store.get("k/a/b") and store.get("k/b")


@pytest.mark.parametrize(("count", "size"), [(200, 10), (40, 100_000), (70, 20_000), (2, 1_200_000)])
def test_many_and_big_writes_happen_all_or_not_at_all(store: Store, count: int, size: int) -> None:
    def writes(first: bytes, expect: int | None) -> list[Write]:
        return [Write(f"n/{i:03d}", (first * size)[:size], expect if i == 3 % count else None) for i in range(count)]

    store.put_many([*writes(b"a", 0), Write("m", b"1")])
    for bad in (
        writes(b"b", 0),
        [*writes(b"b", None), Write("m", None, 1 << 40)],
        [Write("m", None, 0), *writes(b"b", None)],
    ):
        with pytest.raises(Conflict):
            store.put_many(bad)
    assert [value.data for _, value in store.list("n/")] == [b"a" * size] * count
    store.put_many([*writes(b"c", None), Write("m", None)])
    assert [value.data for _, value in store.list("n/")] == [b"c" * size] * count and store.get("m") is None
    store.put_many([Write(key, None) for key, _ in store.list("n/")])
    assert not store.list("")


def test_no_count_is_lost_when_many_count_at_once(store: Store) -> None:
    store.put("count", b"0", expect=0)

    def add() -> None:
        while True:
            found = store.get("count")
            assert found
            try:
                store.put("count", b"%d" % (int(found.data) + 1), expect=found.version)
            except Conflict:
                continue
            return

    threads = [threading.Thread(target=add) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = store.get("count")
    assert found and found.data == b"8"


def test_a_list_is_sorted_and_holds_exactly_the_prefix(store: Store) -> None:
    for key in ("octohost/web/B", "octohost/web/A", "octohost/web2/A", "octohost/we"):
        store.put(key, b"1")
    assert [key for key, _ in store.list("octohost/web/")] == ["octohost/web/A", "octohost/web/B"]


@pytest.mark.parametrize("act", ["put", "delete"])
def test_a_watch_wakes_for_a_change_under_its_prefix(store: Store, act: str) -> None:
    store.put("a/1", b"1")
    since = store.watch("a/", 0, 0)
    store.put("b/1", b"1")
    assert store.watch("a/", since, 0) == since
    woken: list[int] = []
    watcher = threading.Thread(target=lambda: woken.append(store.watch("a/", since, 30)))
    watcher.start()
    store.put("a/1", b"2") if act == "put" else store.delete("a/1")
    watcher.join()
    assert woken[0] > since


def test_a_lock_is_one_holders_and_names_it(store: Store) -> None:
    with store.lock("l", holder="a push by ann"):
        assert store.holder("l") == "a push by ann"
        with pytest.raises(Locked) as refused, store.lock("l", holder="a push by bob"):
            pass
        assert refused.value.holder == "a push by ann"
    assert store.holder("l") is None


def test_a_lock_is_free_again_after_a_failure(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), store.lock("l", holder="a"):
        raise ZeroDivisionError
    with store.lock("l", holder="b"):
        pass


def test_who_waits_for_a_lock_is_told_for_whom_and_gets_it(store: Store) -> None:
    told = threading.Event()
    heard: list[str] = []
    order: list[str] = []

    def waiting(holder: str) -> None:
        heard.append(holder)
        told.set()

    def second() -> None:
        with store.lock("l", holder="two", wait=60, waiting=waiting):
            order.append("two")

    with store.lock("l", holder="one"):
        thread = threading.Thread(target=second)
        thread.start()
        told.wait(60)
        order.append("one")
    thread.join()
    assert (heard, order) == (["one"], ["one", "two"])


def test_only_one_of_many_at_once_gets_past_expect_zero(store: Store) -> None:
    won: list[int] = []

    def grab(number: int) -> None:
        try:
            store.put("one", b"%d" % number, expect=0)
            won.append(number)
        except Conflict:
            pass

    threads = [threading.Thread(target=grab, args=[n]) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1


def test_sqlite_keeps_all_over_a_restart_and_is_closed_to_others(tmp_path: Path) -> None:
    file = tmp_path / "octo.db"
    store = SqliteStore(file)
    version = store.put("a", b"1")
    store.put("b", b"1")
    store.delete("b")
    store.close()
    again = SqliteStore(file)
    found = again.get("a")
    assert found is not None and found.version == version
    assert again.put("a", b"2") > version
    assert file.stat().st_mode & 0o077 == 0
    again.close()


def test_a_full_disk_is_told_and_nothing_is_lost(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "octo.db")
    store.put("a", b"1")
    pages = store._db.execute("pragma page_count").fetchone()[0]
    store._db.execute(f"pragma max_page_count = {pages}")
    with pytest.raises(Unavailable, match="database or disk is full"):
        store.put("b", b"x" * 500_000)
    found = store.get("a")
    assert found is not None and found.data == b"1" and store.get("b") is None
    store._db.execute("pragma max_page_count = 100000")
    store.put("b", b"x" * 500_000)
    store.close()


def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    (tmp_path / "octo.db").write_bytes(b"garbage" * 1000)
    with pytest.raises(Unavailable, match="cannot open"):
        SqliteStore(tmp_path / "octo.db")
