"""Config that is written with Consul's own tools, and deploys while Consul's leader dies."""

import json
import threading
from collections.abc import Callable, Iterator

import pytest

from tests import apps
from tests.consul_agent import TOKEN, ConsulAgent, cluster
from tests.stories.conftest import Name, serving
from tests.stories.host import Host, Repository
from tests.stories.load import Visitors


@pytest.fixture(scope="module")
def place(consul: ConsulAgent) -> str:
    return f"config-{consul.port}"


def settings(consul: ConsulAgent, place: str, **more: str) -> dict[str, str]:
    given = {"STORE": "consul", "CONSUL": consul.url, "CONSUL_TOKEN": TOKEN, "CONSUL_PREFIX": place}
    given |= {"CONSUL_DOCUMENTS": f"{place}-octo", "CONFIG_SETTLE": "0.5", **more}
    return {f"OCTO_{name}": value for name, value in given.items()}


@pytest.fixture(scope="module")
def yard(consul: ConsulAgent, place: str) -> Iterator[Host]:
    with serving(**settings(consul, place)) as made:
        yield made


def until(claim: Callable[[], bool]) -> None:
    """The suite's own limit ends what never comes true."""
    while not claim():
        pass


@pytest.mark.row("H2")
@pytest.mark.row("H7")
def test_what_is_put_with_consuls_own_command_becomes_a_release(
    consul: ConsulAgent, yard: Host, names: Name, place: str
) -> None:
    app = names("shop")
    Repository(yard, app, apps.web("hello")).push()
    consul.run("kv", "put", f"{place}/{app}/WORD", "deep")
    until(lambda: yard.get(app) == (200, "hello v2 deep"))
    assert "Set WORD, in the store" in yard.octo("releases", "-a", app)
    consul.run("kv", "delete", f"{place}/{app}/WORD")
    until(lambda: yard.get(app) == (200, "hello v3 "))
    yard.octo("config:set", "-a", app, "WORD=ours")
    yard.octo("config:set", "-a", app, "WORD=later", "--no-restart")
    consul.run("kv", "put", f"{place}/{app}/OTHER", "1")
    until(lambda: yard.get(app) == (200, "hello v5 later"))
    yard.idle()
    assert len(yard.json("releases", "-a", app)) == 5


@pytest.mark.row("H7")
def test_many_changes_at_once_are_one_release(consul: ConsulAgent, yard: Host, names: Name, place: str) -> None:
    app = names("shop")
    Repository(yard, app, apps.web("hello")).push()
    puts = [{"KV": {"Verb": "set", "Key": f"{place}/{app}/K{n}", "Value": "MQ=="}} for n in range(20)]
    for each in puts:
        consul.call("PUT", "/v1/txn", [each])
    until(lambda: "K19=1" in yard.get(app, "/env")[1])
    yard.idle()
    assert [r["version"] for r in yard.json("releases", "-a", app)] == [1, 2]


@pytest.mark.row("H7")
def test_what_changed_while_octod_was_away_is_noticed_when_it_starts(
    consul: ConsulAgent, yard: Host, names: Name, place: str
) -> None:
    app = names("shop")
    Repository(yard, app, apps.web("hello")).push()
    yard.idle()
    yard.kill()
    consul.run("kv", "put", f"{place}/{app}/WORD", "meanwhile")
    yard.start()
    until(lambda: yard.get(app) == (200, "hello v2 meanwhile"))
    yard.idle()


@pytest.mark.row("H7")
def test_a_change_that_cannot_serve_leaves_the_old_release_and_is_told(
    consul: ConsulAgent, yard: Host, names: Name, place: str
) -> None:
    app = names("shop")
    Repository(yard, app, apps.web("hello")).push()
    consul.run("kv", "put", f"{place}/{app}/PORT", "no-port")
    consul.run("kv", "put", f"{place}/{app}/no key", "1")

    def told() -> str:
        return next(
            f["detail"]
            for f in json.loads(yard.octo("doctor", "--format", "json", code=None))
            if f["check"] == "config"
        )

    until(lambda: "no-port" in told())
    assert f"octohost/{app}/no key" in told()
    assert yard.get(app) == (200, "hello v1 ")
    consul.run("kv", "put", f"{place}/{app}/PORT", "5000")
    until(lambda: yard.get(app) == (200, "hello v2 "))
    assert "no-port" not in told()
    assert "no key" not in yard.octo("config", "-a", app)


@pytest.mark.row("H7")
def test_a_setting_leaves_such_changes_to_the_next_release(consul: ConsulAgent, place: str) -> None:
    with serving(**settings(consul, f"{place}-off", CONFIG_WATCH="0")) as host:
        Repository(host, "shop", apps.web("hello")).push()
        consul.run("kv", "put", f"{place}-off/shop/WORD", "deep")
        host.octo("config:set", "-a", "shop", "OTHER=1")
        assert host.get("shop") == (200, "hello v2 deep")


def test_the_leader_dies_during_deploys_and_nothing_is_lost() -> None:
    with cluster(3) as servers:
        (leader,) = [server for server in servers if server.leads()]
        mine = next(server for server in servers if server is not leader)
        with serving(**settings(mine, "octohost", CONSUL_DOCUMENTS="octo", CONSUL_PATIENCE="60")) as host:
            clone = Repository(host, "shop", apps.web("hello"))
            clone.push()
            with Visitors(host.http_port, "shop.localhost", expect="hello").coming() as seen:
                deploys = threading.Thread(target=deploy, args=[host, clone])
                deploys.start()
                until(lambda: len(host.json("releases", "-a", "shop")) > 1)
                leader.kill()
                deploys.join()
            leader.start()
            leader.wait()
            assert seen.failures == []
            assert host.get("shop") == (200, "hello v7 3")
            found = host.json("releases", "-a", "shop")
            assert [(r["version"], r["status"]) for r in found] == [(n, "succeeded") for n in range(1, 8)]
            host.idle()
            assert not host.left_over() and len(host.containers()) == 1


def deploy(host: Host, clone: Repository) -> None:
    for number in range(1, 4):
        host.octo("config:set", "-a", "shop", f"WORD={number}")
        clone.commit({"note.txt": f"{number}\n"})
        clone.push()
