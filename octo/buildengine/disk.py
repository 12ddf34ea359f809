"""The build engine's disk: an ext4 file system in a sparse file, mounted where nobody but the engine sees it."""

import contextlib
import logging
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from octo import process
from octo.errors import Unavailable

log = logging.getLogger(__name__)

PATIENCE = 10.0  # seconds for killed processes to be gone, and their mount with them
UIDS = 65536
_FORMAT = ("mkfs.ext4", "-q", "-F", "-m", "0", "-E", "nodiscard,lazy_itable_init=1,lazy_journal_init=1")


@dataclass(frozen=True)
class EngineDisk:
    image: Path
    mounted: Path  # the mount point; on the host an empty folder
    size: int  # bytes

    def prepare(self) -> None:
        """Make it when it is not there, and let it grow to its size. What is on it stays. Raises Unavailable."""
        self.mounted.mkdir(mode=0o711, exist_ok=True)
        if not self.image.exists() or not self.image.stat().st_size:
            self._make()
        elif self.image.stat().st_size < self.size:
            os.truncate(self.image, self.size)
            process.run(["e2fsck", "-f", "-p", str(self.image)])
            process.run(["resize2fs", str(self.image)])

    def mend(self) -> None:
        """Repair it, or make it anew: there is nothing on it but what can be built and fetched again."""
        if process.run(["e2fsck", "-p", str(self.image)], timeout=600).code > 1:
            log.warning("the build engine's disk was beyond repair: its caches are gone")
            self._make()

    def end_holders(self, uids: int) -> None:
        """Kill every process that sees the mounted disk, or is one of the engine's users; wait until it is free."""
        until = time.monotonic() + PATIENCE
        while (pids := list(self._holders(uids))) or any(self._devices()):
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if time.monotonic() > until:
                for device in self._devices():
                    process.run(["losetup", "-d", device])
                log.error("cannot free the build engine's disk: processes %s", pids)
                return
            time.sleep(0.01)

    def _make(self) -> None:
        fresh = self.image.with_suffix(".new")
        with fresh.open("wb") as file:
            os.fchmod(file.fileno(), 0o600)
            file.truncate(self.size)
        done = process.run([*_FORMAT, str(fresh)])
        if done.code:
            raise Unavailable(f"cannot make the build engine's disk: {done.text}", hint="See: octo doctor")
        fresh.replace(self.image)

    def _holders(self, uids: int) -> Iterator[int]:
        where = f" {str(self.mounted).replace(' ', chr(92) + '040')} "  # source: proc(5), mountinfo
        for folder in os.scandir("/proc"):
            if folder.name.isdecimal():
                with contextlib.suppress(OSError):
                    if where in Path(folder.path, "mountinfo").read_text() or _uid(folder.path) in range(
                        uids, uids + UIDS
                    ):
                        yield int(folder.name)

    def _devices(self) -> Iterator[str]:
        for file in Path("/sys/block").glob("loop*/loop/backing_file"):
            with contextlib.suppress(OSError):
                if file.read_text().strip() == str(self.image):
                    yield f"/dev/{file.parts[3]}"


def _uid(folder: str) -> int:
    status = Path(folder, "status").read_text()
    return int(status.partition("\nUid:")[2].split(None, 1)[0])
