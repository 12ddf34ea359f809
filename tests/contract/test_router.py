"""The Router port: what holds for the fake and for nginx alike."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from octo.errors import RouterFailed
from octo.ports import Router, Tally
from tests.contract.router_parts import bench, route
from tests.fakes_router import FakeRouter

GOOD = route("shop", "127.0.0.1:5000", release=3)

BAD_TEXT = [
    *("", " ", "*", "_", '""', "~^(.*)$", "default", "include /etc/passwd", "hostnames", "volatile", "\\default"),
    *(
        "a.test; return 200 x; #",
        "a.test\nlocation /x { return 200 x; }",
        "a.test\r\n",
        "a.test\0",
        "a.test\t",
        "a.test ",
    ),
    *("*.test", ".a.test", "a.test.", "A.test", "BÜCHER.test", "b\u212aa.test", "a.test:80", "1.2.3.4", "[::1]", "::1"),
    *("a..test", "-a.test", "a-.test", "{a,b}.test", "a.test}", "a.test{", "$host", "${host}", "a.$host", '"a.test"'),
    *("'a.test'", "a/test.x", "../../etc/passwd", "a.test#", "{{ 7*7 }}", "{% raw %}", "a.test\x1b[2J", "x" * 10_000),
    *((("a" * 49) + ".") * 5 + "abcde", "a" * 64 + ".test", "localhost", "0x7f.1", "xn--\u00e9.test"),
]
BAD_TARGETS = [
    *("127.0.0.1", "127.0.0.1:", ":80", "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:080", "127.0.0.1:-1", "127.1:80"),
    *("localhost:80", "unix:/var/run/docker.sock", "[::1]:80", "127.0.0.1:80 down", "127.0.0.1:80;", "127.0.0.1:8e1"),
    *(
        "0.0.0.0:80",
        "224.0.0.1:80",
        "255.255.255.255:80",
        "127.0.0.01:80",
        "256.0.0.1:80",
        "10.0.0.1:80\n",
        "\uff11.2.3.4:80",
    ),
]
BAD_IDS = ["", "shop", "ABC", "0x1", "ab cd", "ab;", "ab\n", "g" * 12, "a" * 33, "../a", "$host"]
BAD_NAMES = ["", "Shop", "1shop", "a b", "a\n}", "a;", "x" * 64, "a/../b", "é"]

NAMES_THAT_ARE_FINE = ("default", "hostnames", "volatile", "localhost")  # no host, but an app may be called so
ODD: list[Any] = [None, -1, 1.5, True, 1 << 60, "1; }", b"a.test", ("a.test",)]

HOSTILE = [
    *(replace(GOOD, hosts=("fine.test", text)) for text in [*BAD_TEXT, *ODD]),
    *(replace(GOOD, targets=(text,)) for text in [*BAD_TEXT, *BAD_TARGETS, *ODD]),
    *(replace(GOOD, id=text) for text in [*BAD_TEXT, *BAD_IDS, *ODD]),
    *(replace(GOOD, app=text) for text in [*BAD_TEXT, *BAD_NAMES, *ODD] if text not in NAMES_THAT_ARE_FINE),
    *(replace(GOOD, release=value) for value in [*BAD_TEXT, *ODD]),
]


@pytest.fixture(params=["fake", "nginx"])
def router(request: pytest.FixtureRequest) -> Iterator[Router]:
    if request.param == "fake":
        yield FakeRouter()
        return
    with bench() as made:
        yield made.router


def test_a_table_is_applied_once_and_the_same_one_changes_nothing(router: Router) -> None:
    router.start()
    assert router.apply([GOOD]) is True
    assert router.apply([GOOD]) is False
    assert router.apply([replace(GOOD, targets=("127.0.0.1:5001",))]) is True


def test_the_order_of_the_routes_means_nothing(router: Router) -> None:
    router.start()
    assert router.apply([GOOD, route("blog", "127.0.0.1:5002")])
    assert not router.apply([route("blog", "127.0.0.1:5002"), GOOD])


def test_an_empty_table_and_an_app_without_targets_are_fine(router: Router) -> None:
    router.start()
    assert router.apply([route("shop")])
    assert router.apply([])


def test_every_hostile_value_is_refused_and_nothing_changes(router: Router) -> None:
    router.start()
    router.apply([GOOD])
    for bad in HOSTILE:
        with pytest.raises(RouterFailed, match="cannot route") as caught:
            router.apply([GOOD, replace(bad, id="beef") if bad.id == GOOD.id else bad])
        assert caught.value.message.isprintable()
        assert len(caught.value.message) < 200
    assert router.apply([GOOD]) is False
    assert router.problems() == []


def test_looking_at_a_route_changes_nothing_and_refuses_what_apply_would(router: Router) -> None:
    router.start()
    router.apply([GOOD])
    router.check(route("blog", "127.0.0.1:5001"))
    for bad in (replace(GOOD, hosts=("a; } server {",)), replace(GOOD, targets=("1.2.3.4:80;",))):
        with pytest.raises(RouterFailed, match="cannot route"):
            router.check(bad)
    assert router.apply([GOOD]) is False
    assert router.apply([GOOD], anew=True) is True
    assert not router.faults()


def test_a_host_of_two_apps_is_refused(router: Router) -> None:
    router.start()
    with pytest.raises(RouterFailed, match="twice"):
        router.apply([GOOD, route("blog", hosts=GOOD.hosts)])


def test_a_router_that_was_stopped_says_so_and_starts_again(router: Router) -> None:
    router.start()
    assert router.problems() == []
    router.stop()
    assert "nginx is not running" in router.problems()
    router.start()
    assert router.problems() == []


def test_an_app_that_nobody_asked_for_has_an_empty_tally(router: Router) -> None:
    router.start()
    assert router.tally(GOOD.id, router.mark()) == Tally(0, 0)
    assert router.connections(["127.0.0.1:5000"]) == 0


def test_the_fake_fails_when_told_and_keeps_the_old_table() -> None:
    router = FakeRouter()
    router.start()
    router.apply([GOOD])
    router.fail_next = "cannot reload nginx: bind() failed"
    with pytest.raises(RouterFailed, match="bind"):
        router.apply([])
    assert router.table == (GOOD,)
    assert router.apply([]) is True
