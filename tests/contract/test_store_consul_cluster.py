"""Three Consul servers: what octo writes while one of them, or the leader, dies."""

import threading
from collections.abc import Iterator

import pytest

from octo.adapters.store_consul import ConsulStore
from octo.errors import Unavailable
from octo.ports import Write
from tests.consul_agent import ConsulAgent, cluster
from tests.contract.consul_parts import place, store_at

WRITES = 150


@pytest.fixture(scope="module")
def servers() -> Iterator[list[ConsulAgent]]:
    with cluster(3) as agents:
        yield agents


def test_the_leader_dies_and_no_write_is_lost_or_done_twice(servers: list[ConsulAgent]) -> None:
    """One writer counts, and checks with each write that the one before is what it believes: it never has to guess."""
    (leader,) = [server for server in servers if server.leads()]
    mine = next(server for server in servers if server is not leader)
    store = store_at(mine, place(), patience=60)
    reached, failed = threading.Event(), []  # type: tuple[threading.Event, list[Exception]]
    writer = threading.Thread(target=count, args=[store, reached, failed])
    writer.start()
    reached.wait()
    leader.kill()
    writer.join()
    assert not failed
    found = store.get("count")
    assert found and found.data == b"%d" % WRITES
    assert sorted(key for key, _ in store.list("at/")) == sorted(f"at/{n}" for n in range(1, WRITES + 1))
    store.close()
    leader.start()
    leader.wait()


def count(store: ConsulStore, reached: threading.Event, failed: list[Exception]) -> None:
    try:
        version = store.put("count", b"0", expect=0)
        with store.lock("octo/locks/count", holder="the writer"):
            for number in range(1, WRITES + 1):
                store.put_many([Write("count", b"%d" % number, version), Write(f"at/{number}", b"", 0)])
                found = store.get("count")
                assert found and found.data == b"%d" % number
                version = found.version
                if number == WRITES // 3:
                    reached.set()
    except Exception as error:
        failed.append(error)
        reached.set()


def test_without_a_majority_nothing_is_written_and_with_it_all_goes_on(servers: list[ConsulAgent]) -> None:
    mine, *others = servers
    store = store_at(mine, place(), patience=0.2)
    version = store.put("a", b"1")
    for server in others:
        server.kill()
    with pytest.raises(Unavailable, match="Consul at"):
        store.put("a", b"2", expect=version)
    for server in others:
        server.start()
    for server in servers:
        server.wait()
    found = store.get("a")
    assert found and found.data in (b"1", b"2")  # what nobody answered may have been done
    store.put("a", b"3", expect=found.version)
    store.close()
