"""Shared by the tests of the built-in SSH door: the door in a thread, a stand-in for octod, keys, a client."""

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import paramiko

from gitreceive import wire
from octo.daemon.ssh_limits import Limits

GOOD = paramiko.RSAKey.generate(2048)
STRANGER = paramiko.ECDSAKey.generate()
HOST = paramiko.ECDSAKey.generate()
SOON = 20  # seconds; the most a test waits for what comes at once


@dataclass
class Stub:
    """octod's end: knows one key, and three commands."""

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
            elif arguments == ["talk"]:
                sock.sendall(b"exit %d\n" % error_of(lambda: os.write(descriptors[0], b"x")))
                wire.close(descriptors)
            else:
                wire.close(descriptors)
                sock.sendall(b"exit 4\n")


def error_of(act: Callable[[], object]) -> int:
    """The number of the OSError that it raises, or 0."""
    try:
        act()
    except OSError as error:
        return error.errno or 0
    return 0


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
