"""Which apps have something in the build engine, and which of those are to be forgotten: files beside its disk.

Not in the engine, as it may be stopped; not in octo's memory, as the engine may be shared, and made anew. To forget an
app is to write it down first: the note goes when all is gone, so neither a stopped engine nor a crash keeps an app's
layers. BuildKit does not say whose a record of its cache is, so what was made during each build is noted, too.
"""

import contextlib
import logging
import secrets
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from octo import codec
from octo.adapters.builder_docker.caches import Caches
from octo.buildengine.engine import BuildEngine
from octo.errors import OctoError

log = logging.getLogger(__name__)

GONE = ".gone"  # ends the name of a file whose app is to be forgotten


@dataclass(frozen=True)
class _Known:
    began: float = 0  # seconds since the epoch: when the build that runs began; 0: none does
    records: tuple[str, ...] = ()  # of BuildKit's cache
    word: str = ""


class Kept:
    """Safe for threads. The caller sees to it that an app is not forgotten while it is built."""

    def __init__(self, place: BuildEngine, caches: Caches, instance: str) -> None:
        self._place, self._caches, self._instance = place, caches, instance
        self._folder = place.folder / "apps"
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def building(self, app: str, *, records: bool) -> Iterator[str]:
        """Note that the app has something; gives a word that is another one when the app has been forgotten.

        records: whether BuildKit makes some, which are noted at the end.
        """
        self._drop(app)  # else what is to be forgotten would be this build's cache
        self._folder.mkdir(mode=0o700, exist_ok=True)
        known = self._read(self._file(app))
        began = known.began or time.time()  # of a build that was cut off: what it made is the app's, too
        known = replace(known, word=known.word or secrets.token_hex(4))
        self._write(app, replace(known, began=began if records else 0))
        try:
            yield known.word
        finally:
            if records:
                with contextlib.suppress(OctoError):
                    made = dict.fromkeys((*known.records, *self._caches.records(began)))
                    self._write(app, replace(known, began=0, records=tuple(made)))

    def forget(self, app: str) -> None:
        """At once where the engine runs; else it is started behind the caller's back."""
        file = self._file(app)
        with contextlib.suppress(FileNotFoundError):  # it has never been built, or is being forgotten
            file.replace(file.with_name(file.name + GONE))
        if not self.noted():
            return
        with contextlib.suppress(OctoError):  # then it is done when the engine is there again
            if not self._place.adopt():
                self._place.prewarm(self.drop_noted)
                return
            with self._place.use():
                self.drop_noted()

    def noted(self) -> Sequence[str]:
        """The apps that are to be forgotten."""
        files = self._folder.glob(f"{self._instance}.*{GONE}")
        return sorted(f.name.removeprefix(f"{self._instance}.").removesuffix(GONE) for f in files)

    def drop_noted(self) -> None:
        """Do it. The engine runs."""
        for app in self.noted():
            self._drop(app)

    def _drop(self, app: str) -> None:
        note = self._file(app).with_name(self._file(app).name + GONE)
        with self._lock:
            if not note.exists():
                return
            why = "something uses it"
            try:
                if self._caches.forget(app, self._records(note)):
                    note.unlink()
                    return
            except OctoError as error:
                why = error.message
            log.warning("cannot empty the build cache of %s yet: %s", app, why)

    def _records(self, note: Path) -> Sequence[str]:
        """Those that no other app has: what two builds at once have made is both's."""
        known = self._read(note)
        late = self._caches.records(known.began) if known.began else ()
        others = {r for f in self._folder.iterdir() if f != note for r in self._read(f).records}
        return [r for r in (*known.records, *late) if r not in others]

    def _file(self, app: str) -> Path:
        return self._folder / f"{self._instance}.{app}"

    def _read(self, file: Path) -> _Known:
        """What cannot be read says nothing."""
        try:
            return codec.loads(_Known, file.read_bytes())
        except (OSError, ValueError, TypeError, AttributeError):
            return _Known()

    def _write(self, app: str, known: _Known) -> None:
        fresh = self._folder / f".{self._instance}.{app}"
        fresh.write_bytes(codec.dumps(known))
        fresh.replace(self._file(app))
