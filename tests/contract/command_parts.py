"""Shared by the tests of the command line: a real warm process, real descriptors, a stand-in for the API behind it."""

import contextlib
import os
import pty
import queue
import select
import socket
import tempfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from octo.daemon.command import Commands
from tests.unit.octo.cli.stub_api import State

COMMAND_UID = 59203
CHECKOUT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str


@dataclass
class Octo:
    """The API's state, and the way to run commands against it."""

    state: State
    commands: Commands

    def __call__(self, *words: str, stdin: bytes = b"", fields: Mapping[str, str] | None = None) -> Said:
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            given.write(stdin)
            given.seek(0)
            streams = [given.fileno(), out.fileno(), err.fileno()]
            code = self.commands.run({"user": "ann", **(fields or {})}, words, streams, None, self.state.token)
            texts = []
            for file in (out, err):
                file.seek(0)
                texts.append(file.read().decode("utf-8", "surrogateescape"))
            return Said(code, texts[0], texts[1])

    def asked(self, *words: str) -> list[tuple[str, str, object]]:
        """What the API was asked for these words, which must succeed."""
        self.state.seen.clear()
        said = self(*words)
        assert (said.code, said.err) == (0, ""), said
        return [request for request in self.state.seen if request[0] != "GET"] or self.state.seen


@contextlib.contextmanager
def started(octo: Octo, words: list[str], streams: list[int]) -> Iterator["queue.Queue[int]"]:
    """A command under way, and where its code will be; at the end of the body the caller hangs up."""
    mine, octods = socket.socketpair()
    codes: queue.Queue[int] = queue.Queue()

    def run() -> None:
        codes.put(octo.commands.run({"term": "xterm"}, words, streams, octods, octo.state.token))

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield codes
    finally:
        mine.close()
        thread.join(20)
        octods.close()
    assert not thread.is_alive()


@contextlib.contextmanager
def terminal() -> Iterator[tuple[int, int]]:
    master, slave = pty.openpty()
    try:
        yield master, slave
    finally:
        os.close(master)
        os.close(slave)


def read_until(master: int, end: bytes) -> bytes:
    data = b""
    while end not in data:
        assert select.select([master], [], [], 20)[0], data
        data += os.read(master, 4096)
    return data
