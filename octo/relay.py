"""Join a container's raw stream to three file descriptors until the container has said all."""

import contextlib
import os
import select
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Self

from octo.ports import Streams

CHUNK = 64 * 1024  # bytes
Frames = Callable[[Iterable[bytes]], Iterable[tuple[int, bytes]]]
_GONE = select.POLLERR | select.POLLHUP | select.POLLNVAL


class Relay:
    """A `with` block around the life of one attached container; takes the socket over and leaves the streams open.

    frames: takes the raw stream apart into (1 or 2, bytes). gone: called once when nobody reads stdout any more,
    also while the container is silent; it should end the container. farewell: sent when stdin ends, instead of ending
    the container's: a terminal has no half to close.
    """

    def __init__(
        self, sock: socket.socket, streams: Streams, *, frames: Frames, gone: Callable[[], None], farewell: bytes = b""
    ) -> None:
        self._sock = sock
        self._streams = streams
        self._frames = frames
        self._gone = gone
        self._farewell = farewell
        self._wake, self._waker = os.pipe()
        self._feeder = threading.Thread(target=self._feed, name="relay")

    def __enter__(self) -> Self:
        self._feeder.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Return only when no thread uses the streams any more: the caller closes them, and numbers are used again."""
        os.close(self._waker)
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        if self._feeder.ident:
            self._feeder.join()
        self._sock.close()
        os.close(self._wake)

    def pump(self) -> None:
        """Hand the container's output on until it ends. Output that nobody reads is dropped."""
        targets = {1: self._streams.stdout, 2: self._streams.stderr}
        broken = set[int]()
        for kind, data in self._frames(self._received()):
            target = targets.get(kind)
            if target is None or target in broken:
                continue
            try:
                write(target, data)
            except OSError:
                broken.add(target)
                if kind == 1:
                    os.write(self._waker, b"!")  # the other thread acts; this one goes on reading, or nothing would end

    def _received(self) -> Iterator[bytes]:
        with contextlib.suppress(OSError):
            while data := self._sock.recv(CHUNK):
                yield data

    def _feed(self) -> None:
        """stdin to the container; its end is the container's; all the while keep watch over stdout."""
        stdin, stdout, sock = self._streams.stdin, self._streams.stdout, self._sock.fileno()
        pending, ended = b"", False
        while True:
            wanted = {self._wake: select.POLLIN, stdout: 0}
            if pending:
                wanted[sock] = select.POLLOUT
            elif not ended:
                wanted[stdin] = select.POLLIN  # stdin and stdout may be one socket
            events = _wait(wanted)
            if events.get(stdout, 0) & _GONE or events.get(self._wake, 0) & select.POLLIN:
                self._gone()
                return
            if self._wake in events:
                return
            if pending:
                pending = self._sent(pending)
            elif not ended and stdin in events:
                pending, ended = self._read()

    def _read(self) -> tuple[bytes, bool]:
        try:
            data = os.read(self._streams.stdin, CHUNK)
        except BlockingIOError:
            return b"", False
        except OSError:
            data = b""
        if data:
            return data, False
        if not self._farewell:
            with contextlib.suppress(OSError):
                self._sock.shutdown(socket.SHUT_WR)
        return self._farewell, True

    def _sent(self, data: bytes) -> bytes:
        """What is left to send."""
        try:
            return data[self._sock.send(data, socket.MSG_DONTWAIT) :]
        except BlockingIOError:
            return data
        except OSError:  # the container takes no more; what comes is read and dropped, as from a closed pipe
            return b""


def _wait(wanted: Mapping[int, int]) -> dict[int, int]:
    poll = select.poll()
    for number, events in wanted.items():
        poll.register(number, events)
    return dict(poll.poll())


def write(target: int, data: bytes) -> None:
    """Write all, also to a descriptor that somebody made non-blocking."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(target, view) :]
        except BlockingIOError:
            poll = select.poll()
            poll.register(target, select.POLLOUT)
            poll.poll()
