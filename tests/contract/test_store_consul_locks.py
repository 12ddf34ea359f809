"""Locks on Consul between two octods: who holds one, what ends it, and what a lost one is still good for."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from octo.adapters.store_consul import ConsulStore
from octo.errors import Locked, Unavailable
from octo.ports import Write
from tests.consul_agent import ConsulAgent
from tests.contract.consul_parts import LossyLine, place, store_at

CHECKOUT = Path(__file__).resolve().parents[2]

HOLD = """
import sys
from pathlib import Path
from tests.consul_agent import TOKEN
from octo.agent import Agent
from octo.adapters.store_consul import ConsulStore
url, where, ttl, memory = sys.argv[1:]
kept = Path(memory) if memory else None
store = ConsulStore(Agent(url, token=TOKEN), prefixes={"": where}, own=where, lock_ttl=float(ttl), memory=kept)
with store.lock("octo/locks/shop", holder="a push by ann"):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def holding(consul: ConsulAgent, where: str, *, ttl: float, memory: str = "") -> Iterator["subprocess.Popen[str]"]:
    """Another process that holds the lock until it is told otherwise."""
    argv = [sys.executable, "-c", HOLD, consul.url, where, str(ttl), memory]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=CHECKOUT) as process:
        try:
            assert process.stdout and process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


@pytest.fixture
def where() -> str:
    return place()


@pytest.fixture
def store(consul: ConsulAgent, where: str) -> Iterator[ConsulStore]:
    made = store_at(consul, where, ttl=1)
    yield made
    made.close()


def end_session(consul: ConsulAgent, where: str) -> None:
    """As Consul does it when it has not heard of a process for too long."""
    (lock,) = [key for key in consul.call("GET", f"/v1/kv/{where}.locks/?recurse") if key.get("Session")]
    consul.call("PUT", f"/v1/session/destroy/{lock['Session']}")


def test_another_octod_is_told_who_holds_it_and_gets_it_next(
    consul: ConsulAgent, store: ConsulStore, where: str
) -> None:
    with holding(consul, where, ttl=10) as other:
        assert store.holder("octo/locks/shop") == "a push by ann"
        with pytest.raises(Locked) as refused, store.lock("octo/locks/shop", holder="bob"):
            pass
        assert refused.value.holder == "a push by ann"
        heard: list[str] = []

        def let_go(holder: str) -> None:
            heard.append(holder)
            assert other.stdin
            other.stdin.close()

        with store.lock("octo/locks/shop", holder="bob", wait=60, waiting=let_go):
            assert heard == ["a push by ann"] and store.holder("octo/locks/shop") == "bob"
        assert other.wait() == 0
    assert store.holder("octo/locks/shop") is None
    assert not consul.call("GET", f"/v1/kv/{where}?keys")


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGSTOP])
def test_a_lock_is_free_when_its_process_died_or_hangs(
    consul: ConsulAgent, store: ConsulStore, where: str, end: signal.Signals
) -> None:
    with holding(consul, where, ttl=0.5) as other:
        other.send_signal(end)
        with store.lock("octo/locks/shop", holder="bob", wait=60):
            assert store.holder("octo/locks/shop") == "bob"


def test_a_lock_is_kept_for_longer_than_its_session_lives_by_itself(
    consul: ConsulAgent, store: ConsulStore, where: str
) -> None:
    with holding(consul, where, ttl=0.5):
        with pytest.raises(Locked), store.lock("octo/locks/shop", holder="bob", wait=1.6):
            pass
        assert store.holder("octo/locks/shop") == "a push by ann"


def test_the_next_octod_ends_what_a_killed_one_held(consul: ConsulAgent, where: str, tmp_path: Path) -> None:
    memory = tmp_path / "session"
    with holding(consul, where, ttl=3600, memory=str(memory)) as other:
        other.kill()
        other.wait()
    assert memory.stat().st_mode & 0o077 == 0
    again = store_at(consul, where, ttl=3600, memory=memory)
    with again.lock("octo/locks/shop", holder="bob"):
        assert again.holder("octo/locks/shop") == "bob"
    again.close()


def test_who_lost_its_lock_changes_nothing_of_what_it_guards(
    consul: ConsulAgent, store: ConsulStore, where: str
) -> None:
    store.put("octo/apps/shop", b"ann's")
    with store.lock("octo/locks/shop", holder="ann"):
        store.put("octo/apps/shop", b"ann's again")
        end_session(consul, where)
        other = store_at(consul, where)
        with other.lock("octo/locks/shop", holder="bob"):
            for write in (Write("octo/apps/shop", b"late"), Write("octo/releases/shop/1", None, 7)):
                with pytest.raises(Unavailable, match="gave the lock 'octo/locks/shop' away"):
                    store.put_many([Write("octo/other", b"late"), write])
            other.put("octo/apps/shop", b"bob's")
        store.put("octo/apps/shopper", b"1")
        many = [Write(f"octo/releases/shop/{i}", b"late") for i in range(100)]
        with pytest.raises(Unavailable, match="gave the lock"):
            store.put_many(many)
        other.close()
    found = store.get("octo/apps/shop")
    assert found and found.data == b"bob's" and store.get("octo/other") is None and not store.list("octo/releases/")
    with store.lock("octo/locks/shop", holder="ann"):
        store.put("octo/apps/shop", b"ann's third")


def test_a_lock_that_could_not_be_given_back_is_given_back_later(consul: ConsulAgent, where: str) -> None:
    line = LossyLine(consul.port)
    store, other = store_at(consul, where, url=line.url, ttl=1), store_at(consul, where)
    with store.lock("octo/locks/shop", holder="ann"):
        line.of, line.lose = b'"unlock"', 1
        line.before = True
    assert line.lost == 1 and other.holder("octo/locks/shop") == "ann"
    with other.lock("octo/locks/shop", holder="bob", wait=60):
        assert other.holder("octo/locks/shop") == "bob"
    with store.lock("octo/locks/shop", holder="ann", wait=60):
        assert other.holder("octo/locks/shop") == "ann"
    for made in (store, other, line):
        made.close()
