"""The store on Consul: what a value, a batch, a lost answer and access control come to."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from octo.adapters.store_consul import ConsulStore
from octo.agent import Agent
from octo.agent.line import Away, Denied
from octo.errors import Conflict, OctoError, Unavailable
from octo.ports import Write
from tests.consul_agent import TOKEN, ConsulAgent, running
from tests.contract.consul_parts import DyingAgent, Killed, LossyLine, place, store_at


@pytest.fixture
def where() -> str:
    return place()


@pytest.fixture
def store(consul: ConsulAgent, where: str) -> Iterator[ConsulStore]:
    made = store_at(consul, where)
    yield made
    made.close()


@pytest.fixture
def line(consul: ConsulAgent) -> Iterator[LossyLine]:
    made = LossyLine(consul.port)
    yield made
    made.close()


def keys(consul: ConsulAgent, where: str) -> list[str]:
    found = consul.call("GET", f"/v1/kv/{where}?keys") or []
    return [key.removeprefix(where) for key in found]


# --- others' writes ------------------------------------------------------------------------------------------


def test_what_others_put_is_read_and_noticed(consul: ConsulAgent, store: ConsulStore, where: str) -> None:
    since = store.watch("octohost/shop/", 0, 0)
    consul.call("PUT", f"/v1/kv/{where}octohost/shop/DEBUG", b"1")
    assert store.watch("octohost/shop/", since, 30) > since
    assert [(key, value.data) for key, value in store.list("octohost/shop/")] == [("octohost/shop/DEBUG", b"1")]


def test_keys_lie_where_the_prefixes_say(consul: ConsulAgent, where: str) -> None:
    at = {"octohost/": where, "octo/": f"{where}.octo/"}
    store = ConsulStore(Agent(consul.url, token=TOKEN), prefixes=at, own=f"{where}.octo/")
    store.put_many([Write("octohost/shop/A", b"1"), Write("octo/apps/1", b"2")])
    assert keys(consul, where) == [".octo/apps/1", "shop/A"]
    assert [key for key, _ in store.list("octohost/")] == ["octohost/shop/A"]
    with pytest.raises(ValueError, match="not octo's"):
        store.get("other/key")
    store.close()


# --- what Consul cannot take in one piece -----------------------------------------------------------------------


def test_pieces_go_with_their_value(consul: ConsulAgent, store: ConsulStore, where: str) -> None:
    store.put("big", b"a" * 1_000_000)
    version = store.put("big", b"b" * 700_000)
    assert len(keys(consul, where)) == 1 + 3
    store.put("big", b"small", expect=version)
    assert keys(consul, where) == ["big"]
    store.put("big", b"c" * 700_000)
    with pytest.raises(Conflict):
        store.put("big", b"d" * 700_000, expect=1)
    found = store.get("big")
    assert found and found.data == b"c" * 700_000 and len(keys(consul, where)) == 1 + 3
    store.delete("big")
    assert keys(consul, where) == []


def test_pieces_of_an_earlier_process_are_known(consul: ConsulAgent, store: ConsulStore, where: str) -> None:
    store.put("big", b"a" * 700_000)
    again = store_at(consul, where)
    found = again.get("big")
    assert found and found.data == b"a" * 700_000
    again.delete("big")
    again.close()
    assert keys(consul, where) == []


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(("count", "size"), [(150, 10), (2, 700_000)])
def test_killed_at_any_write_all_or_nothing_is_there(consul: ConsulAgent, count: int, size: int, after: bool) -> None:
    old, new = [b"a" * size] * count, [b"b" * size] * count
    seen = set()
    for at in range(50):
        where = place()
        before = store_at(consul, where)
        before.put_many([Write(f"n/{i:03d}", data) for i, data in enumerate(old)])
        before.close()
        dying = DyingAgent(consul.url, at, after=after)
        cut_off = ConsulStore(dying, prefixes={"": where}, own=where)
        try:
            cut_off.put_many([Write(f"n/{i:03d}", data, None) for i, data in enumerate(new)])
        except Killed:
            store = store_at(consul, where)
            found = [value.data for _, value in store.list("n/")]
            assert found in (old, new)
            seen.add(found == new)
            heads = [key for key in keys(consul, where) if not key.startswith(".")]
            parts = {key.split("/")[2] for key in keys(consul, where) if key.startswith(".")}
            assert len(heads) == count and len(parts) <= 1
            store.close()
        else:
            break
        finally:
            dying.close()
    else:
        raise AssertionError("it never came to the end")
    assert seen == {True} if after and count > 64 else {False, True}  # the first transaction of a batch is its commit


# --- lost answers -------------------------------------------------------------------------------------------------


def test_a_write_whose_answer_was_lost_is_no_conflict_with_itself(
    consul: ConsulAgent, line: LossyLine, where: str
) -> None:
    store = store_at(consul, where, url=line.url)
    assert store.get("a") is None
    line.of, line.lose = b'"check-not-exists"', 1
    version = store.put("a", b"1", expect=0)
    assert line.lost == 1
    found = store.get("a")
    assert found and (found.data, found.version) == (b"1", version)
    with pytest.raises(Conflict):
        store.put("a", b"2", expect=0)
    store.close()


def test_a_lock_whose_answers_were_lost_is_taken_and_given_back(
    consul: ConsulAgent, line: LossyLine, store: ConsulStore, where: str
) -> None:
    other = store_at(consul, where, url=line.url, ttl=0.6)
    line.of, line.lose = b'"lock"', 1
    with other.lock("l", holder="a push by ann"):
        assert line.lost == 1 and store.holder("l") == "a push by ann"
        line.of, line.lose = b'"unlock"', 1
    with store.lock("l", holder="a push by bob", wait=60):
        assert line.lost == 2
    other.close()


# --- Consul away ---------------------------------------------------------------------------------------------------


def test_a_consul_that_is_away_is_told_in_one_line_and_waited_for_once(consul: ConsulAgent) -> None:
    port = ConsulAgent(Path("/nonexistent")).port
    agent = Agent(f"http://127.0.0.1:{port}", patience=0.3)
    store = ConsulStore(agent, prefixes={"": "x/"}, own="x/")
    asked = []
    for act in (
        lambda: store.get("a"),
        lambda: store.put("a", b""),
        lambda: store.list(""),
        lambda: store.watch("", 0, 0),
    ):
        with pytest.raises(Unavailable) as told:
            act()
        asked.append(told.value.message)
        assert "Start Consul" in told.value.hint
    assert set(asked) == {f"cannot reach Consul at http://127.0.0.1:{port}: Connection refused"}


def test_killed_and_started_again_it_has_all_and_everything_goes_on() -> None:
    with running(lasting=True) as consul:
        store = store_at(consul, "octo/", patience=300, ttl=1)
        first = store.put("a", b"1")
        woken: list[int] = []
        with store.lock("l", holder="ann"):
            consul.kill()
            threads = [
                threading.Thread(target=lambda: woken.append(_patient_watch(store, first))),
                threading.Thread(target=lambda: store.put("a", b"2", expect=first)),
            ]
            for thread in threads:
                thread.start()
            consul.start()
            for thread in threads:
                thread.join()
            store.put("x/l", b"under the lock")
        found = store.get("a")
        assert found and found.data == b"2" and found.version == woken[0] and store.holder("l") is None
        _an_old_snapshot_is_noticed(consul, store)
        store.close()


def _patient_watch(store: ConsulStore, since: int) -> int:
    while True:
        try:
            return store.watch("a", since, 60)
        except Away:
            continue


def _an_old_snapshot_is_noticed(consul: ConsulAgent, store: ConsulStore) -> None:
    """Consul's index goes back with it, and it wakes nobody who waits: they see it when they ask again."""
    file = str(consul.folder / "snapshot")
    rights = (f"-http-addr={consul.url}", f"-token={TOKEN}")
    consul.run("snapshot", "save", *rights, file)
    since = max(store.put("a", b"%d" % number) for number in range(20))
    consul.run("snapshot", "restore", *rights, file)
    assert store.watch("a", since, 0) < since
    found = store.get("a")
    assert found and found.data == b"2"


# --- access control, TLS, addresses ---------------------------------------------------------------------------------


def test_a_token_without_rights_is_told_and_never_taken_for_no_data(consul: ConsulAgent, where: str) -> None:
    own = store_at(consul, where)
    own.put("a/b", b"1")
    own.close()
    rules = f'key_prefix "{where}" {{ policy = "write" }} session_prefix "" {{ policy = "write" }}'
    token = consul.token(rules)
    store = store_at(consul, where, token=token)
    assert store.list("none/") == [] and store.get("none") is None
    with store.lock("l", holder="ann"):
        assert [value.data for _, value in store.list("a/")] == [b"1"]
    consul.allow(token, 'key_prefix "other/" { policy = "write" }')
    for act in (lambda: store.get("a/b"), lambda: store.list("a/"), lambda: store.put("c", b"")):
        with pytest.raises(Denied, match="refuses octo's token") as told:
            act()
        assert "consul_token" in told.value.hint and token not in told.value.message
    store.close()


@pytest.mark.parametrize("token", ["", "deadbeef-0000-0000-0000-000000000000"])
def test_a_token_that_consul_does_not_know_is_told(consul: ConsulAgent, token: str) -> None:
    store = store_at(consul, place(), token=token)
    for act in (lambda: store.list("a/"), lambda: store.put("a", b"")):
        with pytest.raises(Denied, match="refuses octo's token"):
            act()
    store.close()


def test_https_is_trusted_by_its_authority_alone(consul: ConsulAgent, where: str) -> None:
    agent = Agent(consul.tls_url, token=TOKEN, ca=str(consul.ca))
    store = ConsulStore(agent, prefixes={"": where}, own=where)
    store.put("a", b"1")
    found = store.get("a")
    assert found and found.data == b"1"
    store.close()
    stranger = Agent(consul.tls_url, token=TOKEN)
    with pytest.raises(Unavailable, match="cannot trust Consul at https") as told:
        stranger.read({"Verb": "get-tree", "Key": where})
    assert "consul_ca" in told.value.hint and not isinstance(told.value, Away)


def test_a_unix_socket_does_too(consul: ConsulAgent, where: str) -> None:
    store = store_at(consul, where, url=consul.unix_url)
    store.put("a", b"1")
    assert store.watch("", 0, 0)
    store.close()


def test_a_datacenter_is_asked_for_by_name(consul: ConsulAgent, where: str) -> None:
    for name in ("dc1", "nowhere"):
        agent = Agent(consul.url, token=TOKEN, datacenter=name, patience=0)
        store = ConsulStore(agent, prefixes={"": where}, own=where)
        if name == "dc1":
            store.put("a", b"1")
            assert store.watch("", 0, 0)
        else:
            with pytest.raises(OctoError, match="No path to datacenter"):
                store.get("a")
        store.close()


def test_the_environment_changes_nothing(consul: ConsulAgent, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    words = {
        "HTTP_ADDR": "127.0.0.1:1",
        "HTTP_TOKEN": "x",
        "HTTP_SSL": "true",
        "NAMESPACE": "x",
        "HTTP_SSL_VERIFY": "no",
    }
    for name, value in words.items():
        monkeypatch.setenv(f"CONSUL_{name}", value)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    store = store_at(consul, where)
    store.put("a", b"1")
    assert store.watch("", 0, 0)
    store.close()
