"""What the built-in SSH door gives strangers and hostile clients; what both doors promise: contract/test_doors.py."""

import contextlib
import io
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import paramiko
import pytest

from gitreceive import wire
from octo.daemon.ssh_door import Door, host_key
from octo.daemon.ssh_limits import PACKET, WINDOW, Gate, Limits, source
from octo.daemon.ssh_session import Octod

CHECKOUT = Path(__file__).resolve().parents[4]
GOOD = paramiko.RSAKey.generate(2048)
STRANGER = paramiko.ECDSAKey.generate()
HOST = paramiko.ECDSAKey.generate()
SOON = 20  # seconds; the most a test waits for what comes at once


@dataclass
class Stub:
    """octod's end: knows one key, and two commands."""

    sock: socket.socket
    messages: list[tuple[str, dict[str, str], list[str]]] = field(default_factory=list)
    hung_up: threading.Event = field(default_factory=threading.Event)
    away: bool = False

    def serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                _, descriptors, _, _ = socket.recv_fds(self.sock, 1, 1)
                if not descriptors:
                    return
                threading.Thread(target=self.answer, args=(socket.socket(fileno=descriptors[0]),), daemon=True).start()

    def answer(self, sock: socket.socket) -> None:
        with sock, contextlib.suppress(OSError, wire.Malformed):
            body, descriptors = wire.receive(sock)
            kind, fields, arguments = wire.unpack(body)
            self.messages.append((kind, fields, arguments))
            if self.away:
                wire.close(descriptors)
            elif kind == "key":
                sock.sendall(b"yes ann\n" if fields["fingerprint"] == GOOD.fingerprint else b"no\n")
            elif arguments == ["wait"]:
                os.write(descriptors[1], b"x")
                if sock.recv(1) == b"":
                    self.hung_up.set()
                wire.close(descriptors)
            else:
                wire.close(descriptors)
                sock.sendall(b"exit 4\n")


@dataclass
class Running:
    address: tuple[str, int]
    stub: Stub

    def connect(self, *, ip: str = "127.0.0.1") -> socket.socket:
        return socket.create_connection(self.address, timeout=SOON, source_address=(ip, 0))

    @contextlib.contextmanager
    def client(self, *, ip: str = "127.0.0.1") -> Iterator[paramiko.Transport]:
        transport = paramiko.Transport(self.connect(ip=ip))
        try:
            transport.start_client(timeout=SOON)
            yield transport
        finally:
            transport.close()

    @contextlib.contextmanager
    def friend(self, *, ip: str = "127.0.0.1") -> Iterator[paramiko.Transport]:
        with self.client(ip=ip) as transport:
            transport.auth_publickey("git", GOOD)
            yield transport


Start = Callable[[Limits], Running]


@pytest.fixture
def start() -> Iterator[Start]:
    with contextlib.ExitStack() as stack:

        def begin(limits: Limits) -> Running:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            listener = socket.create_server(("127.0.0.1", 0), backlog=64)
            stub = Stub(ours)
            door = Door(listener, Octod(theirs), HOST, limits)
            threading.Thread(target=stub.serve, daemon=True).start()

            def accept() -> None:
                with contextlib.suppress(OSError):
                    while True:
                        door.accept()

            threading.Thread(target=accept, daemon=True).start()
            for sock in (ours, theirs, listener):
                stack.callback(sock.close)
                stack.callback(sock.shutdown, socket.SHUT_RDWR)
            return Running(listener.getsockname(), stub)

        yield begin


@pytest.fixture
def door(start: Start) -> Running:
    return start(Limits())


def closed(sock: socket.socket) -> bool:
    """True when the door has closed the connection; waits for it. What it says before is read over."""
    with sock, contextlib.suppress(ConnectionResetError):
        while sock.recv(65536):
            pass
    return True


def greeted(sock: socket.socket) -> bool:
    return sock.recv(4) == b"SSH-"


# --- what a login is ---------------------------------------------------------------------------------


@pytest.mark.row("A2")
@pytest.mark.row("A7")
def test_a_known_key_runs_a_command_under_any_user_name(door: Running) -> None:
    for name in ("git", "root", "anybody"):
        with door.client() as transport:
            transport.auth_publickey(name, GOOD)
            channel = transport.open_session()
            channel.exec_command("apps")
            assert channel.recv_exit_status() == 4
    kind, fields, _ = door.stub.messages[-1]
    assert (kind, fields["user"], fields["from"]) == ("octo", "ann", "127.0.0.1")
    assert fields["fingerprint"] == GOOD.fingerprint


@pytest.mark.row("A2")
def test_only_keys_are_offered_and_only_known_ones_taken(door: Running) -> None:
    with door.client() as transport:
        with pytest.raises(paramiko.BadAuthenticationType) as refused:
            transport.auth_none("git")
        assert refused.value.allowed_types == ["publickey"]
        with pytest.raises(paramiko.BadAuthenticationType):
            transport.auth_password("git", "secret", fallback=False)
        with pytest.raises(paramiko.AuthenticationException):
            transport.auth_publickey("git", STRANGER)
        with pytest.raises(paramiko.SSHException):
            transport.open_session(timeout=SOON)
        transport.auth_publickey("git", GOOD)


def test_without_octod_no_key_is_known(door: Running) -> None:
    door.stub.away = True
    with door.client() as transport, pytest.raises(paramiko.AuthenticationException):
        transport.auth_publickey("git", GOOD)


def test_a_key_of_a_kind_unknown_here_is_one_failed_try(door: Running) -> None:
    class Strange(paramiko.ECDSAKey):  # type: ignore[misc]
        def get_name(self) -> str:
            return "sk-ssh-ed25519@openssh.com"

        algorithm_name = property(get_name)

    strange = Strange(vals=(STRANGER.signing_key, STRANGER.verifying_key))
    with door.client() as transport:
        with pytest.raises(paramiko.AuthenticationException):
            transport.auth_publickey("git", strange)
        transport.auth_publickey("git", GOOD)


def test_the_seventh_key_is_not_looked_at(door: Running) -> None:
    with door.client() as transport:
        for _ in range(5):
            with pytest.raises(paramiko.AuthenticationException):
                transport.auth_publickey("git", STRANGER)
        for key in (STRANGER, GOOD):  # the door ends the connection as it answers the sixth
            with pytest.raises((paramiko.SSHException, EOFError)):
                transport.auth_publickey("git", key)
    assert len(door.stub.messages) == 6


# --- what a login opens -----------------------------------------------------------------------------


@pytest.mark.row("A2")
@pytest.mark.parametrize(
    "ask",
    [
        lambda channel: channel.get_pty(),
        lambda channel: channel.invoke_subsystem("sftp"),
        lambda channel: channel.request_x11(handler=lambda *_: None),
        lambda channel: channel.invoke_subsystem("apps"),
    ],
)
def test_a_session_runs_commands_and_nothing_else(door: Running, ask: Callable[[paramiko.Channel], None]) -> None:
    with door.friend() as transport:
        channel = transport.open_session()
        with pytest.raises(paramiko.SSHException):
            ask(channel)


@pytest.mark.row("A2")
def test_no_other_channel_opens_and_no_port_is_forwarded(door: Running) -> None:
    with door.friend() as transport:
        for kind in (
            "direct-tcpip",
            "direct-streamlocal@openssh.com",
            "forwarded-tcpip",
            "x11",
            "auth-agent@openssh.com",
        ):
            with pytest.raises(paramiko.ChannelException) as refused:
                transport.open_channel(kind, ("127.0.0.1", 1), ("127.0.0.1", 1), timeout=SOON)
            assert refused.value.code == 1  # administratively prohibited
        with pytest.raises(paramiko.SSHException):
            transport.request_port_forward("127.0.0.1", 0)


def test_a_channel_runs_one_command(door: Running) -> None:
    with door.friend() as transport:
        channel = transport.open_session()
        channel.exec_command("wait")
        with pytest.raises(paramiko.SSHException):
            channel.exec_command("apps")


def test_the_eleventh_session_of_a_connection_is_refused(door: Running) -> None:
    with door.friend() as transport:
        channels = [transport.open_session(timeout=SOON) for _ in range(10)]
        with pytest.raises(paramiko.ChannelException):
            transport.open_session(timeout=SOON)
        channels[0].exec_command("apps")
        assert channels[0].recv_exit_status() == 4
        channels[0].close()
        transport.open_session(timeout=SOON).exec_command("apps")


@pytest.mark.row("T4")
def test_closing_the_channel_alone_hangs_up(door: Running) -> None:
    with door.friend() as transport:
        channel = transport.open_session()
        channel.exec_command("wait")
        assert channel.recv(1) == b"x"
        channel.close()
        assert door.stub.hung_up.wait(SOON)


def test_a_login_that_runs_nothing_is_closed_in_the_end(start: Start) -> None:
    door = start(Limits(idle=0))
    with door.friend() as transport:
        transport.join(SOON)
        assert not transport.is_alive()


# --- what a stranger or a hostile client uses up ----------------------------------------------------


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


# --- the counts themselves --------------------------------------------------------------------------


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


# --- the process ------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [GOOD, STRANGER], ids=["rsa", "ecdsa"])
def test_a_host_key_is_read_from_its_text(key: paramiko.PKey) -> None:
    text = io.StringIO()
    key.write_private_key(text)
    assert host_key(text.getvalue()) == key


def test_an_ed25519_host_key_of_ssh_keygen_is_read(tmp_path: Path) -> None:
    argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "k")]
    subprocess.run(argv, check=True)
    assert host_key((tmp_path / "k").read_text()).get_name() == "ssh-ed25519"


def test_what_is_no_host_key_is_refused() -> None:
    with pytest.raises(paramiko.SSHException, match="cannot read the host key"):
        host_key("nonsense")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can try to run it as root")
def test_it_does_not_run_as_root() -> None:
    argv = [sys.executable, "-m", "octo.daemon.ssh_door", "--listen-fd", "0", "--octod-fd", "0", "--host-key-fd", "0"]
    done = subprocess.run(argv, cwd=CHECKOUT, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert "must not run as root" in done.stderr


def test_only_algorithms_without_known_weakness_are_offered(door: Running) -> None:
    with door.connect() as sock, sock.makefile("rb") as stream:
        sock.sendall(b"SSH-2.0-x\r\n")
        assert stream.readline().startswith(b"SSH-2.0-")
        offered = stream.read(int.from_bytes(stream.read(4), "big"))
    assert b"curve25519-sha256" in offered
    for weak in (b"sha1", b"md5", b"cbc", b"ssh-rsa", b"ssh-dss", b"group1-", b"arcfour", b"zlib"):
        assert weak not in offered
