"""Services as Consul sees them: tags, checks, and those of others."""

import http.server
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from octo.adapters.registry_consul import ConsulRegistry
from octo.agent import Agent
from octo.errors import OctoError, Taken, Unavailable
from octo.model import Check, Service
from tests.consul_agent import TOKEN, ConsulAgent


class Web:
    """A container's web server, well or ill at will."""

    def __init__(self) -> None:
        self.status, self.asked = 200, []  # type: tuple[int, list[str]]
        web = self

        class Answer(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                web.asked.append(self.path)
                self.send_response(web.status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.port: int = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def web() -> Iterator[Web]:
    made = Web()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def name() -> str:
    return f"shop-{os.urandom(4).hex()}"


@pytest.fixture
def registry(consul: ConsulAgent, name: str) -> Iterator[ConsulRegistry]:
    made = ConsulRegistry(Agent(consul.url, token=TOKEN), instance=f"octo-{name}")
    yield made
    for service in made.services():
        made.deregister(service.id)
    made.close()


def health(consul: ConsulAgent, name: str, query: str = "") -> list[Any]:
    found: list[Any] = consul.call("GET", f"/v1/health/service/{name}{query}")
    return found


def until(registry: ConsulRegistry, told: Callable[[], bool]) -> None:
    since = 0
    while not told():
        since = registry.watch(since, 60)


@pytest.mark.row("J1")
@pytest.mark.row("J2")
def test_a_service_is_in_the_catalog_with_its_tags_one_by_one(
    consul: ConsulAgent, registry: ConsulRegistry, name: str
) -> None:
    registry.register(Service(f"{name}-10.0.0.2-5000", name, "10.0.0.2", 5000, ("http", "blue")))
    until(registry, lambda: bool(health(consul, name)))
    (entry,) = health(consul, name, "?tag=blue")
    assert (entry["Service"]["ID"], entry["Service"]["Service"]) == (f"{name}-10.0.0.2-5000", name)
    assert (entry["Service"]["Address"], entry["Service"]["Port"]) == ("10.0.0.2", 5000)
    assert entry["Service"]["Tags"] == ["http", "blue"]


@pytest.mark.row("J3")
@pytest.mark.parametrize("path", ["/health?deep=1", ""])
def test_a_service_passes_from_the_start_and_follows_its_check(
    consul: ConsulAgent, registry: ConsulRegistry, name: str, web: Web, path: str
) -> None:
    id = f"{name}-127.0.0.1-{web.port}"
    registry.register(Service(id, name, "127.0.0.1", web.port, check=Check(path, 3600)))
    until(registry, lambda: bool(health(consul, name)))
    (entry,) = health(consul, name, "?passing")
    assert entry["Service"]["ID"] == id and list(registry.failing()) == []
    if not path:
        web.server.shutdown()
        web.server.server_close()
    web.status = 503
    registry.register(Service(id, name, "127.0.0.1", web.port, check=Check(path, 0.05)))
    until(registry, lambda: list(registry.failing()) == [id])
    until(registry, lambda: health(consul, name, "?passing") == [])
    if path:
        assert set(web.asked) == {path}
        web.status = 200
        until(registry, lambda: list(registry.failing()) == [])


def test_what_is_not_octos_is_never_touched(consul: ConsulAgent, registry: ConsulRegistry, name: str) -> None:
    other = ConsulRegistry(Agent(consul.url, token=TOKEN), instance=f"other-{name}")
    other.register(Service(f"{name}-theirs", name, "10.0.0.3", 80))
    consul.call("PUT", "/v1/agent/service/register", {"ID": f"{name}-1", "Name": name, "Meta": {"octo": ""}})
    registry.register(Service(f"{name}-ours", name, "10.0.0.2", 80))
    assert [s.id for s in registry.services()] == [s.id for s in registry.services(name)] == [f"{name}-ours"]
    for id in (f"{name}-theirs", f"{name}-1"):
        registry.deregister(id)
        with pytest.raises(Taken, match="not octo's"):
            registry.register(Service(id, name, "10.0.0.2", 80))
    registry.deregister(f"{name}-ours")
    assert set(consul.call("GET", "/v1/agent/services")) >= {f"{name}-theirs", f"{name}-1"}
    assert [s.id for s in other.services()] == [f"{name}-theirs"]
    consul.call("PUT", f"/v1/agent/service/deregister/{name}-1")
    other.deregister(f"{name}-theirs")
    other.close()


def test_a_registration_that_consul_refuses_is_told(consul: ConsulAgent, name: str) -> None:
    token = consul.token('service_prefix "" { policy = "read" }')
    registry = ConsulRegistry(Agent(consul.url, token=token), instance="x")
    with pytest.raises(Unavailable, match="refuses octo's token"):
        registry.register(Service(f"{name}-1", name, "10.0.0.2", 80))
    registry.close()
    wrong = ConsulRegistry(Agent(consul.url, token=TOKEN), instance="x")
    with pytest.raises(OctoError, match="cannot use Consul"):
        wrong.register(Service(f"{name}-1", "", "10.0.0.2", 80))
    wrong.close()
