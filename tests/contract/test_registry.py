"""The Registry's promises, kept by the fake and by the one on the Store."""

import pytest

from octo.adapters.registry_store import StoreRegistry
from octo.model import Service
from octo.ports import Registry
from tests.fakes import FakeRegistry, FakeStore

WEB = Service("shop-10.0.0.2-5000", "shop", "10.0.0.2", 5000, ("http", "v3"))
OTHER = Service("shopper-10.0.0.3-80", "shopper", "10.0.0.3", 80)


@pytest.fixture(params=["fake", "store"])
def registry(request: pytest.FixtureRequest) -> Registry:
    return FakeRegistry() if request.param == "fake" else StoreRegistry(FakeStore())


def test_a_registered_service_is_listed_under_its_exact_name(registry: Registry) -> None:
    registry.register(WEB)
    registry.register(OTHER)
    assert list(registry.services("shop")) == [WEB]
    assert list(registry.services()) == [WEB, OTHER]


def test_the_same_id_replaces(registry: Registry) -> None:
    registry.register(WEB)
    changed = Service(WEB.id, WEB.name, WEB.address, WEB.port, ("http", "v4"))
    registry.register(changed)
    assert list(registry.services()) == [changed]


def test_deregistering_twice_is_no_error(registry: Registry) -> None:
    registry.register(WEB)
    registry.deregister(WEB.id)
    registry.deregister(WEB.id)
    assert list(registry.services()) == []
