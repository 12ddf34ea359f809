"""Steps with their seconds, told as they happen; a silent step beats, so that nobody wonders whether it died."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from octo.ports import Clock, Console

BEAT = 15.0  # seconds


class Progress:
    def __init__(self, console: Console, clock: Clock) -> None:
        self.console = console
        self._clock = clock
        self.took: dict[str, float] = {}  # seconds per step

    @contextmanager
    def step(self, name: str, title: str, done: str = "") -> Iterator[None]:
        """Print the title, run the body, and print how long it took. name: the key in `took`."""
        self.console.step(title)
        start = self._clock.monotonic()
        with self.beating(title):
            yield
        self.took[name] = self._clock.monotonic() - start
        self.console.detail(f"{done or 'done'} in {self.took[name]:.1f} s")

    @contextmanager
    def beating(self, title: str) -> Iterator[None]:
        """Say every 15 s that it still goes on."""
        ended = threading.Event()
        start = self._clock.monotonic()

        def beat() -> None:
            while not ended.wait(BEAT):
                self.console.detail(f"... {title}: {self._clock.monotonic() - start:.0f} s so far")

        threading.Thread(target=beat, daemon=True, name="beat").start()
        try:
            yield
        finally:
            ended.set()
