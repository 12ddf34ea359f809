"""Ports of the host that lead to apps: plain TCP through the real nginx."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

import pytest

from octo.adapters.router_nginx.hostports import HostPorts
from octo.adapters.router_nginx.master import Master
from octo.errors import RouterFailed
from octo.ports import Route, Router, Stream
from tests.contract.router_parts import UID, Bench, bench, eventually, free_port, route
from tests.fakes_router import FakeRouter


@pytest.fixture
def made() -> Iterator[Bench]:
    with bench() as made:
        made.router.start()
        yield made


@contextmanager
def echo(says: bytes) -> Iterator[str]:
    """A server that says its word, then sends back what comes; its "address:port"."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve(link: socket.socket) -> None:
            with link, suppress(OSError):
                link.sendall(says)
                while data := link.recv(100):
                    link.sendall(data)

        def accept() -> None:
            with suppress(OSError):
                while True:
                    threading.Thread(target=serve, args=[server.accept()[0]], daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)


def streaming(port: int, *targets: str, ip: str = "127.0.0.1", app: str = "shop") -> Route:
    return replace(route(app), streams=(Stream(ip, port, targets),))


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=20)


def said(port: int) -> bytes:
    with connect(port) as link:
        return link.recv(100)


@pytest.mark.row("D5")
def test_a_port_leads_to_the_app_and_a_switch_drops_no_connection(made: Bench) -> None:
    port = free_port()
    with echo(b"one") as one, echo(b"two") as two:
        assert made.router.apply([streaming(port, one)])
        with connect(port) as link:
            assert link.recv(100) == b"one"
            assert made.router.connections([one]) == 1
            assert made.router.apply([streaming(port, two)])
            assert said(port) == b"two"
            link.sendall(b"still here")
            assert link.recv(100) == b"still here"
            assert made.router.connections([one]) == 1
        assert eventually(lambda: made.router.connections([one]) == 0)
        assert made.router.problems() == []


def test_an_app_without_containers_leaves_its_port_closed(made: Bench) -> None:
    port = free_port()
    with echo(b"one") as one:
        made.router.apply([streaming(port, one)])
        assert said(port) == b"one"
        made.router.apply([streaming(port)])
        with pytest.raises(ConnectionRefusedError):
            connect(port)
        made.router.apply([streaming(port, one)])
        assert said(port) == b"one"


def test_websites_are_served_beside_and_without_ports_nothing_is_loaded(made: Bench) -> None:
    web, _ = made.app("web")
    port = free_port()
    with echo(b"one") as one:
        made.router.apply([replace(streaming(port, one), targets=(web,))])
        assert (said(port), made.get("shop.localhost").echo["app"]) == (b"one", "web")
        assert b"load_module" in (made.prefix / "current/nginx.conf").read_bytes()
    made.router.apply([route("shop", web)])
    assert b"load_module" not in (made.prefix / "current/nginx.conf").read_bytes()
    assert made.get("shop.localhost").echo["app"] == "web"


def test_a_client_that_has_not_said_all_is_seen_beside_open_streams(made: Bench) -> None:
    """Connections of streams must not be taken for those of web clients: else a container would go too early."""
    web, _ = made.app("web")
    port = free_port()
    with echo(b"one") as one:
        made.router.apply([replace(streaming(port, one), targets=(web,))])
        with connect(port) as link, made.raw(b"POST / HTTP/1.1\r\nHost: shop.localhost\r\nContent-Length: 9\r\n\r\nab"):
            assert link.recv(100) == b"one"
            assert eventually(lambda: made.router.connections([one]) == 1)
            other, _ = made.app("other")
            made.router.apply([replace(streaming(port, one), targets=(other,))])
            assert made.router.connections([web]) == 1


def test_a_port_that_somebody_else_has_is_named_and_harms_nobody_else(made: Bench) -> None:
    web, _ = made.app("web")
    with echo(b"one") as one, socket.create_server(("127.0.0.1", 0)) as foreign:
        port = foreign.getsockname()[1]
        for ip in ("127.0.0.1", "0.0.0.0"):
            assert f"listens on port {port}" in made.router.taken([Stream(ip, port, (one,))])
        assert made.router.taken([Stream("127.0.0.2", port, (one,)), Stream("127.0.0.1", free_port(), (one,))]) == ""
        made.router.apply([streaming(port, one), route("blog", web)])
        assert made.get("blog.localhost").echo["app"] == "web"
        assert any(f"port {port} of an app is not served" in problem for problem in made.router.problems())
    made.router.apply([streaming(port, one), route("blog", web)])
    assert made.router.problems() == []


def test_its_own_port_is_not_taken_and_it_outlives_a_new_octod(made: Bench) -> None:
    port = free_port()
    with echo(b"one") as one:
        table = [streaming(port, one)]
        made.router.apply(table)
        assert made.router.taken(table[0].streams) == ""
        other = made.other()
        other.start()
        assert other.taken(table[0].streams) == ""
        assert other.apply(table) is False
        assert said(port) == b"one"


def test_a_port_below_1024_can_be_had_while_nginx_runs(made: Bench) -> None:
    with echo(b"one") as one:
        port = next(p for p in range(1023, 900, -1) if not made.router.taken([Stream("127.0.0.1", p, (one,))]))
        made.router.apply([streaming(port, one)])
        assert said(port) == b"one"


HOSTILE = [
    *((ip, 5000) for ip in ("", "*", "0.0.0.0;", "unix:/x", "localhost", "1.2.3.4:80", "::1\n", "1.2.3.4 ssl")),
    *(("127.0.0.1", port) for port in (0, -1, 65536, "80", "80; }", True, 1.5)),
]


@pytest.fixture(params=["fake", "nginx"])
def router(request: pytest.FixtureRequest) -> Iterator[Router]:
    if request.param == "fake":
        yield FakeRouter()
        return
    with bench() as made:
        yield made.router


def test_what_is_no_address_or_port_is_refused(router: Router) -> None:
    router.start()
    router.apply([route("shop")])
    for ip, port in HOSTILE:
        with pytest.raises(RouterFailed, match="cannot route"):
            router.apply([replace(route("shop"), streams=(Stream(ip, port, ()),))])  # type: ignore[arg-type]
    with pytest.raises(RouterFailed, match="cannot route"):
        router.apply([streaming(5000, "127.0.0.1")])
    assert router.apply([route("shop")]) is False


def test_a_port_of_two_apps_is_refused(router: Router) -> None:
    router.start()
    with pytest.raises(RouterFailed, match='the port "5000": it is in the table twice'):
        router.apply([streaming(5000), streaming(5000, ip="127.0.0.2", app="blog")])


def test_without_its_module_nginx_serves_all_else(made: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Master, "stream_module", lambda self: None)
    ports = HostPorts(Master(made.prefix, ports=(made.port,), user=UID), UID)
    asked = streaming(5000, "127.0.0.1:1")
    assert "libnginx-mod-stream" in ports.taken(asked.streams)
    assert ports.servable([asked]) == [route("shop")]
    assert len(ports.problems) == 1
