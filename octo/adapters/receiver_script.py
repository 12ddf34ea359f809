"""The operator's own receiver as a program on this host: octohost's /home/git/receiver.

It runs as its owner, in an empty folder of its own, with the tar of the commit on stdin. Source of the contract:
progrium/gitreceive, and octohost's branch as a fifth argument.
"""

import contextlib
import io
import os
import pwd
import secrets
import select
import shutil
import signal
import stat
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path

from octo import process
from octo.errors import BuildFailed, Cancelled, OctoError, Unavailable
from octo.specs import Receipt

LOOK = 0.25  # seconds between two looks at `cancelled` and at the clock
GRACE = 5.0  # seconds between SIGTERM and SIGKILL
CHUNK = 64 * 1024  # bytes
_Pipe = io.FileIO


@dataclass(frozen=True)
class ScriptReceiver:
    script: Path
    folder: Path  # each run has one of its own in there
    seconds: float  # wall clock of one run

    def run(
        self,
        receipt: Receipt,
        files: Iterable[bytes],
        output: Callable[[bytes], None],
        cancelled: Callable[[], bool],
    ) -> int:
        owner = checked(self.script)
        with self._place(owner) as place, _pipe() as (given, feed), _pipe() as (said, tell):
            running = self._start(receipt, owner, place, given, tell)
            feeder = _Feeder(feed, files)
            feeder.start()
            try:
                self._follow(running, said, output, lambda: feeder.check(cancelled))
            finally:
                _end(running)
                feeder.finish()
        if feeder.error:
            raise feeder.error
        return running.returncode if running.returncode >= 0 else 128 - running.returncode

    def sweep(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(
        self, receipt: Receipt, owner: pwd.struct_passwd, place: Path, given: _Pipe, tell: _Pipe
    ) -> process.Program:
        groups = os.getgrouplist(owner.pw_name, owner.pw_gid) if owner.pw_name else [owner.pw_gid]
        try:
            return process.spawn(
                [str(self.script), *astuple(receipt)],
                env=_environment(receipt, owner, place),
                user=owner.pw_uid,
                groups=[owner.pw_gid, *(g for g in groups if g != owner.pw_gid)],
                stdin=given.fileno(),
                stdout=tell.fileno(),
                stderr=tell.fileno(),
                cwd=place,
            )
        except OSError as error:  # as of a file that is no program
            raise _unfit(self.script, error.strerror or str(error)) from None
        finally:
            given.close()
            tell.close()

    def _follow(
        self, running: process.Program, said: _Pipe, output: Callable[[bytes], None], check: Callable[[], None]
    ) -> None:
        """Hand on what it says until it has ended; what it left running may hold the pipe open for ever."""
        until = time.monotonic() + self.seconds
        last = b"\n"
        while True:
            ended = running.poll() is not None
            data = _read(said, 0 if ended else LOOK)
            if data:
                output(data)
                last = data[-1:]
            elif ended:
                break
            check()
            if time.monotonic() > until:
                why = f"cannot take the push: the operator's receiver did not end within {self.seconds:g} s"
                raise BuildFailed(why, hint="Ask the operator to raise the setting build_seconds.")
        output(b"" if last == b"\n" else b"\n")

    @contextmanager
    def _place(self, owner: pwd.struct_passwd) -> Iterator[Path]:
        self.folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        place = self.folder / secrets.token_hex(6)
        place.mkdir(mode=0o700)
        os.chown(place, owner.pw_uid, owner.pw_gid)
        try:
            yield place
        finally:
            shutil.rmtree(place, ignore_errors=True)


def checked(script: Path) -> pwd.struct_passwd:
    """Who owns it. Raises Unavailable unless only the owner and root can change what is run."""
    try:
        found = script.lstat()
        above = [folder.stat() for folder in script.parents]
    except OSError as error:
        raise _unfit(script, error.strerror or str(error)) from None
    if not script.is_absolute() or not stat.S_ISREG(found.st_mode) or not found.st_mode & 0o100:
        raise _unfit(script, "it is not a program, named by its whole path")
    for folder, about in zip(script.parents, above, strict=True):
        open_to_all = about.st_mode & 0o022 and not about.st_mode & stat.S_ISVTX
        if open_to_all or about.st_uid not in (0, found.st_uid):
            raise _unfit(script, f'others may write "{folder}"')
    if found.st_mode & 0o022:
        raise _unfit(script, "others may write it")
    try:
        return pwd.getpwuid(found.st_uid)
    except KeyError:  # an owner without a name
        return pwd.struct_passwd(("", "", found.st_uid, found.st_gid, "", "/", ""))


def _unfit(script: Path, why: str) -> Unavailable:
    hint = "Ask the operator to mend the setting receiver, or the modes of that file and the folders above it."
    return Unavailable(f'cannot run the receiver "{script}": {why}', hint=hint)


def _environment(receipt: Receipt, owner: pwd.struct_passwd, place: Path) -> Mapping[str, str]:
    return {
        "HOME": owner.pw_dir,
        "USER": owner.pw_name,
        "LOGNAME": owner.pw_name,
        "LANG": "C.UTF-8",
        "TMPDIR": str(place),
        "RECEIVE_USER": receipt.user,
        "RECEIVE_REPO": receipt.repository,
        "RECEIVE_FINGERPRINT": receipt.fingerprint,
    }


def _end(running: process.Program) -> None:
    """End it with all of its session that is still in its group."""
    if running.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGTERM)
        with contextlib.suppress(Exception):
            running.wait(GRACE)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(running.pid, signal.SIGKILL)
    running.wait()


def _read(said: _Pipe, wait: float) -> bytes:
    """What has come within `wait` seconds; nothing when it says nothing."""
    poll = select.poll()
    poll.register(said, select.POLLIN)
    ready = poll.poll(wait * 1000)
    data = os.read(said.fileno(), CHUNK) if ready else b""
    if ready and not data and wait:
        time.sleep(wait)  # it has closed its output, and goes on
    return data


@contextmanager
def _pipe() -> Iterator[tuple[_Pipe, _Pipe]]:
    reader, writer = os.pipe()
    with open(reader, "rb", buffering=0) as one, open(writer, "wb", buffering=0) as other:
        yield one, other


class _Feeder(threading.Thread):
    """Writes the files to the program; that it does not read them all is no error."""

    def __init__(self, feed: _Pipe, files: Iterable[bytes]) -> None:
        super().__init__(name="receiver's files")
        self._feed, self._files, self._over = feed, files, threading.Event()
        self.error: OctoError | None = None
        os.set_blocking(feed.fileno(), False)

    def run(self) -> None:
        try:
            for chunk in self._files:  # to the end, also when nobody takes them: the hook sends them
                self._write(chunk)
        except OctoError as error:
            self.error = error
        finally:
            self._feed.close()

    def check(self, cancelled: Callable[[], bool]) -> None:
        """Raises why it is not to go on."""
        if self.error:
            raise self.error
        if cancelled():
            raise Cancelled("cannot finish: nobody waits for it any more")

    def finish(self) -> None:
        """The program has ended."""
        self._over.set()
        self.join()

    def _write(self, chunk: bytes) -> None:
        poll = select.poll()
        poll.register(self._feed, select.POLLOUT)
        view = memoryview(chunk)
        while view and not self._over.is_set():
            if poll.poll(LOOK * 1000):
                try:
                    view = view[os.write(self._feed.fileno(), view) :]
                except BrokenPipeError:
                    self._over.set()
