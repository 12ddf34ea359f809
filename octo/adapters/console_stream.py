"""The Console on a file descriptor: what the pusher reads."""

import os
import re
import threading
from collections.abc import Callable

# Colours pass; every other escape sequence and control character would move the pusher's cursor, rename
# the window or worse (reference list of hostile output: CSI, OSC, DCS, C1).
_ESCAPES = re.compile(
    rb"\x1b\[(?:[0-9;]*m)|"  # SGR: kept
    rb"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[ -/]*[0-~]|"
    rb"[\x00-\x08\x0b-\x1f\x7f]|\xc2[\x80-\x9f]"
)
LEADS = (b"-----> ", b" !     ", b"       ")
_SGR = re.compile(rb"\x1b\[[0-9;]*m")


def clean(data: bytes) -> bytes:
    """Leave text, tabs, newlines and colours of `data`; drop what else a terminal would obey."""
    text = data.decode("utf-8", "replace").encode()
    return _ESCAPES.sub(lambda m: m[0] if _SGR.fullmatch(m[0]) else b"", text.replace(b"\r\n", b"\n"))


class StreamConsole:
    """Writes through `write`; what cannot be delivered is dropped: the reader has gone, the work goes on."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self._lock = threading.Lock()
        self._part = b""

    @classmethod
    def on(cls, descriptor: int) -> "StreamConsole":
        def write(data: bytes) -> None:
            while data:
                data = data[os.write(descriptor, data) :]

        return cls(write)

    def step(self, text: str) -> None:
        self._line("-----> ", text)

    def detail(self, text: str) -> None:
        self._line("       ", text)

    def error(self, text: str) -> None:
        self._line(" !     ", text)

    def result(self, text: str) -> None:
        self._line("=====> ", text)

    def raw(self, data: bytes) -> None:
        self._program(data, ())

    def formatted(self, data: bytes) -> None:
        self._program(data, LEADS)

    def _program(self, data: bytes, leads: tuple[bytes, ...]) -> None:
        with self._lock:
            *lines, self._part = (self._part + data).split(b"\n")
            if len(self._part) > 8192:  # a line without end must not fill the memory
                lines, self._part = [*lines, self._part], b""
        for line in lines:
            text = clean(line.rsplit(b"\r", 1)[-1] if not line.endswith(b"\r") else line)
            self._send((b"" if text.startswith(leads) else b"       ") + text + b"\n")

    def _line(self, lead: str, text: str) -> None:
        with self._lock:
            rest, self._part = self._part, b""
        if rest:
            self._send(b"       " + clean(rest) + b"\n")
        self._send(
            b"".join(lead.encode() + clean(line.encode("utf-8", "replace")) + b"\n" for line in text.split("\n"))
        )

    def _send(self, data: bytes) -> None:
        with self._lock:
            try:
                self._write(data)
            except (OSError, ValueError):
                self._write = lambda _: None
