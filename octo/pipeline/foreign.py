"""Config that somebody else wrote into the store, as with `consul kv put`: noticed, and made a release."""

import logging
import threading
from collections.abc import Callable, Sequence
from functools import partial

from octo.catalog import Catalog
from octo.catalog.writes import CONFIG
from octo.errors import Locked, OctoError
from octo.model import shown
from octo.pipeline.deploy import Silent
from octo.pipeline.scale import Changes

PAUSE = 5.0  # seconds after a store that was away
LONGEST = 60.0  # seconds of one watch
AT_MOST = 10  # spans of quiet that changes without an end are waited for

log = logging.getLogger(__name__)


class Foreign:
    """later: runs what it is given in a thread of its own. settle: seconds without a change that make one release."""

    def __init__(
        self, catalog: Catalog, changes: Changes, *, settle: float, later: Callable[[Callable[[], object]], None]
    ) -> None:
        self._catalog, self._changes, self._settle, self._later = catalog, changes, settle, later
        self._failed: dict[str, tuple[bytes, str]] = {}  # the digest of what could not be taken over, and why
        self._busy: set[str] = set()
        self._lock = threading.Lock()

    def follow(self, wait: Callable[[float], bool]) -> None:
        """Look at the start and after every change until `wait` (seconds) says it is over: a thread's whole life."""
        since = 0
        while not wait(0):
            try:
                newest = self._catalog.store.watch(CONFIG, since, LONGEST)
                since = self._calm(newest)
                self.look()  # also after a silence: what met a busy app is tried again
            except OctoError as error:
                log.warning("cannot follow the config in the store: %s", error.message)
                wait(PAUSE)

    def look(self) -> None:
        """Begin a release for every app whose config is another than octo knows of."""
        strange = self._catalog.strange()
        with self._lock:
            self._failed = {id: failed for id, failed in self._failed.items() if strange.get(id) == failed[0]}
            begun = [id for id in strange if id not in self._failed and id not in self._busy]
            self._busy |= set(begun)
        for id in begun:
            self._later(partial(self._adopt, id, strange[id]))

    def problems(self) -> Sequence[str]:
        """What could not be taken over, and why: it waits for the next release."""
        odd = [f"{shown(key)}: no config has such a key or value" for key in self._catalog.unusable()]
        with self._lock:
            return odd + sorted(why for _, why in self._failed.values())

    def _calm(self, newest: int) -> int:
        """Wait until nothing changes any more, a while at most; returns the newest version."""
        for _ in range(AT_MOST):
            since, newest = newest, self._catalog.store.watch(CONFIG, newest, self._settle)
            if newest == since:
                break
        return newest

    def _adopt(self, id: str, digest: bytes) -> None:
        """What fails is not tried again before it changes: `octo releases` shows it, and the next release has it."""
        app = self._catalog.by_id(id)
        try:
            done = self._changes.adopt(app, Silent()) if app else None
            if app and done:
                log.info("%s: %s, as v%d", app.name, done.description, done.version)
        except Locked as error:  # tried again with the next look
            log.info("the config in the store waits: %s", error.message)
        except OctoError as error:
            log.error("cannot take over the config in the store: %s", error.message)
            with self._lock:
                self._failed[id] = (digest, f"{app.name if app else id}: {error.message}")
        finally:
            with self._lock:
                self._busy.discard(id)
