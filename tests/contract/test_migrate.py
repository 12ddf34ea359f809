"""Moving from SQLite to Consul and back: everything comes along, whatever happens on the way."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from octo.adapters.store_consul import ConsulStore
from octo.adapters.store_sqlite import SqliteStore
from octo.agent import Agent
from octo.errors import Conflict, NotFound, Unavailable, Usage
from octo.pipeline.migrate import Moved, move, refuse_if_left
from octo.ports import Store, Write
from tests.consul_agent import TOKEN, ConsulAgent
from tests.contract.consul_parts import place
from tests.crash.world import DyingStore, Killed
from tests.fakes import FakeStore

ROWS = {
    **{f"octo/builds/1a2b/{i:04d}": b"x" * i for i in range(170)},
    "octo/apps/1a2b": b'{"name":"shop"}',
    "octo/keys/SHA256:ab//cd+e/../f": b"{}",
    "octo/releases/1a2b/00000001": os.urandom(900_000),
    "octohost/shop/WORD": "schön\n".encode(),
    "octohost/shop/EMPTY": b"",
}


def quiet(_: str) -> None:
    pass


def fill(store: Store) -> None:
    for key, data in ROWS.items():
        store.put(key, data)


def rows(store: Store) -> dict[str, bytes]:
    found = [row for prefix in ("octo/", "octohost/") for row in store.list(prefix)]
    return {key: value.data for key, value in found if not key.startswith("octo/store/")}


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(tmp_path / "octo.db")
    yield store
    store.close()


@pytest.fixture
def consul_store(consul: ConsulAgent) -> Iterator[ConsulStore]:
    where = place()
    at = {"octohost/": f"{where}octohost/", "octo/": f"{where}octo/"}
    store = ConsulStore(Agent(consul.url, token=TOKEN), prefixes=at, own=f"{where}octo/")
    yield store
    store.close()


def test_all_moves_to_consul_and_back_and_one_store_alone_is_ever_good(
    sqlite: SqliteStore, consul_store: ConsulStore
) -> None:
    fill(sqlite)
    said: list[str] = []
    size = sum(map(len, ROWS.values()))
    assert move(sqlite, consul_store, names=("sqlite", "consul"), tell=said.append) == Moved(len(ROWS), size, len(ROWS))
    assert said == [f"Copying {len(ROWS)} keys from sqlite to consul", "Comparing"]
    assert rows(consul_store) == ROWS
    refuse_if_left(consul_store, "consul")
    with pytest.raises(Usage, match="has moved to consul"):
        refuse_if_left(sqlite, "sqlite")
    with pytest.raises(Usage, match="moved to consul already"):
        move(sqlite, consul_store, names=("sqlite", "consul"), tell=quiet)
    consul_store.put("octo/apps/1a2b", b"changed")
    consul_store.delete("octohost/shop/WORD")
    move(consul_store, sqlite, names=("consul", "sqlite"), tell=quiet)
    assert rows(sqlite) == rows(consul_store) and sqlite.get("octohost/shop/WORD") is None
    refuse_if_left(sqlite, "sqlite")
    with pytest.raises(Usage, match="has moved to sqlite"):
        refuse_if_left(consul_store, "consul")


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("dies", ["source", "target"])
def test_cut_off_at_any_write_it_goes_on_and_the_right_store_is_taken(dies: str, after: bool) -> None:
    at = 0
    while True:
        source, target = DyingStore(), DyingStore()
        for store in (source, target):
            store.arm(None)
        fill(source)
        (source if dies == "source" else target).arm(at, after=after)
        try:
            move(source, target, names=("sqlite", "consul"), tell=quiet)
        except Killed:
            for store in (source, target):
                store.arm(None)
            good = [s for s, name in ((source, "sqlite"), (target, "consul")) if accepted(s, name)]
            assert source in good or rows(target) == ROWS
            assert len(good) <= 1 or not rows(target)
            if good != [target]:
                move(source, target, names=("sqlite", "consul"), tell=quiet)
            assert rows(target) == ROWS and accepted(target, "consul") and not accepted(source, "sqlite")
            at += 1
        else:
            break
    assert at >= 1


def accepted(store: Store, name: str) -> bool:
    try:
        refuse_if_left(store, name)
    except Usage:
        return False
    return True


def test_what_another_octo_has_in_consul_is_never_written_over(sqlite: SqliteStore, consul_store: ConsulStore) -> None:
    fill(sqlite)
    consul_store.put("octohost/theirs/KEY", b"1")
    with pytest.raises(Conflict, match="data in it already"):
        move(sqlite, consul_store, names=("sqlite", "consul"), tell=quiet)
    assert rows(consul_store) == {"octohost/theirs/KEY": b"1"}
    refuse_if_left(sqlite, "sqlite")


def test_an_empty_store_is_taken_for_a_mistake(sqlite: SqliteStore) -> None:
    with pytest.raises(NotFound, match="nothing in sqlite"):
        move(sqlite, FakeStore(), names=("sqlite", "consul"), tell=quiet)


class Careless(FakeStore):
    """Loses one key, or somebody writes into it meanwhile."""

    def __init__(self, harm: Callable[["Careless"], None]) -> None:
        super().__init__()
        self.harm = harm

    def put_many(self, writes: Sequence[Write]) -> None:
        super().put_many(writes)
        if any(write.key == "octohost/shop/WORD" for write in writes):
            self.harm(self)


@pytest.mark.parametrize("harm", ["lost", "changed", "more"])
def test_a_difference_ends_the_move_before_the_source_is_left(harm: str) -> None:
    source = FakeStore()
    fill(source)
    harms: dict[str, Callable[[Careless], None]] = {
        "lost": lambda store: store.delete("octo/apps/1a2b"),
        "changed": lambda store: store.rows.update({"octo/apps/1a2b": store.rows["octohost/shop/WORD"]}),
        "more": lambda store: store.rows.update({"octo/apps/9": store.rows["octohost/shop/WORD"]}),
    }
    target = Careless(harms[harm])
    with pytest.raises(Unavailable, match="1 keys are not the same, as octo/apps/"):
        move(source, target, names=("sqlite", "consul"), tell=quiet)
    assert accepted(source, "sqlite") and not accepted(target, "consul")
