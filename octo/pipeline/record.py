"""A Console that passes on and keeps: `octo builds:output` shows what the pusher saw."""

from collections.abc import Callable

from octo.errors import OctoError
from octo.ports import Console

TRUNCATED = b"       ... the rest of the output was not kept\n"


class Recorder:
    def __init__(self, console: Console, render: Callable[[Callable[[bytes], object]], Console], most: int) -> None:
        self._to, self._most = console, most
        self._kept = bytearray()
        self._record = render(self._keep)

    def step(self, text: str) -> None:
        self._to.step(text)
        self._record.step(text)

    def detail(self, text: str) -> None:
        self._to.detail(text)
        self._record.detail(text)

    def error(self, text: str) -> None:
        self._to.error(text)
        self._record.error(text)

    def result(self, text: str) -> None:
        self._to.result(text)
        self._record.result(text)

    def raw(self, data: bytes) -> None:
        self._to.raw(data)
        self._record.raw(data)

    def formatted(self, data: bytes) -> None:
        self._to.formatted(data)
        self._record.formatted(data)

    def note(self, error: OctoError) -> None:
        """Keep why it ended; the pusher is told by who catches it."""
        self._record.error(error.message)

    def output(self) -> bytes:
        return bytes(self._kept)

    def _keep(self, data: bytes) -> None:
        if len(self._kept) < self._most:
            self._kept += data if len(self._kept) + len(data) < self._most else TRUNCATED.ljust(self._most)
