"""What a visitor and an app see through nginx."""

import json
import re
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from octo.adapters.router_nginx import sockets
from octo.ports import Tally
from tests.contract.router_parts import NOBODY, UID, Bench, bench, eventually, route


@pytest.fixture
def made() -> Iterator[Bench]:
    with bench() as made:
        made.router.start()
        yield made


@pytest.fixture
def shop(made: Bench) -> str:
    """The target of an app that is served as shop.localhost."""
    target, _ = made.app("shop")
    made.router.apply([route("shop", target, hosts=("shop.localhost", "www.example.com"), release=7)])
    return target


def headers(echo: Any) -> dict[str, str]:
    names = [name.lower() for name, _ in echo["headers"]]
    assert len(names) == len(set(names)), "a header came twice"
    return {name.lower(): value for name, value in echo["headers"]}


# --- routing


@pytest.mark.row("J10")
@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize(
    "host", ["shop.localhost", "SHOP.localhost", "shop.localhost:8080", "shop.localhost.", "www.example.com"]
)
def test_each_host_of_an_app_reaches_it(made: Bench, host: str) -> None:
    assert made.get(host).echo["app"] == "shop"


@pytest.mark.row("J10")
def test_requests_are_spread_over_all_targets(made: Bench) -> None:
    made.router.apply([route("shop", made.app("one")[0], made.app("two")[0])])
    assert {made.get("shop.localhost").echo["app"] for _ in range(20)} == {"one", "two"}


def test_a_dead_target_beside_a_live_one_costs_nobody_an_answer(made: Bench) -> None:
    made.router.apply([route("shop", NOBODY, made.app("alive")[0])])
    assert {made.get("shop.localhost", method=m).status for m in ("GET", "POST") * 10} == {200}


@pytest.mark.usefixtures("shop")
def test_the_path_reaches_the_app_as_it_was_sent(made: Bench) -> None:
    assert made.get("shop.localhost", "/a%2Fb//c/../%20?q=%0a&x=1").echo["path"] == "/a%2Fb//c/../%20?q=%0a&x=1"


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize("status", [404, 413, 418, 500, 502, 503, 504])
def test_an_error_of_the_app_itself_passes_untouched(made: Bench, status: int) -> None:
    answer = made.get("shop.localhost", f"/{status}", Accept="text/html")
    assert (answer.status, answer.echo["app"]) == (status, "shop")


# --- what the app is told


@pytest.mark.row("J10")
@pytest.mark.usefixtures("shop")
def test_the_app_learns_who_asked_and_how(made: Bench) -> None:
    seen = headers(made.get("shop.localhost:8080").echo)
    assert (seen["host"], seen["x-forwarded-host"]) == ("shop.localhost:8080", "shop.localhost:8080")
    assert (seen["x-forwarded-for"], seen["x-real-ip"]) == ("127.0.0.1", "127.0.0.1")
    assert (seen["x-forwarded-proto"], seen["x-forwarded-port"]) == ("http", str(made.port))
    assert re.fullmatch(r"t=\d+\.\d{3}", seen["x-request-start"])
    assert re.fullmatch("[0-9a-f]{32}", seen["x-request-id"])
    assert not {"connection", "upgrade", "proxy"} & seen.keys()


@pytest.mark.row("J10")
@pytest.mark.usefixtures("shop")
def test_what_a_client_claims_about_itself_is_dropped(made: Bench) -> None:
    claims = {
        "X_Forwarded_For": "6.6.6.6",
        "X_Real_IP": "6.6.6.6",
        "X_Forwarded_Proto": "https",
        "X_Request_Start": "t=1",
    }
    more = {"Proxy": "evil:80", "Forwarded": "for=6.6.6.6", "X_Forwarded_Host": "evil", "X_Forwarded_Prefix": "/evil"}
    seen = headers(made.get("shop.localhost", Upgrade="h2c", **claims, **more).echo)
    assert not {"proxy", "forwarded", "x-forwarded-prefix", "upgrade"} & seen.keys()
    assert "6.6.6.6" not in seen.values()
    assert (seen["x-forwarded-proto"], seen["x-forwarded-host"]) == ("http", "shop.localhost")


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize(
    ("given", "kept"), [("a1-" * 10, True), ("short", False), ("x" * 201, False), ('"; DROP ' * 4, False)]
)
def test_a_request_id_is_kept_when_it_is_a_plain_one(made: Bench, given: str, kept: bool) -> None:
    assert (headers(made.get("shop.localhost", X_Request_Id=given).echo)["x-request-id"] == given) is kept


def test_the_host_of_an_absolute_address_wins_over_the_header(made: Bench) -> None:
    made.router.apply([route("shop", made.app("shop")[0]), route("blog", made.app("blog")[0])])
    ask = b"GET http://shop.localhost/ HTTP/1.1\r\nHost: blog.localhost\r\nConnection: close\r\n\r\n"
    with made.raw(ask) as connection, connection.makefile("rb") as answer:
        echo = json.loads(answer.read().partition(b"\r\n\r\n")[2])
    assert (echo["app"], headers(echo)["host"]) == ("shop", "shop.localhost")


# --- long connections


@pytest.mark.row("J10")
@pytest.mark.usefixtures("shop")
def test_a_websocket_is_passed_on_both_ways_and_outlives_a_reload(made: Bench) -> None:
    with websocket(made) as client, client.makefile("rb") as answer:
        assert answer.readline().split()[1] == b"101"
        while answer.readline().strip():
            pass
        made.router.apply([route("shop", made.app("next")[0])])
        client.sendall(b"still there?\n")
        assert answer.readline() == b"echo still there?\n"


def websocket(made: Bench) -> socket.socket:
    return made.raw(b"GET /ws HTTP/1.1\r\nHost: shop.localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")


def test_events_arrive_as_they_are_sent(made: Bench) -> None:
    target, gate = made.app("shop")
    made.router.apply([route("shop", target)])
    with made.raw(b"GET /events HTTP/1.1\r\nHost: shop.localhost\r\n\r\n") as client, client.makefile("rb") as answer:
        assert any(b"first" in line for line in answer)
        gate.set()
        assert any(b"second" in line for line in answer)


# --- pages of the router's own


@pytest.mark.row("J10")
@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize("host", ["nobody.localhost", "localhost", "127.0.0.1", "evil<script>.test", 'a"b', "x" * 300])
def test_an_unknown_host_gets_the_404_page_and_never_an_app(made: Bench, host: str) -> None:
    answer = made.get(host, "/<script>alert(1)</script>", Accept="text/html")
    assert (answer.status, answer.headers["Content-Type"]) == (404, "text/html; charset=utf-8")
    assert b"No such app here" in answer.body
    assert b"<script" not in answer.body


@pytest.mark.row("J10")
def test_an_app_without_targets_gets_the_503_page(made: Bench) -> None:
    made.router.apply([route("shop")])
    for method in ("GET", "POST", "PUT"):
        answer = made.get("shop.localhost", method=method, Accept="text/html")
        assert (answer.status, answer.headers["Retry-After"]) == (503, "10")
        assert b"not running" in answer.body


@pytest.mark.parametrize("upgrade", ["", "websocket"])
def test_an_app_that_refuses_connections_gets_the_502_page(made: Bench, upgrade: str) -> None:
    made.router.apply([route("shop", NOBODY)])
    answer = made.get("shop.localhost", Accept="text/html", Upgrade=upgrade)
    assert (answer.status, answer.headers["Retry-After"]) == (502, "5")
    assert b"does not answer" in answer.body
    assert made.get("shop.localhost", Accept="application/json").echo["id"] == "silent"
    assert made.get("shop.localhost").body.startswith(b"this app does not answer")


@pytest.mark.usefixtures("shop")
def test_a_body_over_the_limit_gets_the_413_page(made: Bench) -> None:
    ask = b"POST / HTTP/1.1\r\nHost: shop.localhost\r\nContent-Length: 104857601\r\nConnection: close\r\n\r\n"
    assert made.status_of(ask) == 413


@pytest.mark.usefixtures("made")
@pytest.mark.parametrize(
    "ask",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: shop.localhost\r\nHost: blog.localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\x1bb\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: " + b"a" * 9000 + b"\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: shop.localhost\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: shop.localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"POST / HTTP/1.1\r\nHost: shop.localhost\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    ],
)
def test_a_malformed_request_is_refused_before_any_app_sees_it(made: Bench, shop: str, ask: bytes) -> None:
    assert made.status_of(ask) in (400, 501)
    assert made.get("shop.localhost").status == 200


# --- counting


def test_the_tally_counts_what_the_router_had_to_answer_as_failed(made: Bench) -> None:
    shop = route("shop", made.app("shop")[0])
    dead, idle = route("dead", NOBODY), route("idle")
    made.router.apply([shop, dead, idle])
    made.get("shop.localhost")
    since = made.router.mark()
    for host in ("shop", "dead", "idle", "nobody"):
        made.get(f"{host}.localhost", '/"app":"1"')
    made.get("shop.localhost", "/503")
    assert eventually(lambda: made.router.tally(shop.id, since) == Tally(2, 0))
    assert eventually(lambda: made.router.tally(dead.id, since) == Tally(0, 1))
    assert eventually(lambda: made.router.tally(idle.id, since) == Tally(0, 1))


def test_a_line_of_the_access_log_names_app_release_container_and_request(made: Bench, shop: str) -> None:
    made.get("shop.localhost", "/buy?token=secret", method="POST", X_Request_Id="id-" * 10)
    log = made.prefix / "logs" / "access.log"
    assert eventually(lambda: log.stat().st_size > 0)
    entry = json.loads(log.read_text())
    assert (entry["app"], entry["release"], entry["upstream"]) == (route("shop").id, "7", shop)
    assert (entry["method"], entry["path"], entry["id"], entry["status"]) == ("POST", "/buy", "id-" * 10, "200")
    assert "secret" not in log.read_text()


def test_logs_stay_small_and_a_mark_outlives_their_rotation() -> None:
    with bench(log_limit=2000) as made:
        made.router.start()
        shop = route("shop", made.app("shop")[0])
        made.router.apply([shop])
        since = made.router.mark()
        for count in range(1, 8):
            made.get("shop.localhost")
            assert eventually(lambda: made.router.tally(shop.id, since).served == count)  # noqa: B023
        middle = made.router.mark()
        assert (made.prefix / "logs" / "access.log.1").exists()
        assert made.router.tally(shop.id, since) == Tally(7, 0)
        made.get("shop.localhost")
        assert eventually(lambda: made.other().tally(shop.id, middle) == Tally(1, 0))
        assert made.other().tally(shop.id, since) == Tally(8, 0)


# --- draining


def test_connections_counts_what_is_open_to_a_target(made: Bench) -> None:
    target, gate = made.app("shop")
    made.router.apply([route("shop", target)])
    asking = threading.Thread(target=made.get, args=("shop.localhost", "/wait"))
    asking.start()
    assert eventually(lambda: made.router.connections([target]) == 1)
    assert made.router.connections([NOBODY]) == 0
    made.router.apply([])
    assert made.router.connections([target]) == 1
    gate.set()
    asking.join()
    assert eventually(lambda: made.router.connections([target]) == 0)


@pytest.mark.parametrize(
    "begun", [b"", b"GET / HT", b"POST / HTTP/1.1\r\nHost: shop.localhost\r\nContent-Length: 9\r\n\r\nhalf"]
)
def test_a_client_that_has_not_finished_asking_holds_the_old_target(made: Bench, shop: str, begun: bytes) -> None:
    rest = {
        b"": b"GET / HTTP/1.0\r\nHost: shop.localhost\r\n\r\n",
        b"GET / HT": b"TP/1.0\r\nHost: shop.localhost\r\n\r\n",
    }
    with made.raw(begun) as client:
        assert eventually(
            lambda: any(
                s.uid == UID and s.inode and s.local_port == made.port and s.state == 1 for s in sockets.sockets()
            )
        )
        made.router.apply([route("shop", made.app("next")[0])])
        assert made.router.connections([shop]) == 1
        client.sendall(rest.get(begun, b"other"))
        assert b'"app": "shop"' in client.recv(65536) + client.recv(65536)
    assert eventually(lambda: made.router.connections([shop]) == 0)
