"""octo's own SSH server, for where OpenSSH is not the door: a process of its own, without rights.

    python -m octo.daemon.ssh_door --listen-fd N --octod-fd M --host-key-fd K

octod starts it under an unprivileged uid. N: a listening TCP socket. M: a Unix SOCK_SEQPACKET socket; per call the
door sends b"c" and one end of a fresh stream socket pair over it, and speaks gitreceive.wire on the other end as if
it had connected to door.sock. K: the private host key, read to its end. The door opens no file and no port, and dies
with octod: by EOF on M, and by PR_SET_PDEATHSIG (which fires when the *thread* that started us ends: prctl(2)).
"""

import argparse
import ctypes
import io
import logging
import os
import resource
import select
import signal
import socket
import sys
import threading
import time
from typing import Any

import paramiko
from paramiko.common import AUTH_FAILED, AUTH_SUCCESSFUL, OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED, OPEN_SUCCEEDED

from gitreceive import command
from octo.daemon.ssh_limits import BoundedSocket, BoundedTransport, Gate, Limits, source
from octo.daemon.ssh_session import Caller, Octod, serve

log = logging.getLogger(__name__)

PR_SET_PDEATHSIG = 1  # linux/prctl.h
PR_SET_NO_NEW_PRIVS = 38
KEEPALIVE = 30  # seconds
DEAD_AFTER = 300_000  # ms of a client that acknowledges nothing, or reads nothing


class Connection(paramiko.ServerInterface):  # type: ignore[misc]
    """What one client may: log in by key, run commands. All that paramiko refuses by default stays refused."""

    def __init__(self, transport: BoundedTransport, octod: Octod, limits: Limits, address: str) -> None:
        self._transport = transport
        self._octod = octod
        self._limits = limits
        self._address = address
        self.failed = 0
        self._caller: Caller | None = None
        self._protocols: dict[int, str] = {}  # channel number -> GIT_PROTOCOL
        self._asked: dict[int, str] = {}  # channel number -> command
        self._begun: set[int] = set()
        self._running: set[threading.Thread] = set()

    @property
    def busy(self) -> bool:
        self._running = {thread for thread in self._running if thread.is_alive()}
        return bool(self._running)

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, username: str, key: Any) -> int:
        """paramiko calls this for a question and again for the signature: the last key asked is the one that counts."""
        self._caller = None
        try:
            fingerprint = key.fingerprint
            user = self._octod.user_of(fingerprint)
        except Exception as error:  # octod away, or a key that is none
            log.debug("no user for a key: %s", error)
            user = None
        if user is None:
            return self._refuse_key()
        self._caller = Caller(user, fingerprint, self._address)
        return int(AUTH_SUCCESSFUL)

    def _refuse_key(self) -> int:
        self.failed += 1
        if self.failed >= self._limits.tries:
            self._transport.auth_handler.auth_fail_count = 10  # where paramiko says so and disconnects
        return int(AUTH_FAILED)

    def check_channel_request(self, kind: str, chanid: int) -> int:
        if kind != "session" or not self._transport.room_for_a_session():
            return int(OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED)
        return int(OPEN_SUCCEEDED)

    def check_channel_env_request(self, channel: Any, name: bytes, value: bytes) -> bool:
        protocol = command.git_protocol(value.decode("ascii", "replace")) if name == b"GIT_PROTOCOL" else ""
        if protocol:
            self._protocols[channel.chanid] = protocol
        return bool(protocol)

    def check_channel_exec_request(self, channel: Any, text: bytes) -> bool:
        if channel.chanid in self._asked or channel.chanid in self._begun:
            return False
        self._asked[channel.chanid] = text.decode("utf-8", "surrogateescape")
        return True

    def check_channel_shell_request(self, channel: Any) -> bool:
        return self.check_channel_exec_request(channel, b"")  # which is told that there is no shell

    def begin(self, channel: Any) -> None:
        """Start the command that the client was just told may run, if any."""
        text = self._asked.pop(channel.chanid, None)
        if text is None or self._caller is None:
            return
        self._begun.add(channel.chanid)
        protocol = self._protocols.pop(channel.chanid, "")
        session = threading.Thread(target=serve, args=(channel, self._octod, text, self._caller, protocol), daemon=True)
        session.start()
        self._running.add(session)


class Door:
    """The listening side: takes connections, as many as the limits allow, a thread for each."""

    def __init__(self, listener: socket.socket, octod: Octod, key: paramiko.PKey, limits: Limits) -> None:
        self._listener = listener
        self._octod = octod
        self._key = key
        self._limits = limits
        self._gate = Gate(limits)

    def accept(self) -> None:
        """Take one waiting connection, or close it at once. Raises OSError when out of descriptors."""
        try:
            plain, peer = self._listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        sock = BoundedSocket(fileno=plain.detach())
        address = str(peer[0])
        if not self._gate.admit(source(address), time.monotonic()):
            log.info("refused a connection from %s: too many", address)
            sock.close()
            return
        try:
            threading.Thread(target=self._attend, args=(sock, address), daemon=True).start()
        except RuntimeError:  # no more threads
            self._gate.left(source(address), time.monotonic(), logged_in=False, failed=False)
            sock.close()

    def _attend(self, sock: BoundedSocket, address: str) -> None:
        logged_in = failed = False
        try:
            transport, connection = self._greet(sock, address)
            on_time = transport.settled.wait(self._limits.grace)
            logged_in = transport.is_active() and transport.is_authenticated()
            failed = not logged_in and (connection.failed > 0 or not on_time)
            if logged_in:
                self._gate.logged_in(source(address))
                self._keep(transport, connection)
            transport.close()
        except Exception:
            log.exception("the connection from %s broke", address)
        finally:
            sock.close()
            self._gate.left(source(address), time.monotonic(), logged_in=logged_in, failed=failed)

    def _greet(self, sock: BoundedSocket, address: str) -> tuple[BoundedTransport, Connection]:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, DEAD_AFTER)
        transport = BoundedTransport(sock, self._limits)
        transport.add_server_key(self._key)
        connection = Connection(transport, self._octod, self._limits, address)
        transport.start_server(event=threading.Event(), server=connection)
        return transport, connection

    def _keep(self, transport: BoundedTransport, connection: Connection) -> None:
        """Stay until the client leaves, or has run nothing for a while."""
        transport.set_keepalive(KEEPALIVE)
        held: list[Any] = []  # paramiko itself holds its channels weakly
        last = time.monotonic()
        while transport.is_active():
            held = [channel for channel in (*held, transport.accept(1)) if channel and not channel.closed]
            if connection.busy:
                last = time.monotonic()
            if time.monotonic() - last > self._limits.idle:
                return


def give_up_rights(uid: int) -> None:
    """Become `uid` for good. Only now: all is imported, perhaps from a checkout that `uid` may not read."""
    if os.geteuid() == 0 and uid:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        ctypes.CDLL(None).prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if 0 in os.getresuid():
        sys.exit("cannot open the SSH door: it must not run as root\nLet octod start it.")


def main(argv: list[str]) -> None:
    options = _arguments(argv)
    give_up_rights(options.uid)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    logging.basicConfig(level=logging.INFO, format="ssh door: %(message)s")
    logging.getLogger("paramiko").setLevel(logging.CRITICAL)  # it logs a traceback for each hostile packet
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    octod = socket.socket(fileno=options.octod_fd)
    listener = socket.socket(fileno=options.listen_fd)
    listener.setblocking(False)
    door = Door(listener, Octod(octod), host_key(os.fdopen(options.host_key_fd).read()), Limits())
    _listen(door, listener, octod)


def host_key(pem: str) -> paramiko.PKey:
    """Read a private key. Raises SSHException when it is none of Ed25519, ECDSA, RSA."""
    for kind in (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey):
        try:
            return kind.from_private_key(io.StringIO(pem))
        except (paramiko.SSHException, ValueError):
            continue
    raise paramiko.SSHException("cannot read the host key: it is no Ed25519, ECDSA or RSA key")


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="ssh_door")
    for name in ("--listen-fd", "--octod-fd", "--host-key-fd"):
        parser.add_argument(name, type=int, required=True)
    parser.add_argument("--uid", type=int, default=0)
    return parser.parse_args(argv)


def _listen(door: Door, listener: socket.socket, octod: socket.socket) -> None:
    """Take connections until octod is gone."""
    waiting = select.poll()
    waiting.register(octod, select.POLLIN)
    waiting.register(listener, select.POLLIN)
    gone = select.poll()
    gone.register(octod, select.POLLIN)
    while all(number != octod.fileno() for number, _ in waiting.poll()):
        try:
            door.accept()
        except OSError as error:
            log.error("cannot take a connection: %s", error.strerror)
            gone.poll(100)  # else this would spin: the connection is still waiting
    os._exit(0)  # the threads have nobody to talk to


if __name__ == "__main__":
    main(sys.argv[1:])
