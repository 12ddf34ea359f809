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
from octo.pipeline.receive import Push, Receiver, RefUpdate, decide
from octo.pipeline.source import Source
from octo.ports import Console

log = logging.getLogger(__name__)

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
        body = Body(receive, self._loop)
        answer = Answer(send, self._loop, lambda: self._push.gone)
        await answer.start()
        with self._changed:
            self._busy += 1
        work = self._loop.run_in_executor(None, self._verdict, act, body, answer)
        await answer.relay(work)

    def wait(self) -> None:
        """Return when no call is under way."""
        with self._changed:
            self._changed.wait_for(lambda: not self._busy)

    def _verdict(self, act: Callable[[Body, Console], str], body: Body, answer: Answer) -> str:
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

    def _arrived(self, body: Body, console: Console) -> str:
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
        self._expected, self._push.ref = verdict.commit, verdict.ref
        app = self._push.app
        return f"build {verdict.commit} {int(app.limits.get('files', self._receiver.files))} {app.name}"

    def _build(self, body: Body, console: Console) -> str:
        source = _parsed(Source, body.line(HEAD_LIMIT))
        if not self._expected or source.commit != self._expected:
            raise OctoError("cannot build: that is not the commit that came in")
        self._receiver.make(self._push, self._order(source), body.chunks(), console)
        return "exit 0"

    def _built(self, body: Body, console: Console) -> str:
        said = _parsed(dict[str, object], body.read(HEAD_LIMIT))
        log.info("the build of %s: %s", self._push.app.name, shown(str(said.get("status"))))
        return "exit 0"

    def _route(self, body: Body, console: Console) -> str:
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
