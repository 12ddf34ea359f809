"""The queue in front of the builds: so many at once, the others in the order of their coming."""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from octo.errors import Cancelled, Unavailable

LOOK = 0.5  # seconds between two looks at `cancelled`
Tell = Callable[[str], None]


class Admission:
    """places: builds at once. length: builds that may wait."""

    def __init__(self, places: int, length: int) -> None:
        self._places, self._length = places, length
        self._building = 0
        self._waiting: deque[object] = deque()
        self._changed = threading.Condition()

    @contextmanager
    def place(self, tell: Tell, cancelled: Callable[[], bool]) -> Iterator[None]:
        """Hold a place for the body. Whoever waits is told where in the queue, anew each time that changes.

        Raises Unavailable when the queue is full, Cancelled when nobody waits for the build any more.
        """
        self._enter(tell, cancelled)
        try:
            yield
        finally:
            with self._changed:
                self._building -= 1
                self._changed.notify_all()

    def standing(self) -> tuple[int, int]:
        """How many build, how many wait."""
        with self._changed:
            return self._building, len(self._waiting)

    def _enter(self, tell: Tell, cancelled: Callable[[], bool]) -> None:
        ticket = object()
        with self._changed:
            busy = self._building + len(self._waiting) >= self._places
            if busy and len(self._waiting) >= self._length:
                raise Unavailable(
                    f"cannot build now: {self._building} builds are going on and {len(self._waiting)} wait",
                    hint="Push again later.",
                )
            self._waiting.append(ticket)
        try:
            self._wait(ticket, tell, cancelled)
        except BaseException:
            with self._changed:
                self._waiting.remove(ticket)
                self._changed.notify_all()
            raise

    def _wait(self, ticket: object, tell: Tell, cancelled: Callable[[], bool]) -> None:
        told = 0
        while True:
            with self._changed:
                place = self._waiting.index(ticket) + 1
                if place == 1 and self._building < self._places:
                    self._waiting.popleft()
                    self._building += 1
                    self._changed.notify_all()
                    return
                if place == told:
                    self._changed.wait(LOOK)
            if cancelled():
                raise Cancelled("cannot go on: the pusher has hung up")
            if place != told:  # outside the lock: a slow reader must not hold the others up
                told = place
                tell(f"Waiting for a free place to build: number {place} in the queue")
