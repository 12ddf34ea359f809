"""The rendezvous of `octo run`: the API promises a process for a secret, its caller comes with its streams."""

import secrets
import threading
from dataclasses import dataclass

from octo.daemon.push import Call, watching
from octo.errors import Forbidden
from octo.model import App
from octo.pipeline.run import OneOff

WAITING = 64  # promises kept at most; the oldest is dropped


@dataclass(frozen=True)
class _Promise:
    app: App
    command: str
    tty: bool
    size: tuple[int, int]


class Attach:
    def __init__(self, oneoff: OneOff) -> None:
        self._oneoff = oneoff
        self._promises: dict[str, _Promise] = {}
        self._lock = threading.Lock()

    def expect(self, app: App, command: str, *, tty: bool, size: tuple[int, int]) -> str:
        """Promise a process; the secret that comes back works once."""
        secret = secrets.token_urlsafe(32)
        with self._lock:
            self._promises[secret] = _Promise(app, command, tty, size)
            if len(self._promises) > WAITING:
                self._promises.pop(next(iter(self._promises)))
        return secret

    def serve(self, call: Call) -> str:
        """The kind "attach"."""
        with self._lock:
            promise = self._promises.pop(call.fields.get("secret", ""), None)
        if promise is None or call.streams is None:
            raise Forbidden("cannot attach: nothing waits under that secret")
        running = self._oneoff.prepare(promise.app, promise.command, tty=promise.tty)
        with watching(call.caller, lambda: self._oneoff.end(running)):
            return f"exit {self._oneoff.attend(running, call.streams, promise.size)}"
