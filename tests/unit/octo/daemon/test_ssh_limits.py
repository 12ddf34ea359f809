"""What a stranger or a hostile client may use up at the built-in SSH door."""

import contextlib
import socket

import paramiko
import pytest

from octo.daemon.ssh_limits import PACKET, WINDOW, Gate, Limits, source
from tests.unit.octo.daemon.ssh_door_parts import SOON, STRANGER, Running, Start


def closed(sock: socket.socket) -> bool:
    """True when the door has closed the connection; waits for it. What it says before is read over."""
    with sock, contextlib.suppress(ConnectionResetError):
        while sock.recv(65536):
            pass
    return True


def greeted(sock: socket.socket) -> bool:
    return sock.recv(4) == b"SSH-"


def test_too_many_strangers_of_one_source_are_closed_at_once_and_a_friend_comes_in(start: Start) -> None:
    door = start(Limits(strangers_per_source=3))
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            assert greeted(stack.enter_context(door.connect(ip="127.0.0.2")))
        assert closed(door.connect(ip="127.0.0.2"))
        with door.friend(ip="127.0.0.3") as transport:
            assert transport.is_authenticated()


def test_a_place_is_free_again_when_a_stranger_leaves(start: Start) -> None:
    door = start(Limits(strangers=1))
    stranger = door.connect(ip="127.0.0.2")
    assert greeted(stranger)
    assert closed(door.connect(ip="127.0.0.3"))
    stranger.shutdown(socket.SHUT_WR)
    assert closed(stranger)
    comes(True, door, "127.0.0.3")


def test_who_has_logged_in_takes_no_strangers_place(start: Start) -> None:
    door = start(Limits(strangers=1))
    with door.friend():
        comes(True, door, "127.0.0.2")


def comes(wanted: bool, door: Running, ip: str) -> None:
    """Connect until the door greets, or does not: it closes a socket a moment before it counts that."""
    for _ in range(1000):
        with door.connect(ip=ip) as sock, contextlib.suppress(ConnectionResetError):
            if greeted(sock) == wanted:
                return
    raise AssertionError(f"greeted={wanted} never came")


@pytest.mark.row("A15")
def test_after_many_failed_logins_a_source_is_shut_out(start: Start) -> None:
    door = start(Limits(failures=2))
    for _ in range(2):
        with door.client(ip="127.0.0.2") as transport, pytest.raises(paramiko.AuthenticationException):
            transport.auth_publickey("git", STRANGER)
        transport.join(SOON)
    comes(False, door, "127.0.0.2")
    with door.friend(ip="127.0.0.3") as transport:
        assert transport.is_authenticated()


def test_the_login_has_its_time(start: Start) -> None:
    door = start(Limits(grace=0.05))
    assert closed(door.connect())


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n" * 200,
        b"x" * 1024 * 1024,
        b"SSH-2.0-x\r\n" + b"\xff" * 64,
        b"SSH-2.0-x\r\n" + (PACKET + 12).to_bytes(4, "big") + b"\x04" + bytes(64),
        b"SSH-2.0-x\r\n\0\0\0\x0c\x0a\x14" + bytes(10),
        b"SSH-1.5-x\r\n",
    ],
)
def test_what_is_no_ssh_is_closed_and_harms_nobody(start: Start, data: bytes) -> None:
    door = start(Limits(grace=3600))
    with door.friend(ip="127.0.0.3") as transport:
        hostile = door.connect()
        with contextlib.suppress(OSError):
            hostile.sendall(data)
        assert closed(hostile)
        channel = transport.open_session()
        channel.exec_command("apps")
        assert channel.recv_exit_status() == 4


def test_a_stranger_may_send_only_so_much(start: Start) -> None:
    with start(Limits(grace=3600)).connect() as sock, pytest.raises((ConnectionResetError, BrokenPipeError)):
        sock.sendall(bytes(64 * 1024 * 1024))


def test_a_client_that_sends_more_than_it_may_is_cut_off(door: Running) -> None:
    with door.friend() as greedy, door.friend() as modest:
        channel = greedy.open_session()
        channel.exec_command("wait")
        channel.out_window_size = 1 << 40
        with contextlib.suppress(OSError, EOFError):
            for _ in range(3 * WINDOW // 32_000):
                channel.send(bytes(32_000))
        greedy.join(SOON)
        assert not greedy.is_alive()
        assert door.stub.hung_up.wait(SOON)
        other = modest.open_session()
        other.exec_command("apps")
        assert other.recv_exit_status() == 4


def test_the_gate_shuts_for_a_span_after_as_many_failures_within_one() -> None:
    gate = Gate(Limits(failures=3, span=60))

    def fail(now: float) -> None:
        assert gate.admit("a", now)
        gate.left("a", now, logged_in=False, failed=True)

    for now in (0, 50, 61):  # three, but not within a minute
        fail(now)
    fail(70)
    assert not gate.admit("a", 71)
    assert gate.admit("b", 71)
    assert not gate.admit("a", 129)
    assert gate.admit("a", 131)


def test_the_gate_counts_connections_in_all() -> None:
    gate = Gate(Limits(connections=2))
    for name in "ab":
        assert gate.admit(name, 0)
        gate.logged_in(name)
    assert not gate.admit("c", 0)
    gate.left("a", 0, logged_in=True, failed=False)
    assert gate.admit("c", 0)


def test_the_gate_forgets_who_is_quiet() -> None:
    gate = Gate(Limits())
    for number in range(3000):
        assert gate.admit(f"s{number}", number)
        gate.left(f"s{number}", number, logged_in=False, failed=True)
    assert len(gate._failures) <= 1001
    assert not gate._strangers


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("?", "?"),
    ],
)
def test_a_source_is_an_address_or_the_network_of_one_customer(address: str, counted: str) -> None:
    assert source(address) == counted
