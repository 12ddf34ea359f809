"""octohost's plugins: FOLDER/NAME/commands, run for commands that octo does not know (row L39).

Each gets the words as its arguments, the caller's standard input, a clean environment, the rights of its own owner, and
no more. What it prints reaches the caller as it comes. One that prints nothing and ends with 0, 10 or 127 did not know
the command: octohost's own plugins end with 0 then.
"""

import logging
import os
import pwd
import secrets
import select
import signal
import stat
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from octo import __version__, process
from octo.daemon.push import Call, say, watching
from octo.envfile import dotenv
from octo.errors import Forbidden, OctoError, Usage
from octo.settings import Settings

DID_NOT_KNOW = (0, 10, 127)
WAITING = 64  # promises kept at most; the oldest is dropped
OTHERS = stat.S_IWGRP | stat.S_IWOTH
NOGROUP = 65534
LARGEST = 64 * 1024  # bytes of an env file

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plugin:
    name: str
    program: Path
    problem: str = ""  # why it is not run
    owner: int = -1  # as looked at with that: whatever is swapped in later runs with no other rights


class Plugins:
    def __init__(self, settings: Settings) -> None:
        self._folders = (settings.plugins, settings.home / "plugins")
        self._home = settings.home
        self._promises: dict[str, tuple[Sequence[str], bool]] = {}
        self._lock = threading.Lock()

    def found(self) -> Sequence[Plugin]:
        """By name; of two of one name the first folder's."""
        programs: dict[str, Path] = {}
        for folder in self._folders:
            for program in sorted(folder.glob("*/commands")):
                programs.setdefault(program.parent.name, program)
        return [Plugin(name, path, *examined(path)) for name, path in sorted(programs.items())]

    def expect(self, words: Sequence[str], *, help: bool) -> str:
        """Promise to run the words; the secret that comes back works once."""
        secret = secrets.token_urlsafe(32)
        with self._lock:
            self._promises[secret] = (words, help)
            if len(self._promises) > WAITING:
                self._promises.pop(next(iter(self._promises)))
        return secret

    def serve(self, call: Call) -> str:
        """The kind "plugin": "exit N", or "unknown"."""
        with self._lock:
            promise = self._promises.pop(call.fields.get("secret", ""), None)
        if promise is None or call.streams is None:
            raise Forbidden("cannot run plugins: nothing waits under that secret")
        words, all_of_them = promise
        for plugin in self.found():
            try:
                code, spoke = self._one(plugin, words, call)
            except OctoError as error:
                say(call.streams, error)
                continue
            if not all_of_them and (spoke or code not in DID_NOT_KNOW):
                return f"exit {code}"
        return "exit 0" if all_of_them else "unknown"

    def _one(self, plugin: Plugin, words: Sequence[str], call: Call) -> tuple[int, bool]:
        """Exit code, and whether it printed anything."""
        if plugin.problem:
            hint = "Mend it: only its owner and root may change it and what it lies in."
            raise Usage(f'cannot use the plugin "{plugin.name}": {plugin.problem}', hint=hint)
        assert call.streams
        owner = plugin.owner
        out, err = os.pipe2(os.O_CLOEXEC), os.pipe2(os.O_CLOEXEC)
        ends = {out[0]: call.streams.stdout, err[0]: call.streams.stderr}
        log.info("running the plugin %s", plugin.name)
        try:
            running = process.spawn(
                [str(plugin.program.resolve()), *words],
                env=self._environment(plugin, owner),
                user=owner or None,
                groups=_groups(owner),
                stdin=call.streams.stdin,
                stdout=out[1],
                stderr=err[1],
                cwd=plugin.program.parent,
            )
        finally:
            os.close(out[1])
            os.close(err[1])
        try:
            with watching(call.caller, lambda: _end(running)):
                spoke = _pass_on(running, ends)
                code = running.wait()
                return code if code >= 0 else 128 - code, spoke
        finally:
            for end in ends:
                os.close(end)

    def _environment(self, plugin: Plugin, owner: int) -> Mapping[str, str]:
        file = plugin.program.parent / "env"
        try:
            home = pwd.getpwuid(owner).pw_dir
        except KeyError:
            home = "/"
        own: Mapping[str, str] = {}
        if file.exists():
            problem = distrust(file)
            if problem:
                raise Usage(f'cannot use the plugin "{plugin.name}": {problem}')
            own = {str(k): v for k, v in dotenv(_text(file, owner)).items()}
        return {"HOME": home, "LANG": "C.UTF-8", **own, "OCTO_HOME": str(self._home), "OCTO_VERSION": __version__}


def _groups(owner: int) -> Sequence[int]:
    """Those of the owner, its own first; a number without a name has nobody's."""
    try:
        known = pwd.getpwuid(owner)
    except KeyError:
        return [NOGROUP]
    return [known.pw_gid, *(g for g in os.getgrouplist(known.pw_name, known.pw_gid) if g != known.pw_gid)]


def _text(file: Path, owner: int) -> str:
    """Of the very file that is looked at: root reads nothing for somebody by a link that was swapped in."""
    try:
        number = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise Usage(f'cannot read "{file}": {error.strerror}') from None
    with open(number, "rb") as opened:
        found = os.fstat(number)
        if not stat.S_ISREG(found.st_mode) or found.st_uid not in (0, owner) or found.st_mode & OTHERS:
            raise Usage(f'cannot read "{file}": it is not a file of the plugin\'s owner alone')
        return opened.read(LARGEST).decode("utf-8", "replace")


def distrust(file: Path) -> str:
    """Why others than its owner and root could change what is run; "" when none can."""
    return examined(file)[0]


def examined(file: Path) -> tuple[str, int]:
    """That, and the owner by whom it was judged."""
    owner = -1
    try:
        real = file.resolve(strict=True)
        owner = real.stat().st_uid
        if not stat.S_ISREG(real.stat().st_mode):
            return f'"{file}" is no file', owner
        if file.name == "commands" and not os.access(real, os.X_OK):
            return f'"{file}" is not executable', owner
        for place in (real, *real.parents, *file.absolute().parents):
            found = place.stat()
            sticky = stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX  # as /tmp: each may change his own
            if found.st_mode & OTHERS and not sticky:
                return f'others may write "{place}"', owner
            if found.st_uid not in (0, owner):
                return f'"{place}" belongs to somebody else', owner
    except OSError as error:
        return f'"{file}" cannot be looked at: {error.strerror}', owner
    return "", owner


def _pass_on(running: "subprocess.Popen[bytes]", ends: Mapping[int, int]) -> bool:
    """Hand on what is printed until the program has ended; whether there was anything. What it left running is not
    waited for."""
    spoke, left = False, dict(ends)
    while left:
        ended = running.poll() is not None
        ready, _, _ = select.select(list(left), [], [], 0 if ended else 0.1)
        if ended and not ready:
            break
        for end in ready:
            data = os.read(end, 65536)
            if not data:
                del left[end]
                continue
            spoke = True
            if not _write(left[end], data):
                _end(running)
                return True
    return spoke


def _write(descriptor: int, data: bytes) -> bool:
    """False when nobody reads any more. The descriptor may be non-blocking."""
    while data:
        try:
            select.select([], [descriptor], [])
            data = data[os.write(descriptor, data) :]
        except BlockingIOError:
            continue
        except OSError:
            return False
    return True


def _end(running: "subprocess.Popen[bytes]") -> None:
    """With all that it started."""
    if running.poll() is None:
        try:
            os.killpg(running.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
