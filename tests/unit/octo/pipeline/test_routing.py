"""The one table of routes."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octo.adapters.router_nginx import render
from octo.catalog import Catalog
from octo.catalog.writes import Targets, domain_write, release_write, targets_write
from octo.errors import RouterFailed, Usage
from octo.model import AppName, Domain, Hostname, Release, hostname
from octo.pipeline.routing import Flip, Routing
from octo.ports import Front
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
    catalog.store.put_many([domain_write(Hostname("www.shop.test"), Domain(Hostname("www.shop.test"), shop.id, 0.0))])
    assert table.refresh()
    hosts = {r.app: r.hosts for r in router.table}
    assert hosts == {"shop": ("shop.localhost", "www.shop.test"), "blog": ("blog.localhost",)}


def test_domains_of_a_push_come_with_its_flip_and_go_with_it() -> None:
    catalog, router, table = routing()
    shop = catalog.create(AppName("shop"), now=0.0, owner=None)
    blog = catalog.create(AppName("blog"), now=0.0, owner=None)
    old = Domain(Hostname("old.test"), shop.id, 0.0, pushed=True)
    catalog.store.put_many([domain_write(old.hostname, old)])
    table.flip(shop, Flip(Targets(1), (Hostname("new.test"),)))
    table.flip(blog, Flip(Targets(1), (Hostname("new.test"), Hostname("blog.test"))))  # too late for the first
    assert {r.app: r.hosts[1:] for r in router.table} == {"shop": ("new.test",), "blog": ("blog.test",)}
    table.flip(shop, Flip(Targets(2)))
    assert {r.app: r.hosts[1:] for r in router.table}["shop"] == ("old.test",)
    table.back(shop)
    table.back(blog)
    assert {r.app: r.hosts[1:] for r in router.table} == {"shop": ("old.test",), "blog": ()}


def test_only_an_app_with_a_template_is_asked_for_its_config() -> None:
    catalog, router, table = routing()
    shop = catalog.create(AppName("shop"), now=0.0, owner=None)
    release = Release(shop.id, 1, "image", 0.0, config={"WORD": "x", "SSL_KEY": "secret"})
    catalog.store.put_many([release_write(release)])
    table.flip(shop, Flip(Targets(1)))
    assert router.table[0].config == {}
    own = Targets(1, front=Front(template="own.conf"))
    table.flip(shop, Flip(own, config={"WORD": "y", "SSL_KEY": "secret"}))
    assert router.table[0].config == {"WORD": "y"}
    catalog.store.put_many([targets_write(shop, own)])
    table.settle(shop)
    table.refresh()
    assert router.table[0].config == {"WORD": "x"}


def test_a_fault_of_the_apps_own_stops_its_new_release_and_not_its_healing() -> None:
    catalog, router, table = routing()
    shop = catalog.create(AppName("shop"), now=0.0, owner=None)
    router.faulty[shop.id] = "its template is no good"
    for act in (table.check, lambda *given: table.flip(*given, strict=True)):
        with pytest.raises(RouterFailed, match="its template is no good"):
            act(shop, Flip(Targets(2, addresses=("10.0.0.2:80",))))
    assert not router.table
    table.flip(shop, Flip(Targets(1, addresses=("10.0.0.1:80",))))
    assert router.table[0].targets == ("10.0.0.1:80",)
    assert table.render() == {shop.id: "its template is no good"}


def test_two_flips_at_once_do_not_route_each_other_back() -> None:
    catalog, router, table = routing()
    shop = catalog.create(AppName("shop"), now=0.0, owner=None)
    blog = catalog.create(AppName("blog"), now=0.0, owner=None)
    table.flip(shop, Flip(Targets(1, addresses=("10.0.0.1:80",))))
    table.flip(blog, Flip(Targets(1, addresses=("10.0.0.2:80",))))
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
