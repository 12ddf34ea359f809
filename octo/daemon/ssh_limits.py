"""How much of the SSH door one client may use: before the login next to nothing, after it bounded amounts.

paramiko trusts the lengths it is told and the client's good will; the classes here do not.
"""

import socket
import threading
from collections import defaultdict, deque
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Any, ClassVar

import paramiko
from paramiko.auth_handler import AuthHandler
from paramiko.channel import Channel
from paramiko.common import MSG_CHANNEL_DATA, MSG_CHANNEL_EXTENDED_DATA, MSG_CHANNEL_REQUEST
from paramiko.packet import Packetizer

WINDOW = 4 * 1024 * 1024  # bytes a client may send before we have passed them on
PACKET = 1024 * 1024  # bytes of one SSH packet; OpenSSH sends 256 KB at most
READ = 256 * 1024  # bytes asked of the kernel at once

KEX = ("mlkem768x25519-sha256", "curve25519-sha256@libssh.org", "ecdh-sha2-nistp256")
CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr", "aes192-ctr", "aes256-ctr")
MACS = ("hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com", "hmac-sha2-256", "hmac-sha2-512")


@dataclass(frozen=True)
class Limits:
    grace: float = 20  # seconds from the connection to the login
    stranger_bytes: int = 256 * 1024  # received before the login
    tries: int = 6  # keys offered in one connection
    strangers: int = 30  # connections that have not logged in
    strangers_per_source: int = 8
    failures: int = 20  # failed logins of one source, in `span`; then nothing of it for as long
    span: float = 60  # seconds
    connections: int = 200
    sessions: int = 10  # at once on one connection
    sessions_ever: int = 1000  # on one connection
    idle: float = 60  # seconds a connection may stay without a session


class Gate:
    """Who may come in: counts per source address. `now` is any clock of seconds that only grows."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._lock = threading.Lock()
        self._inside = 0
        self._strangers: defaultdict[str, int] = defaultdict(int)
        self._failures: dict[str, deque[float]] = {}
        self._shut: dict[str, float] = {}

    def admit(self, source: str, now: float) -> bool:
        with self._lock:
            limits = self._limits
            full = self._inside >= limits.connections or sum(self._strangers.values()) >= limits.strangers
            crowded = self._strangers.get(source, 0) >= limits.strangers_per_source
            if full or crowded or self._shut.get(source, now) > now:
                return False
            self._inside += 1
            self._strangers[source] += 1
            return True

    def logged_in(self, source: str) -> None:
        with self._lock:
            self._known(source)

    def left(self, source: str, now: float, *, logged_in: bool, failed: bool) -> None:
        """failed: it offered keys in vain, or used up the grace; ssh-keyscan does neither."""
        with self._lock:
            self._inside -= 1
            if not logged_in:
                self._known(source)
            if failed:
                self._failed(source, now)

    def _known(self, source: str) -> None:
        self._strangers[source] -= 1
        if not self._strangers[source]:
            del self._strangers[source]

    def _failed(self, source: str, now: float) -> None:
        limits = self._limits
        times = self._failures.setdefault(source, deque(maxlen=limits.failures))
        times.append(now)
        if len(times) == limits.failures and now - times[0] < limits.span:
            self._shut[source] = now + limits.span
            times.clear()
        if len(self._failures) > 1000:  # forget who is quiet, so that memory stays bounded
            self._failures = {s: t for s, t in self._failures.items() if t and now - t[-1] < limits.span}
            self._shut = {s: until for s, until in self._shut.items() if until > now}


def source(address: str) -> str:
    """Whom an address is counted as: itself, or for IPv6 its /64, which one customer has whole."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return address
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(IPv6Address(int(parsed) >> 64 << 64)) + "/64"


class BoundedSocket(socket.socket):
    """Reads ahead (paramiko reads a packet in three calls) and lets a stranger send only so much."""

    allowance: int | None = None  # bytes; None: no limit any more
    _ahead: memoryview = memoryview(b"")

    def recv(self, size: int, flags: int = 0) -> bytes:
        if not self._ahead:
            data = super().recv(READ)
            if self.allowance is not None:
                self.allowance -= len(data)
                if self.allowance < 0:
                    return b""
            self._ahead = memoryview(data)
        part, self._ahead = self._ahead[:size], self._ahead[size:]
        return bytes(part)


class BoundedPacketizer(Packetizer):  # type: ignore[misc]
    """Refuses packets no client sends; and starts no timer thread per connection: the login grace covers it."""

    # When paramiko asks for new keys while the client sends, both may wait for each other; so ask as rarely as
    # OpenSSH does with AES (sshd_config, RekeyLimit; packet.c, MAX_PACKETS).
    REKEY_BYTES = 1 << 36
    REKEY_PACKETS = 1 << 31

    def start_handshake(self, timeout: float) -> None:
        pass

    def read_all(self, n: int, check_rekey: bool = False) -> bytes:
        if n > PACKET:
            raise paramiko.SSHException("packet too long")
        return bytes(super().read_all(n, check_rekey))


class _PatientAuth(AuthHandler):  # type: ignore[misc]
    """A key of a kind we do not know (FIDO, certificate) is one failed try; paramiko would end the connection."""

    def _generate_key_from_request(self, algorithm: str, blob: bytes) -> Any:
        try:
            return super()._generate_key_from_request(algorithm, blob) or paramiko.PKey()
        except Exception:  # whatever a parser makes of a stranger's bytes
            return paramiko.PKey()


def _take_data(channel: Any, message: Any) -> None:
    if len(channel.in_buffer) > WINDOW:
        raise paramiko.SSHException("the client sends more than it may")
    Channel._feed(channel, message)


def _take_request(channel: Any, message: Any) -> None:
    """Start the session only after the client was told that it may: a reply after the end is an error to it."""
    Channel._handle_request(channel, message)
    channel.transport.server_object.begin(channel)


class BoundedTransport(paramiko.Transport):  # type: ignore[misc]
    """One client's connection. `settled` is set when it has logged in, or has ended."""

    def __init__(self, sock: BoundedSocket, limits: Limits) -> None:
        self.auth_handler: Any = None
        super().__init__(sock, default_window_size=WINDOW, packetizer_class=BoundedPacketizer)
        sock.allowance = limits.stranger_bytes
        self.limits = limits
        self.settled = threading.Event()
        options = self.get_security_options()
        options.kex = tuple(name for name in KEX if name in options.kex)
        options.ciphers = tuple(name for name in CIPHERS if name in options.ciphers)
        options.digests = tuple(name for name in MACS if name in options.digests)

    def room_for_a_session(self) -> bool:
        opened = sum(not channel.closed for channel in self._channels.values())
        return opened < self.limits.sessions and len(self.channels_seen) < self.limits.sessions_ever

    def run(self) -> None:
        try:
            super().run()
        finally:
            self.settled.set()

    def _parse_newkeys(self, message: Any) -> None:
        if self.auth_handler is None:
            self.auth_handler = _PatientAuth(self)
        super()._parse_newkeys(message)

    def _auth_trigger(self) -> None:
        super()._auth_trigger()
        self.sock.allowance = None
        self.settled.set()

    _channel_handler_table: ClassVar[dict[int, Any]] = {
        **paramiko.Transport._channel_handler_table,
        MSG_CHANNEL_DATA: _take_data,
        MSG_CHANNEL_EXTENDED_DATA: lambda channel, message: None,  # nobody reads a client's stderr
        MSG_CHANNEL_REQUEST: _take_request,
    }
