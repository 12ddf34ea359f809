"""octohost's `move:sites`: the bare repositories of another host, fetched over ssh, each imported.

As tars and by ssh alone: neither host needs more. The other host's words are text from outside.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

from octo import process
from octo.daemon.importing import Importer
from octo.errors import OctoError, Unavailable, Usage
from octo.model import AppName, app_name, shown
from octo.ports import Console

FOLDER = "/home/git"
SUFFIX = ".git"
UNREACHED = 255  # the exit code of ssh itself
_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,100}\.git")
_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9.:_-]{0,252}")
_USER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")
PATIENCE = ("BatchMode=yes", "ConnectTimeout=15", "ServerAliveInterval=15", "ServerAliveCountMax=4")


@dataclass(frozen=True)
class Elsewhere:
    """Another host, as root here reaches it by ssh. config: an ssh_config file in place of root's own, or ""."""

    host: str
    user: str
    config: str = ""
    folder: str = FOLDER

    def __post_init__(self) -> None:
        if not _HOST.fullmatch(self.host):
            raise Usage(f"cannot reach {shown(self.host)}: it is no host", hint="Give an address or a host name.")
        if not _USER.fullmatch(self.user):
            raise Usage(f"cannot reach {self.host} as {shown(self.user)}: that is no user name")

    def argv(self, command: str) -> Sequence[str]:
        """command: for the shell over there; of words that need no quotes."""
        options = [word for option in PATIENCE for word in ("-o", option)]
        file = ["-F", self.config] if self.config else []
        return ["ssh", *file, *options, "-l", self.user, "--", self.host, command]

    def repositories(self) -> Sequence[str]:
        """Names of the bare repositories, sorted. Raises Unavailable."""
        done = process.run(self.argv(f"ls -1 {self.folder}"), timeout=120)
        if done.code:
            raise self._unreached(done.err)
        names = done.out.decode("utf-8", "replace").splitlines()
        return sorted(name for name in names if _REPOSITORY.fullmatch(name) and ".." not in name)

    def tar(self, name: str, writer: int) -> None:
        """Write one of `repositories` as a tar, and close `writer`. Raises Unavailable."""
        said = os.memfd_create("ssh")
        try:
            with os.fdopen(writer, "wb") as pipe:
                argv = self.argv(f"tar -C {self.folder}/{name} -cf - .")
                running = process.spawn(argv, stdout=pipe.fileno(), stderr=said)
            if running.wait() not in (0, 1):  # 1: a file changed meanwhile
                raise self._unreached(os.pread(said, 10_000, 0))
        finally:
            os.close(said)

    def _unreached(self, said: bytes) -> Unavailable:
        lines = said.decode("utf-8", "replace").strip().splitlines()
        why = shown(lines[-1]) if lines else "ssh said nothing"
        hint = f"Try it as root: ssh {self.user}@{self.host} ls {self.folder}"
        return Unavailable(f"cannot read from {self.user}@{self.host}: {why}", hint=hint)


class Moving:
    def __init__(self, importer: Importer, ssh_config: str) -> None:
        self._importer, self._config = importer, ssh_config

    def sites(self, host: str, user: str, console: Console) -> Sequence[str]:
        """Import every app of the other host; one that fails does not stop the others. Returns the apps' names.

        Raises OctoError, after all were tried, when some failed.
        """
        other = Elsewhere(host, user, self._config)
        names = other.repositories()
        outcome: dict[str, str] = {}
        done: list[str] = []
        for number, name in enumerate(names, 1):
            console.step(f"{name.removesuffix(SUFFIX)} ({number} of {len(names)})")
            try:
                outcome[name] = self._one(other, name, console)
                done.append(outcome[name].partition(":")[0])
            except OctoError as error:
                console.error(error.message)
                outcome[name] = f"failed: {error.message}"
        self._summary(other, names, outcome, done, console)
        return done

    def _one(self, other: Elsewhere, name: str, console: Console) -> str:
        problems: list[OctoError] = []

        def source(writer: int) -> None:
            try:
                other.tar(name, writer)
            except OctoError as error:
                problems.append(error)

        try:
            app = self._importer.stream(app_called(name), source, console)
        except OctoError:
            if problems:  # why the tar was cut short says more
                raise problems[0] from None
            raise
        return f"{app.name}: {f'v{app.live} is live' if app.live else 'its code is here, nothing is deployed'}"

    def _summary(
        self,
        other: Elsewhere,
        names: Sequence[str],
        outcome: dict[str, str],
        done: Sequence[str],
        console: Console,
    ) -> None:
        console.step(f"Moved {len(done)} of {len(names)} from {other.user}@{other.host}")
        for name in names:
            console.detail(f"{name.removesuffix(SUFFIX)} -> {outcome[name]}")
        failed = [name.removesuffix(SUFFIX) for name in names if outcome[name].startswith("failed: ")]
        if failed:
            raise OctoError(
                f"cannot move {len(failed)} of {len(names)}: {', '.join(failed)}",
                hint="Run it again: what has come already is not built twice.",
            )


def app_called(repository: str) -> AppName:
    """The name here of a repository of octohost, where names could hold more: Shop_x.y.git becomes shop-x-y.

    Raises Usage.
    """
    name = repository.removesuffix(SUFFIX)
    try:
        return app_name(name)
    except Usage:
        return app_name(re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-"))
