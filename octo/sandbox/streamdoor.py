"""The door at which the first process of a sandbox calls (octo/guest/streams.py), to be given its streams and its work.

One connection for each sandbox: octod sends the descriptors (SCM_RIGHTS) with the arguments and the environment, the
sandbox answers "exit N", and the end of the connection ends the other side too, whoever it is that goes first.
"""

import contextlib
import os
import select
import socket
import threading
import time
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from octo.errors import Unavailable
from octo.sandbox.cgroups import Events
from octo.specs import Ended, Streams, Strike

KILLED, TIMED_OUT = 137, 124
START = 30.0  # seconds until the first process of a sandbox must have called
_LOOK = 0.25  # seconds between two looks at a sandbox


class Halt(Exception):
    """Somebody stopped the sandbox, or its time is over."""


@dataclass(frozen=True)
class Work:
    argv: Sequence[str]
    env: Mapping[str, str]
    rules: bytes = b""  # a filter of system calls, struct sock_filter[]


class StreamDoor:
    """A context: inside it the socket is there. `stop` may come from any thread, also before and after."""

    def __init__(self, folder: str, seconds: float) -> None:
        self._path = Path(folder, "streams.sock")
        self._end = time.monotonic() + seconds
        self._bell, self._ringer = socket.socketpair()
        self._stopped = threading.Event()
        self._door = socket.socket(socket.AF_UNIX)
        self._guest: socket.socket | None = None
        self.over = threading.Event()  # nothing of the sandbox runs any more
        self.expired = False

    def __enter__(self) -> Self:
        self._path.unlink(missing_ok=True)
        self._door.bind(str(self._path))
        self._path.chmod(0o666)  # the folder above is closed to everybody on the host but root
        self._door.listen(1)
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        for one in (self._door, self._guest, self._bell, self._ringer):
            if one:
                one.close()
        self._path.unlink(missing_ok=True)

    def stop(self) -> None:
        self._stopped.set()
        with contextlib.suppress(OSError):
            self._ringer.send(b"!")

    def check(self) -> None:
        """Raises Halt when it was stopped or the time is over."""
        if time.monotonic() >= self._end:
            self.expired = True
            raise Halt
        if self._stopped.is_set():
            raise Halt

    def welcome(self, belongs: Callable[[int], bool], alive: Callable[[], bool], why: Callable[[], str]) -> int:
        """Wait for the first process; return its pid. Raises Halt, and Unavailable when it does not come.

        belongs: whether a process is in the sandbox; who is not is sent away. why: what the error is to add, or "".
        """
        until = time.monotonic() + START
        while True:
            lives = alive()  # looked at first: what called and ended has called
            if self._ready(self._door):
                guest, _ = self._door.accept()
                pid = _peer(guest)
                if belongs(pid):
                    self._guest = guest
                    return pid
                guest.close()
            elif not lives or time.monotonic() > until:
                told = "".join(f": {words}" for words in [why()] if words)
                raise Unavailable(f"cannot start a sandbox: it did not come up{told}", hint="See: octo doctor")

    def hand(self, work: Work, streams: Streams) -> None:
        """Hand the streams and the work over; a sandbox that has ended meanwhile is no error."""
        words = [_words(work.argv), _words([f"{k}={v}" for k, v in work.env.items()]), work.rules]
        rights = array("i", [streams.stdin, streams.stdout, streams.stderr]).tobytes()
        head = array("I", [len(w) for w in words]).tobytes()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._called().sendmsg([head], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
            self._called().sendall(b"".join(words))

    def result(self, look: Callable[[], object]) -> int | None:
        """Wait for the exit code; None when the sandbox ended without a word. Raises Halt.

        look: called every quarter of a second. The first process stays until this door is closed.
        """
        said = b""
        while not said.endswith(b"\n"):
            if not self._ready(self._called()):
                look()
                continue
            try:
                part = self._called().recv(64)
            except ConnectionResetError:
                part = b""
            if not part:
                return None
            said += part
        return _code(said)

    def _called(self) -> socket.socket:
        if self._guest is None:
            raise AssertionError("BUG: nobody has called at this door")
        return self._guest

    def _ready(self, one: socket.socket) -> bool:
        """Wait until it can be read, at most for a look. Raises Halt."""
        self.check()
        poll = select.poll()
        poll.register(one, select.POLLIN)
        poll.register(self._bell, select.POLLIN)
        left = min(_LOOK, max(0.0, self._end - time.monotonic()))
        ready = {number for number, _ in poll.poll(left * 1000 + 1)}
        self.check()
        return one.fileno() in ready


def verdict(code: int | None, events: Events, *, full: Strike | None) -> Ended:
    """How it ended, with the limit that struck. code None: it was killed from outside. full: of what its disk was."""
    if code == 0:
        return Ended(0)
    if events.oom or (code is None and events.full):
        strike = Strike.MEMORY
    elif events.forks:
        strike = Strike.PIDS
    else:
        return Ended(KILLED if code is None else code, full)
    return Ended(KILLED if code is None else code, strike)


def _words(given: Sequence[str]) -> bytes:
    return b"".join(os.fsencode(word) + b"\0" for word in given)


def _peer(guest: socket.socket) -> int:
    return array("i", guest.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]


def _code(said: bytes) -> int | None:
    word, _, number = said.decode("ascii", "replace").strip().partition(" ")
    return int(number) & 0xFF if word == "exit" and number.isdecimal() else None
