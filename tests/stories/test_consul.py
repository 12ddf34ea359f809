"""octo on Consul: the same pushes, with everything that octo knows in its KV and every web container in its catalog."""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests import apps
from tests.consul_agent import TOKEN, ConsulAgent, running
from tests.stories.conftest import Name, serving
from tests.stories.host import CHECKOUT, Host, Repository


@pytest.fixture(scope="module")
def place(consul: ConsulAgent) -> str:
    return f"story-{consul.port}"


@pytest.fixture(scope="module")
def yard(consul: ConsulAgent, place: str) -> Iterator[Host]:
    """With a token that has no more rights than docs/consul.md says."""
    rules = [f'key_prefix "{p}/" {{ policy = "write" }}' for p in (place, f"{place}-octo")]
    rights = [*rules, 'session_prefix "" { policy = "write" }', 'service_prefix "" { policy = "write" }']
    token = consul.token("\n".join([*rights, 'node_prefix "" { policy = "read" }']))
    settings = {"STORE": "consul", "CONSUL": consul.url, "CONSUL_PREFIX": place, "CONSUL_DOCUMENTS": f"{place}-octo"}
    with serving(**{f"OCTO_{k}": v for k, v in settings.items()}, OCTO_CONSUL_TOKEN=token) as made:
        yield made


def passing(consul: ConsulAgent, app: str) -> list[tuple[str, list[str]]]:
    found = consul.call("GET", f"/v1/health/service/{app}?passing")
    return [(f"{e['Service']['Address']}:{e['Service']['Port']}", e["Service"]["Tags"]) for e in found]


def kv(consul: ConsulAgent, prefix: str) -> list[str]:
    found: Any = consul.call("GET", f"/v1/kv/{prefix}?keys")
    return [key.removeprefix(prefix) for key in found or []]


@pytest.mark.row("H2")
@pytest.mark.row("J1")
@pytest.mark.row("J3")
def test_a_push_is_served_and_consul_knows_it(consul: ConsulAgent, yard: Host, names: Name, place: str) -> None:
    app = names("shop")
    clone = Repository(yard, app, apps.web("hello"))
    clone.push()
    assert yard.get(app) == (200, "hello v1 ")
    yard.octo("config:set", "-a", app, "WORD=deep", "CONSUL_TAGS=http,blue")
    assert yard.get(app) == (200, "hello v2 deep")
    assert consul.call("GET", f"/v1/kv/{place}/{app}/WORD")[0]["Value"] == "ZGVlcA=="
    clone.commit({"greeting.txt": "two\n"})
    clone.push()
    yard.idle()
    ((address, tags),) = passing(consul, app)
    assert tags == ["http", "blue", "v3"] and address.startswith("10.220.")
    yard.octo("ps:scale", "-a", app, "web=2")
    assert len(passing(consul, app)) == 2
    finding = {f["check"]: f for f in json.loads(yard.octo("doctor", "--format", "json", code=None))}
    assert finding["store"]["ok"] and finding["store"]["detail"].startswith("Consul")
    assert finding["services"]["detail"].startswith("2 known")


def test_killed_and_started_again_octo_knows_all(consul: ConsulAgent, yard: Host, names: Name, place: str) -> None:
    app = names("shop")
    Repository(yard, app, apps.web("hello")).push()
    yard.kill()
    yard.start()
    yard.octo("config:set", "-a", app, "WORD=again")
    assert yard.get(app) == (200, "hello v2 again")
    yard.octo("apps:destroy", app, "--confirm", app)
    yard.idle()
    assert passing(consul, app) == [] and kv(consul, f"{place}/{app}/") == []
    left = kv(consul, f"{place}-octo/")
    assert {key.split("/")[0] for key in left} <= {"keys"}


@pytest.mark.row("J9")
def test_what_consul_reports_critical_leaves_the_routing_and_returns(
    consul: ConsulAgent, yard: Host, names: Name
) -> None:
    app = names("shop")
    Repository(yard, app, apps.web("hello")).push()
    yard.octo("ps:scale", "-a", app, "web=2")
    assert answering(yard, app) == {"web.1", "web.2"}
    ids = [service["ID"] for service in consul.call("GET", "/v1/agent/services").values() if service["Service"] == app]
    for on, processes in ((True, 1), (False, 2)):
        maintain(consul, ids[0], on=on)
        while len(answering(yard, app)) != processes:
            pass


def maintain(consul: ConsulAgent, id: str, *, on: bool) -> None:
    consul.call("PUT", f"/v1/agent/service/maintenance/{id}?enable={'true' if on else 'false'}")


def answering(yard: Host, app: str) -> set[str]:
    """The processes that answer twenty requests; nginx takes one after the other."""
    pages = [yard.get(app, "/env")[1] for _ in range(20)]
    return {line.removeprefix("DYNO=") for page in pages for line in page.splitlines() if line.startswith("DYNO=")}


def test_without_consul_apps_serve_and_changes_are_refused_until_it_is_back() -> None:
    with running(lasting=True) as consul:
        settings = {"CONSUL": consul.url, "CONSUL_TOKEN": TOKEN, "CONSUL_PATIENCE": "1", "STORE": "consul"}
        with serving(**{f"OCTO_{k}": v for k, v in settings.items()}) as host:
            clone = Repository(host, "shop", apps.web("hello"))
            clone.push()
            host.idle()
            consul.kill()
            clone.commit({"greeting.txt": "two\n"})
            for said in (clone.push(code=None), host.octo("config:set", "-a", "shop", "A=1", code=None)):
                (line,) = [line for line in said.splitlines() if "cannot" in line]
                assert f"cannot reach Consul at {consul.url}: Connection refused" in line
                assert "Start Consul" in said
            assert host.get("shop") == (200, "hello v1 ")
            host.kill()
            assert host.get("shop") == (200, "hello v1 ")
            consul.start()
            host.start()
            consul.kill()
            consul.start()
            assert "done, v2" in clone.push()
            assert host.get("shop") == (200, "two v2 ")
            host.idle()
            ((_, tags),) = passing(consul, "shop")
            assert tags == ["http", "v2"]


def test_a_whole_octo_moves_to_consul_and_back(consul: ConsulAgent, place: str) -> None:
    at = {
        "CONSUL": consul.url,
        "CONSUL_TOKEN": TOKEN,
        "CONSUL_PREFIX": f"{place}-b",
        "CONSUL_DOCUMENTS": f"{place}-b-octo",
    }
    with serving(**{f"OCTO_{k}": v for k, v in at.items()}) as host:
        Repository(host, "moving", apps.web("hello")).push()
        assert "while octod runs" in host.octo("store:migrate", "consul", code=1)
        host.stop()
        assert 'Now set store = "consul" and start octod.' in host.octo("store:migrate", "consul")
        assert "everything in it has moved to consul" in refused(host)
        host.env["OCTO_STORE"] = "consul"
        host.start()
        host.octo("config:set", "-a", "moving", "WORD=deep")
        assert host.get("moving") == (200, "hello v2 deep")
        host.idle()
        assert len(passing(consul, "moving")) == 1
        host.stop()
        host.octo("store:migrate", "sqlite")
        host.env["OCTO_STORE"] = "sqlite"
        host.start()
        assert host.json("config", "-a", "moving")["WORD"] == "deep"
        assert host.get("moving") == (200, "hello v2 deep")


def refused(host: Host) -> str:
    """What octod says that does not start."""
    done = subprocess.run(
        [sys.executable, "-m", "octo.daemon"], env=host.env, cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stdout + done.stderr
    return done.stderr
