"""The built-in SSH door, started with limits of the test's own."""

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from octo.daemon.ssh_door import Door
from octo.daemon.ssh_limits import Limits
from octo.daemon.ssh_session import Octod
from tests.unit.octo.daemon.ssh_door_parts import HOST, Running, Start, Stub


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
