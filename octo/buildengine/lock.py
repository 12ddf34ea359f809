"""Who holds the build engine: several octods may share its folder, and the last one to leave stops it."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path


class Share:
    """One octod's hold on it. A lock goes with its process: nobody holds what a killed octod held."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: int | None = None  # descriptor

    @property
    def held(self) -> bool:
        return self._held is not None

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Only one octod at a time starts or stops it; `take` and `leave` belong in here."""
        self._folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        self._folder.chmod(0o711)  # root inside, who has no rights outside, must get to its data
        lock = self._open("start.lock")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def take(self) -> None:
        if self._held is None:
            self._held = self._open("users.lock")
            fcntl.flock(self._held, fcntl.LOCK_SH)

    def leave(self) -> bool:
        """Let go of it; whether nobody else holds it, and it was held."""
        if self._held is None:
            return False
        held, self._held = self._held, None
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            os.close(held)
        return True

    def _open(self, name: str) -> int:
        return os.open(self._folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
