"""One call of a receiver: body and answer for a thread that works while octod's loop goes on."""

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from octo.errors import OctoError

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

AHEAD = 1000  # pieces of output that may wait for their reader


class Body:
    """A request's body, read from a thread."""

    def __init__(self, receive: Receive, loop: asyncio.AbstractEventLoop) -> None:
        self._receive, self._loop = receive, loop
        self._buffer = b""
        self._more = True

    def line(self, limit: int) -> bytes:
        while b"\n" not in self._buffer and self._fill(limit):
            pass
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def read(self, limit: int) -> bytes:
        while self._fill(limit):
            pass
        return self._buffer

    def chunks(self) -> Iterator[bytes]:
        while self._buffer or self._more:
            if self._buffer:
                yield self._buffer
            self._buffer = b""
            self._next()

    def _fill(self, limit: int) -> bool:
        if len(self._buffer) > limit:
            raise OctoError("cannot read what the receiver sent: it is too long")
        return self._next()

    def _next(self) -> bool:
        if not self._more:
            return False
        message = asyncio.run_coroutine_threadsafe(self._next_message(), self._loop).result()
        if message["type"] == "http.disconnect":
            raise OctoError("cannot go on: the receiver hung up")
        self._buffer += message.get("body", b"")
        self._more = message.get("more_body", False)
        return True

    async def _next_message(self) -> Message:
        return await self._receive()


class Answer:
    """A response whose text comes from another thread, its verdict last."""

    def __init__(self, send: Send, loop: asyncio.AbstractEventLoop, gone: Callable[[], bool]) -> None:
        self._send, self._loop, self._gone = send, loop, gone
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._room = threading.Semaphore(AHEAD)

    async def start(self) -> None:
        await self._send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})

    def put(self, data: bytes) -> None:
        """From the working thread; waits when the reader is behind."""
        self._room.acquire()
        self._loop.call_soon_threadsafe(self._queue.put_nowait, data)

    async def relay(self, work: "asyncio.Future[str]") -> None:
        """Send what comes, until the work has ended. A reader that has gone is spared the rest; nobody waits for it."""
        work.add_done_callback(lambda _: self._queue.put_nowait(None))
        while (data := await self._queue.get()) is not None:
            self._room.release()
            if self._gone():
                await asyncio.sleep(0)  # a full queue must not hold the loop
                continue
            with contextlib.suppress(OSError):
                await self._send({"type": "http.response.body", "body": data, "more_body": True})
        verdict = work.result() if not work.cancelled() else "exit 1"
        await self._send({"type": "http.response.body", "body": b"\0" + verdict.encode()})
