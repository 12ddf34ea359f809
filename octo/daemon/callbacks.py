"""What answers behind one receiver's socket: the four calls of the pre-receive hook, and the app's own blobs."""

import asyncio
import json
import logging
import threading
from collections.abc import Callable
from typing import Any, get_origin

from octo import codec
from octo.daemon.exchange import Answer, Body, Message, Receive, Send
from octo.errors import OctoError, Usage
from octo.model import shown
from octo.pipeline.build import Order
from octo.pipeline.receive import Push, Receiver
from octo.pipeline.refs import RefUpdate
from octo.pipeline.source import Source
from octo.pipeline.turns import Turns, tell
from octo.ports import Console

log = logging.getLogger(__name__)

AGAIN = ("BUILD_PUT_URL", "BUILD_CALLBACK_URL", "ROUTE_URL")  # good once for each build of a push
HEAD_LIMIT = 4 * 1024 * 1024  # bytes of the refs, or of the line before the files


class Calls:
    """The ASGI application behind one receiver's socket."""

    def __init__(
        self,
        push: Push,
        receiver: Receiver,
        console: Callable[[Callable[[bytes], object]], Console],
        loop: asyncio.AbstractEventLoop,
        tokens: dict[str, str],
        order: Callable[[Source], Order],
    ) -> None:
        self._push, self._receiver, self._console, self._loop, self._tokens = push, receiver, console, loop, tokens
        self._order = order
        self._turns = Turns(push, receiver)
        self._spent: dict[str, str] = {}  # tokens that are good again for the next build of this push
        self._turn = threading.Lock()  # one call at a time goes on with the push
        self._busy = 0  # calls under way
        self._changed = threading.Condition()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        name, _, token = scope["path"].lstrip("/").partition("/")
        known = self._tokens.pop(token, "")  # one use, whatever comes of it
        if known in AGAIN:
            self._spent[token] = known
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
        body = Body(receive, self._loop)
        answer = Answer(send, self._loop, lambda: self._push.gone)
        await answer.start()
        with self._changed:
            self._busy += 1
        work = self._loop.run_in_executor(None, self._verdict, act, body, answer)
        await answer.relay(work)

    def wait(self) -> None:
        """Return when no call is under way, and let go of what the push held."""
        with self._changed:
            self._changed.wait_for(lambda: not self._busy)
        self._turns.close()

    def _verdict(self, act: Callable[[Body, Console], str], body: Body, answer: Answer) -> str:
        console = self._console(answer.put)
        try:
            with self._turn:
                return act(body, console)
        except OctoError as error:
            tell(console, error)
        except Exception:
            log.exception("a bug, in the push %s", self._push.id)
            console.error("octo: something in octo is broken; the operator's log says what")
        finally:
            with self._changed:
                self._busy -= 1
                self._changed.notify_all()
        return "exit 1"

    def _arrived(self, body: Body, console: Console) -> str:
        updates = _parsed(tuple[RefUpdate, ...], body.read(HEAD_LIMIT))
        return self._next(self._turns.begin(updates, console))

    def _next(self, order: str) -> str:
        """What comes next; for another build its values are good once more."""
        if order.startswith("build "):
            self._tokens |= self._spent
        self._spent = {}
        return order

    def _build(self, body: Body, console: Console) -> str:
        source = _parsed(Source, body.line(HEAD_LIMIT))
        if not self._turns.expected or source.commit != self._turns.expected:
            raise OctoError("cannot build: that is not the commit that came in")
        self._receiver.make(self._push, self._order(source), body.chunks(), console)
        return "exit 0"

    def _built(self, body: Body, console: Console) -> str:
        said = _parsed(dict[str, object], body.read(HEAD_LIMIT))
        log.info("the build of %s: %s", self._push.to.name, shown(str(said.get("status"))))
        return "exit 0" if said.get("exit") == 0 else self._next(self._turns.ended(console, well=False))

    def _route(self, body: Body, console: Console) -> str:
        if not self._turns.expected:
            raise OctoError("cannot deploy: nothing was built")
        try:
            self._receiver.launch(self._push, console)
        except OctoError as error:
            tell(console, error)
            return self._next(self._turns.ended(console, well=False))
        return self._next(self._turns.ended(console, well=True))


def _parsed(kind: Any, data: bytes) -> Any:
    """What a receiver says is text from outside like any other."""
    try:
        value = codec.build(kind, json.loads(data))
        if not isinstance(value, get_origin(kind) or kind):
            raise TypeError
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise Usage("cannot read what the receiver sent") from None
    return value
