"""The signed one-object addresses: GET and PUT of one blob each, as an ASGI application behind a sandbox's own socket.

200 done · 400 cut off · 403 not signed for this, expired or used · 404 no such blob · 408 too slow · 411 no length and
not chunked · 413 more than was allowed · 507 the disk is full. An upload is stored whole or not at all, and whoever was
cut off, was too slow or met a full disk may use the same address again until it expires.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from urllib.parse import urlsplit

from octo.daemon.exchange import Message, Receive, Send
from octo.errors import Forbidden, Full, NotFound
from octo.ports import Blobs, Grant

log = logging.getLogger(__name__)

THREADS = 32  # of its own: builds that wait for a place hold octod's others, and must not keep a slug from them
SLOWEST = 60.0  # seconds that each PIECE of an upload may take
PIECE = 1024 * 1024  # bytes that are handed to a thread at once

AGAIN = (400, 408, 507)  # after which the same address may be used again
App = Callable[[Message, Receive, Send], Awaitable[None]]


class BlobDoor:
    def __init__(self, blobs: Blobs, *, slowest: float = SLOWEST) -> None:
        self._blobs, self._slowest = blobs, slowest
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="blobs")
        self._uploads: dict[str, asyncio.Event] = {}  # by their address, those under way

    def only(self, urls: Iterable[str]) -> App:
        """The door for one sandbox: of all that is signed, what it was given itself."""
        own = {f"{url.path}?{url.query}" for url in map(urlsplit, urls)}

        async def serve(scope: Message, receive: Receive, send: Send) -> None:
            if _target(scope) in own:
                await self(scope, receive, send)
            else:
                await _answer(send, 403, "cannot allow that: the address was not given to this sandbox")

        return serve

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        target = _target(scope)
        while under_way := self._uploads.get(target):  # whoever was cut off may be back before that has been noticed
            await under_way.wait()
        try:
            grant = self._blobs.check(scope["method"], target)
        except Forbidden as error:
            await _answer(send, 403, error.message)
            return
        if grant.method == "GET":
            await self._give(grant, send)
            return
        self._uploads[target] = ended = asyncio.Event()
        try:
            status, words = await self._take(grant, scope, receive)
            if status in AGAIN:
                self._blobs.renew(target)
        finally:
            del self._uploads[target]
            ended.set()
        await _answer(send, status, words)

    async def _give(self, grant: Grant, send: Send) -> None:
        loop = asyncio.get_running_loop()
        try:
            chunks = iter(await loop.run_in_executor(self._pool, self._blobs.get, grant.name))
        except NotFound as error:
            await _answer(send, 404, error.message)
            return
        # No length: the blob may be replaced by a longer one before the first byte. The last chunk says the end.
        await send({"type": "http.response.start", "status": 200, "headers": [_BYTES]})
        while chunk := await loop.run_in_executor(self._pool, next, chunks, b""):
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def _take(self, grant: Grant, scope: Message, receive: Receive) -> tuple[int, str]:
        headers = dict(scope["headers"])
        length = headers.get(b"content-length")
        if length is None and b"transfer-encoding" not in headers:
            return 411, "cannot take that: it has no length"
        if length is not None and int(length) > grant.most:
            return 413, _too_big(grant)
        loop = asyncio.get_running_loop()
        upload = _Upload(receive, loop, grant.most, self._slowest)
        try:
            size = await loop.run_in_executor(self._pool, self._blobs.put, grant.name, upload.chunks())
        except _TooBigError:
            return 413, _too_big(grant)
        except _CutOffError:
            return 400, "cannot take that: it was cut off"
        except TimeoutError:
            return 408, f"cannot take that: it comes too slowly, less than 1 MB in {self._slowest:g} s"
        except (Full, OSError) as error:
            why = error.message if isinstance(error, Full) else f'cannot store "{grant.name}": {error.strerror}'
            log.error("%s", why)
            return 507, why
        return 200, str(size)


class _TooBigError(Exception):
    pass


class _CutOffError(Exception):
    pass


class _Upload:
    """A request's body for a thread that stores it, while the loop reads on."""

    def __init__(self, receive: Receive, loop: asyncio.AbstractEventLoop, most: int, slowest: float) -> None:
        self._receive, self._loop, self._left, self._slowest = receive, loop, most, slowest

    def chunks(self) -> Iterator[bytes]:
        more = True
        while more:
            # The time here is for a loop that has ended: nobody would wake this thread.
            data, more = asyncio.run_coroutine_threadsafe(self._piece(), self._loop).result(self._slowest + 30)
            yield data

    async def _piece(self) -> tuple[bytes, bool]:
        parts: list[bytes] = []
        room, more = PIECE, True
        async with asyncio.timeout(self._slowest):
            while more and room > 0:
                message = await self._receive()
                if message["type"] == "http.disconnect":
                    raise _CutOffError
                part = message.get("body", b"")
                parts.append(part)
                room, self._left = room - len(part), self._left - len(part)
                more = message.get("more_body", False)
                if self._left < 0:
                    raise _TooBigError
        return b"".join(parts), more


def _target(scope: Message) -> str:
    """As it was asked for, with nothing decoded."""
    target: bytes = scope["raw_path"] + b"?" + scope["query_string"]
    return target.decode("latin-1")


_BYTES = (b"content-type", b"application/octet-stream")


def _too_big(grant: Grant) -> str:
    return f"cannot take that: it is larger than {grant.most} bytes"


async def _answer(send: Send, status: int, words: str) -> None:
    """Errors close the connection: what is left of a body is nobody's to read."""
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    if status != 200:
        headers.append((b"connection", b"close"))
    with suppress(OSError):
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": words.encode()})
