"""Submodules that are apps here: who may not read one learns no more than who asks for one that is not there."""

import pytest

from octo.catalog import Catalog
from octo.errors import BuildFailed
from octo.model import App, AppName
from octo.pipeline.attend import Session
from octo.pipeline.build import Order
from octo.pipeline.source import Source, Submodule
from octo.pipeline.submodules import Submodules
from octo.specs import GB, Limits
from tests.fakes import FakeSandbox
from tests.unit.octo.pipeline.parts import ports


def nothing(*_: object) -> Session:
    raise AssertionError("nothing may be opened")


def said(catalog: Catalog, app: App, name: str) -> str:
    source = Source("c0ffee", None, None, (Submodule("lib", "1" * 40, f"../{name}.git"),))
    order = Order(app, source, None, nothing, nothing, lambda other: False, lambda: False)
    with pytest.raises(BuildFailed) as refused:
        list(Submodules(FakeSandbox(), catalog, Limits(GB, 1.0, 100, 60)).beside(order, [b"tar"]))
    return refused.value.message.replace(name, "NAME")


@pytest.mark.row("B14")
def test_an_app_that_may_not_be_read_is_refused_as_one_that_is_not_there() -> None:
    catalog = Catalog(ports().ports.store)
    shop = catalog.create(AppName("shop"), now=1.0, owner=None)
    catalog.create(AppName("secret"), now=1.0, owner=None)
    refused = said(catalog, shop, "secret")
    assert refused == said(catalog, shop, "none") and "no such app for you here" in refused
