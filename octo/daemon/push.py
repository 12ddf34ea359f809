"""The doors' door: one Unix socket each, on which gitreceive, the SSH door and the thin `octo` speak wire.

A caller gets a thread. Its connection is also its sign of life: when it closes, what it asked for is cancelled.
"""

import contextlib
import logging
import os
import select
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gitreceive import wire
from octo.daemon.access import NOBODY, OPERATOR, Access, Actor, Verb, allowed, require
from octo.daemon.http import peer_of
from octo.errors import NoSuchApp, OctoError, Unavailable
from octo.model import App, AppName, app_name
from octo.pipeline.attend import Session
from octo.pipeline.branches import refuse_direct
from octo.pipeline.receive import READ, Push, Receiver, new_push
from octo.ports import Console, Streams

log = logging.getLogger(__name__)

RDHUP = 0x2000  # POLLRDHUP, which `select` does not name


@dataclass(frozen=True)
class Call:
    """One message from a door."""

    kind: str
    fields: Mapping[str, str]
    words: Sequence[str]
    streams: Streams | None
    caller: socket.socket
    actor: Actor


Handler = Callable[[Call], str]  # returns the one-line answer


class Door:
    """Listens on one socket and gives each caller a thread."""

    def __init__(self, handlers: Mapping[str, Handler], who: Callable[[int, Mapping[str, str]], Actor]) -> None:
        self._handlers, self._who = handlers, who
        self._closing = False
        self._listener: socket.socket | None = None

    def listen(self, path: Path, *, group: int) -> None:
        """Root and `group` may connect."""
        path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        path.chmod(0o660)
        os.chown(path, 0, group)
        self._listener.listen(64)
        threading.Thread(target=self._accept, args=[self._listener], daemon=True, name=f"door {path.name}").start()

    def close(self) -> None:
        """Take no new callers, and refuse those that come by `take`; who is being served is served to the end."""
        self._closing = True
        if self._listener:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()

    def take(self, caller: socket.socket) -> None:
        """Serve one caller in a thread of its own."""
        threading.Thread(target=self._serve, args=[caller], daemon=True, name="caller").start()

    def _accept(self, listener: socket.socket) -> None:
        while not self._closing:
            try:
                caller, _ = listener.accept()
            except OSError:
                return
            self.take(caller)

    def _serve(self, caller: socket.socket) -> None:
        descriptors: list[int] = []
        with caller:
            try:
                caller.settimeout(10)
                body, descriptors = wire.receive(caller)
                caller.settimeout(None)
                answer = self._answer(caller, body, descriptors)
                closing, descriptors = descriptors, []
                wire.close(closing)  # before the answer: a door waits for the end of what it reads
                caller.sendall(answer.encode() + b"\n")
            except (wire.Malformed, OSError) as error:
                log.info("a caller was dropped: %s", error)
            finally:
                wire.close(descriptors)

    def _answer(self, caller: socket.socket, body: bytes, descriptors: Sequence[int]) -> str:
        kind, fields, words = wire.unpack(body)
        streams = Streams(*descriptors) if len(descriptors) == 3 else None
        handler = self._handlers.get(kind)
        if handler is None:
            raise wire.Malformed(f"no {kind[:20]!r} at this door")
        try:
            if self._closing:
                raise Unavailable("cannot begin anything now: octod is stopping", hint="Try again in a moment.")
            return handler(Call(kind, fields, words, streams, caller, self._who(peer_of(caller).uid, fields)))
        except OctoError as error:
            say(streams, error)
            return f"exit {error.exit_code}"
        except wire.Malformed:
            raise
        except OSError as error:  # a full disk, most of all
            log.exception("cannot serve %s", kind)
            say(streams, Unavailable(f"cannot go on: {error.strerror or error}", hint="Ask the operator: octo doctor."))
            return "exit 1"
        except Exception:
            log.exception("a bug, while serving %s", kind)
            say(streams, OctoError("something in octo is broken; the operator's log says what"))
            return "exit 1"


def say(streams: Streams | None, error: OctoError) -> None:
    if streams:
        lines = [f" ! {error.message}", *([f"       {error.hint}"] if error.hint else [])]
        with contextlib.suppress(OSError):
            os.write(streams.stderr, ("\n".join(lines) + "\n").encode("utf-8", "replace"))


def operator(uid: int, fields: Mapping[str, str]) -> Actor:
    """At the command socket: root is the operator, nobody else is anybody."""
    return OPERATOR if uid == 0 else NOBODY


def by_key(access: Access) -> Callable[[int, Mapping[str, str]], Actor]:
    """At the doors' socket: the door vouches for the key's fingerprint, octod knows whose it is."""
    return lambda uid, fields: access.by_fingerprint(fields.get("fingerprint", ""))


@dataclass
class GitDoor:
    """The kind "git": clone, fetch and push."""

    receiver: Receiver
    open_session: Callable[[Push], Session]
    console: Callable[[int], Console]
    create: Callable[[Actor, AppName], App] | None  # makes an app on its first push

    def serve(self, call: Call) -> str:
        if call.streams is None:
            raise wire.Malformed("a git call without its streams")
        verb = call.fields.get("verb", "")
        reading = verb in READ
        if not reading and verb != "git-receive-pack":
            raise wire.Malformed("no git verb")
        app = self._app(call, reading=reading)
        require(call.actor, Verb.READ if reading else Verb.WRITE, app)
        refuse_direct(self.receiver.catalog, app, reading=reading)
        push = new_push(app, call.actor.user)
        push.fingerprint = call.fields.get("fingerprint", "")
        push.protocol = call.fields.get("protocol", "")
        push.may_read = lambda other: allowed(call.actor, Verb.READ, other)
        with watching(call.caller, lambda: self.receiver.hang_up(push)):
            if reading:
                code = self.receiver.read(push, verb, call.streams, self.open_session)
            else:
                code = self.receiver.push(push, call.streams, self.console(call.streams.stderr), self.open_session)
        return f"exit {code}"

    def _app(self, call: Call, *, reading: bool) -> App:
        require(call.actor, Verb.READ)  # before anything is looked up: a stranger learns nothing
        name = app_name(call.fields.get("app", ""))
        try:
            return self.receiver.catalog.app(name)
        except NoSuchApp:
            if reading or self.create is None:
                raise
        app = self.create(call.actor, name)
        if call.streams:
            self.console(call.streams.stderr).step(f"Made the app {name}: there was none of that name")
        return app


@contextlib.contextmanager
def watching(caller: socket.socket, gone: Callable[[], None]) -> Iterator[None]:
    """Call `gone`, once and from a thread, when the caller hangs up during the body."""
    ended, wake = socket.socketpair()

    def watch() -> None:
        poll = select.poll()
        poll.register(caller, RDHUP | select.POLLHUP | select.POLLERR)
        poll.register(wake, select.POLLIN)
        ready = {fd for fd, _ in poll.poll()}
        if wake.fileno() not in ready:
            gone()

    watcher = threading.Thread(target=watch, daemon=True, name="hang-up")
    watcher.start()
    try:
        yield
    finally:
        ended.send(b".")
        watcher.join()
        ended.close()
        wake.close()
