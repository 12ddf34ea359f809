"""What goes on after somebody has their answer: the drain and the end of old containers."""

import logging
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)


class Background:
    """A thread for each; what fails is left to the journal, and so to the next round of the reconciler."""

    def __init__(self) -> None:
        self._busy = 0
        self._changed = threading.Condition()

    def __call__(self, act: Callable[[], object]) -> None:
        with self._changed:
            self._busy += 1
        threading.Thread(target=self._run, args=[act], daemon=True, name="background").start()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until nothing is under way; False when it took longer than `timeout` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._busy, timeout)

    def _run(self, act: Callable[[], object]) -> None:
        try:
            act()
        except Exception as error:  # noqa: BLE001 - the thread is the door here
            log.error("cannot end in the background, trying again later: %s", error)
        finally:
            with self._changed:
                self._busy -= 1
                self._changed.notify_all()
