"""The Probe: what the fake promises too, and what hostile or silent servers get from the real one."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from octo.adapters.probe_http import HttpProbe
from octo.ports import Probe
from tests.contract.docker_parts import spec
from tests.fakes_docker import FakeProbe, FakeRuntime

HOST = "127.0.0.1"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@contextmanager
def server(answer: Callable[[socket.socket, bytes], None]) -> Iterator[int]:
    """A server for one request; `answer` gets the connection and the request's head."""
    with socket.create_server((HOST, 0)) as door:

        def serve() -> None:
            with suppress(OSError):
                connection, _ = door.accept()
                with connection:
                    head = b""
                    while b"\r\n\r\n" not in head:
                        head += connection.recv(65536)
                    answer(connection, head)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield door.getsockname()[1]
        finally:
            with suppress(OSError):
                door.shutdown(socket.SHUT_RDWR)  # wakes accept
            thread.join()


def asked(text: bytes, *, timeout: float = 30) -> int | None:
    """What the probe makes of this answer."""
    with server(lambda connection, _: connection.sendall(text)) as port:
        return HttpProbe(timeout).http(HOST, port, "/", "shop.example")


@pytest.fixture
def free_port() -> Iterator[int]:
    """A port on which nobody listens: it is bound and no more."""
    with socket.socket() as holder:
        holder.bind((HOST, 0))
        yield holder.getsockname()[1]


@pytest.mark.parametrize("kind", ["fake", "http"])
def test_a_server_is_told_from_nobody(kind: str, free_port: int) -> None:
    def look(probe: Probe, address: str, port: int) -> int | None:
        return probe.http(address, port, "/", "shop.example")

    if kind == "fake":
        runtime = FakeRuntime()
        runtime.add("x:1")
        runtime.start(spec("octo-web", "10.213.1.0", image="x:1"))
        assert look(FakeProbe(runtime), "10.213.1.0", 5000) == 200
        assert look(FakeProbe(runtime), "10.213.1.1", 5000) is None
        return
    with server(lambda connection, _: connection.sendall(OK)) as port:
        assert look(HttpProbe(30), HOST, port) == 200
    assert look(HttpProbe(30), HOST, free_port) is None


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"HTTP/1.0 404 Not Found\r\n", 404),
        (b"HTTP/1.1 503\r\n", 503),
        (b"HTTP/1.1 200 \r\n", 200),
        (b"HTTP/1.1 301 Moved\n", 301),
        (b"HTTP/1.1 2000 OK\r\n", 0),
        (b"HTTP/1.1 999 No\r\n", 0),
        (b"HTTP/2.0 200 OK\r\n", 0),
        (b"HTTP/1.1 -200 OK\r\n", 0),
        (b"<html>HTTP/0.9</html>\n", 0),
        (b"SSH-2.0-OpenSSH\r\n", 0),
        (b"HTTP/1.1 200 OK", 0),
        (b"\x00\xff\r\n", 0),
        (b"", 0),
    ],
)
def test_only_a_status_line_of_http_counts(line: bytes, status: int) -> None:
    assert asked(line) == status


def test_a_status_line_without_end_is_read_no_further_than_its_limit() -> None:
    sent = [0]

    def endless(connection: socket.socket, _: bytes) -> None:
        while True:
            sent[0] += connection.send(b"HTTP/1.1 200 " + b"x" * 65536)

    with server(endless) as port:
        assert HttpProbe(30).http(HOST, port, "/", "shop.example") == 0
    assert sent[0] < 64 << 20


def test_headers_without_end_do_not_matter() -> None:
    def endless(connection: socket.socket, _: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        while True:
            connection.sendall(b"X-Header: " + b"x" * 65536 + b"\r\n")

    with server(endless) as port:
        assert HttpProbe(30).http(HOST, port, "/", "shop.example") == 200


def test_an_app_that_listens_and_says_nothing_is_open_and_not_ready() -> None:
    def wait(connection: socket.socket, _: bytes) -> None:
        connection.recv(1)

    with server(wait) as port:
        assert HttpProbe(0.2).http(HOST, port, "/", "shop.example") == 0


def test_an_app_that_drips_is_given_up_at_the_timeout_of_the_whole() -> None:
    def drip(connection: socket.socket, _: bytes) -> None:
        connection.settimeout(0.05)
        while True:
            connection.sendall(b"H")
            with suppress(TimeoutError):
                if not connection.recv(1):
                    return

    with server(drip) as port:
        assert HttpProbe(0.3).http(HOST, port, "/", "shop.example") == 0


def test_the_request_is_plain_and_nothing_in_it_can_become_a_header() -> None:
    heads: list[bytes] = []

    def keep(connection: socket.socket, head: bytes) -> None:
        heads.append(head)
        connection.sendall(OK)

    with server(keep) as port:
        assert HttpProbe(30).http(HOST, port, "/a b\r\nX: 1?q=%20", "shop.example\r\nY: 2") == 200
    (head,) = heads
    assert head.split(b"\r\n") == [
        b"GET /a%20b%0D%0AX:%201?q=%20 HTTP/1.1",
        b"Host: shop.exampleY:2",
        b"User-Agent: octo-probe",
        b"Accept: */*",
        b"Connection: close",
        b"",
        b"",
    ]
