"""The one table of routes."""

import threading

from hypothesis import given
from hypothesis import strategies as st

from octo.adapters.router_nginx import render
from octo.catalog import Catalog
from octo.catalog.writes import Targets
from octo.errors import Usage
from octo.model import AppName, Hostname, hostname
from octo.pipeline.routing import Routing
from tests.fakes import FakeStore
from tests.fakes_router import FakeRouter


def routing() -> tuple[Catalog, FakeRouter, Routing]:
    catalog, router = Catalog(FakeStore()), FakeRouter()
    return catalog, router, Routing(catalog, router, "localhost")


@given(st.text(st.sampled_from("ab1-_.0x*~:/ \n{};$ü"), max_size=20))
def test_what_is_taken_as_a_domain_the_router_takes_too(text: str) -> None:
    """Where the two disagreed, one domain blocked every app's deploys."""
    try:
        name = hostname(text)
    except Usage:
        return
    assert render.host(name)


def test_a_domain_that_cannot_be_routed_harms_only_itself() -> None:
    catalog, router, table = routing()
    shop = catalog.create(AppName("shop"), now=0.0, owner=None)
    catalog.create(AppName("blog"), now=0.0, owner=None)
    for bad in ("0x7f.1", "a b.test", "blog.localhost", "UPPER.test"):
        catalog.store.put(
            f"octo/domains/{bad}", b'{"hostname":"%s","app":"%s","added_at":0}' % (bad.encode(), shop.id.encode())
        )
    catalog.add_domain(shop, Hostname("www.shop.test"), now=0.0)
    assert table.refresh()
    hosts = {r.app: r.hosts for r in router.table}
    assert hosts == {"shop": ("shop.localhost", "www.shop.test"), "blog": ("blog.localhost",)}


def test_two_flips_at_once_do_not_route_each_other_back() -> None:
    catalog, router, table = routing()
    shop = catalog.create(AppName("shop"), now=0.0, owner=None)
    blog = catalog.create(AppName("blog"), now=0.0, owner=None)
    table.flip(shop, Targets(1, addresses=("10.0.0.1:80",)))
    table.flip(blog, Targets(1, addresses=("10.0.0.2:80",)))
    assert {r.app: r.targets for r in router.table} == {"shop": ("10.0.0.1:80",), "blog": ("10.0.0.2:80",)}
    table.back(blog)
    assert {r.app: r.targets for r in router.table} == {"shop": ("10.0.0.1:80",), "blog": ()}


def test_who_asks_while_one_is_applied_shares_the_next() -> None:
    catalog, router, table = routing()
    inside, go = threading.Event(), threading.Event()
    applied: list[int] = []
    real = router.apply

    def slow(routes):  # type: ignore[no-untyped-def]
        applied.append(len(routes))
        if len(applied) == 1:
            inside.set()
            go.wait(60)
        return real(routes)

    router.apply = slow  # type: ignore[method-assign]
    first = threading.Thread(target=table.refresh)
    first.start()
    inside.wait(60)
    catalog.create(AppName("shop"), now=0.0, owner=None)
    others = [threading.Thread(target=table.refresh) for _ in range(20)]
    for thread in others:
        thread.start()
    while table._asked < 21:
        threading.Event().wait(0)
    go.set()
    for thread in (first, *others):
        thread.join()
    assert applied == [0, 1]
    assert [r.app for r in router.table] == ["shop"]
