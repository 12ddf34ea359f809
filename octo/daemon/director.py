"""Opens a receiver for a push: its ten one-time values, its own Unix socket, and what answers behind it.

Names and order of the ten are those of row G5. Each URL works once, for one push, over that push's socket, and
only for a process in that push's sandbox.
"""

import asyncio
import contextlib
import json
import logging
import secrets
import shutil
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, get_origin

from octo import codec
from octo.daemon import http
from octo.errors import OctoError, Usage
from octo.model import shown
from octo.pipeline.build import Source
from octo.pipeline.receive import Push, Receiver, RefUpdate, Session, decide
from octo.ports import Console, Sandbox

log = logging.getLogger(__name__)

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

VALUES = (
    "CALLBACK_URL",
    "BUILD_CALLBACK_URL",
    "BUILD_PUT_URL",
    "CACHE_GET_URL",
    "CACHE_PUT_URL",
    "PRIVATE_KEY",
    "ROUTE_URL",
    "REPO_GET_URL",
    "REPO_PUT_URL",
    "REQUEST_ID",
)
AHEAD = 1000  # pieces of output that may wait for their reader
HEAD_LIMIT = 1024 * 1024  # bytes of the refs, or of the line before the files


class Director:
    def __init__(
        self,
        receiver: Receiver,
        sandbox: Sandbox,
        loop: asyncio.AbstractEventLoop,
        folder: Path,
        console: Callable[[Callable[[bytes], object]], Console],
    ) -> None:
        self._receiver, self._sandbox, self._loop, self._folder, self._console = (
            receiver,
            sandbox,
            loop,
            folder,
            console,
        )
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700, parents=True)

    def open(self, push: Push) -> Session:
        """Make the values and the socket; called in the thread of the push."""
        folder = self._folder / push.id
        folder.mkdir(mode=0o711)
        tokens = {name: secrets.token_urlsafe(32) for name in VALUES}
        calls = _Calls(push, self._receiver, self._console, self._loop, {tokens[n]: n for n in VALUES})
        server = asyncio.run_coroutine_threadsafe(self._serve(push, folder / "octo.sock", calls), self._loop).result()

        def close() -> None:
            self._loop.call_soon_threadsafe(server.close)
            calls.wait()  # a build that is being cancelled still writes its record
            shutil.rmtree(folder, ignore_errors=True)

        env = {n: f"http+unix://octo/{n.lower()}/{tokens[n]}" for n in VALUES}
        env |= {"REPO_GET_URL": "file:///app/repo.git", "REPO_PUT_URL": "file:///app/repo.git"}
        env |= {"PRIVATE_KEY": tokens["PRIVATE_KEY"], "REQUEST_ID": push.id}
        return Session(env, str(folder), close)

    async def _serve(self, push: Push, path: Path, calls: "_Calls") -> asyncio.Server:
        # The folder around it is open to root and to this one sandbox alone.
        return await http.serve(calls, path, mode=0o666, admit=lambda peer: self._sandbox.owns(push.id, peer.pid))


class _Calls:
    """The ASGI application behind one receiver's socket."""

    def __init__(
        self,
        push: Push,
        receiver: Receiver,
        console: Callable[[Callable[[bytes], object]], Console],
        loop: asyncio.AbstractEventLoop,
        tokens: dict[str, str],
    ) -> None:
        self._push, self._receiver, self._console, self._loop, self._tokens = push, receiver, console, loop, tokens
        self._expected = ""  # the commit that is to be built
        self._busy = 0  # calls under way
        self._changed = threading.Condition()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        name, _, token = scope["path"].lstrip("/").partition("/")
        known = self._tokens.pop(token, "")  # one use, whatever comes of it
        act = {
            "CALLBACK_URL": self._arrived,
            "BUILD_PUT_URL": self._build,
            "BUILD_CALLBACK_URL": self._built,
            "ROUTE_URL": self._route,
        }.get(known)
        if scope["method"] != "PUT" or act is None or known.lower() != name:
            await send({"type": "http.response.start", "status": 410 if known else 404, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
        body = _Body(receive, self._loop)
        answer = _Answer(send, self._loop, lambda: self._push.gone)
        await answer.start()
        with self._changed:
            self._busy += 1
        work = self._loop.run_in_executor(None, self._verdict, act, body, answer)
        await answer.relay(work)

    def wait(self) -> None:
        """Return when no call is under way."""
        with self._changed:
            self._changed.wait_for(lambda: not self._busy)

    def _verdict(self, act: Callable[["_Body", Console], str], body: "_Body", answer: "_Answer") -> str:
        console = self._console(answer.put)
        try:
            return act(body, console)
        except OctoError as error:
            console.error(f"octo: {error.message}")
            if error.hint:
                console.error(error.hint)
        except Exception:
            log.exception("a bug, in the push %s", self._push.id)
            console.error("octo: something in octo is broken; the operator's log says what")
        finally:
            with self._changed:
                self._busy -= 1
                self._changed.notify_all()
        return "exit 1"

    def _arrived(self, body: "_Body", console: Console) -> str:
        updates = _parsed(tuple[RefUpdate, ...], body.read(HEAD_LIMIT))
        verdict = decide(updates, self._receiver.branches)
        if verdict.refused:
            console.error(verdict.refused)
            return "exit 1"
        for note in verdict.notes:
            console.step(note)
        if not verdict.commit:
            return "exit 0"
        live = self._receiver.already_live(self._push, verdict.commit)
        if live:
            console.result(f"Already live as v{live.version}: {self._receiver.url(self._push.app)}")
            return "exit 0"
        self._expected = verdict.commit
        return f"build {verdict.commit}"

    def _build(self, body: "_Body", console: Console) -> str:
        source = _parsed(Source, body.line(HEAD_LIMIT))
        if source.commit != self._expected:
            raise OctoError("cannot build: that is not the commit that came in")
        self._receiver.make(self._push, source, body.chunks(), console)
        return "exit 0"

    def _built(self, body: "_Body", console: Console) -> str:
        said = _parsed(dict[str, object], body.read(HEAD_LIMIT))
        log.info("the build of %s: %s", self._push.app.name, shown(str(said.get("status"))))
        return "exit 0"

    def _route(self, body: "_Body", console: Console) -> str:
        self._receiver.launch(self._push, console)
        return "exit 0"


def _parsed(kind: Any, data: bytes) -> Any:
    """What a receiver says is text from outside like any other."""
    try:
        value = codec.build(kind, json.loads(data))
        if not isinstance(value, get_origin(kind) or kind):
            raise TypeError
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise Usage("cannot read what the receiver sent") from None
    return value


class _Body:
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


class _Answer:
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
