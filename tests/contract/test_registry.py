"""The Registry's promises, kept by the fake, by the one on the Store and by Consul's."""

import os
import threading
from collections.abc import Iterator

import pytest

from octo.adapters.registry_consul import ConsulRegistry
from octo.adapters.registry_store import StoreRegistry
from octo.agent import Agent
from octo.model import Check, Service
from octo.ports import Registry
from tests.consul_agent import TOKEN, ConsulAgent
from tests.fakes import FakeRegistry, FakeStore

WEB = Service("shop-10.0.0.2-5000", "shop", "10.0.0.2", 5000, ("http", "v3"), Check("/health", 30))
OTHER = Service("shopper-10.0.0.3-80", "shopper", "10.0.0.3", 80)


@pytest.fixture(params=["fake", "store", "consul"])
def registry(request: pytest.FixtureRequest) -> Iterator[Registry]:
    if request.param == "consul":
        consul: ConsulAgent = request.getfixturevalue("consul")
        made = ConsulRegistry(Agent(consul.url, token=TOKEN), instance=f"test-{os.urandom(4).hex()}")
        yield made
        for service in made.services():
            made.deregister(service.id)
        made.close()
    else:
        yield FakeRegistry() if request.param == "fake" else StoreRegistry(FakeStore())


def test_a_registered_service_is_listed_under_its_exact_name(registry: Registry) -> None:
    registry.register(WEB)
    registry.register(OTHER)
    assert list(registry.services("shop")) == [WEB]
    assert list(registry.services()) == [WEB, OTHER]


@pytest.mark.parametrize(
    "changed",
    [
        Service(WEB.id, WEB.name, WEB.address, WEB.port, ("http", "v4"), WEB.check),
        Service(WEB.id, WEB.name, WEB.address, WEB.port, (), Check("", 5)),
        Service(WEB.id, WEB.name, WEB.address, WEB.port),
        Service(WEB.id, WEB.name, WEB.address, WEB.port, by_hand=True),
    ],
)
def test_the_same_id_replaces(registry: Registry, changed: Service) -> None:
    registry.register(WEB)
    registry.register(changed)
    assert list(registry.services()) == [changed]


@pytest.mark.row("L26")
def test_the_catalog_has_every_service_under_the_machine_that_knows_it(registry: Registry) -> None:
    registry.register(WEB)
    registry.register(OTHER)
    found = {entry.id: entry for entry in registry.catalog()}
    for service in (WEB, OTHER):
        entry = found[service.id]
        assert (entry.name, entry.address, entry.port, entry.tags) == (
            service.name,
            service.address,
            service.port,
            service.tags,
        )
    assert len({found[s.id].node for s in (WEB, OTHER)} - {""}) == 1


def test_deregistering_twice_is_no_error(registry: Registry) -> None:
    registry.register(WEB)
    registry.deregister(WEB.id)
    registry.deregister(WEB.id)
    assert list(registry.services()) == []


def test_a_new_service_is_not_failing(registry: Registry) -> None:
    registry.register(WEB)
    assert list(registry.failing()) == []


def test_a_watcher_hears_of_what_comes_and_goes(registry: Registry) -> None:
    for act in (lambda: registry.register(WEB), lambda: registry.deregister(WEB.id)):
        since = registry.watch(0, 0)
        woken: list[int] = []
        watcher = threading.Thread(target=lambda since=since, woken=woken: woken.append(registry.watch(since, 60)))
        watcher.start()
        act()
        watcher.join()
        assert woken[0] > since
