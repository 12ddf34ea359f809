"""Run a program: the only subprocess call of octo."""

import logging
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from octo.errors import Unavailable

log = logging.getLogger(__name__)

Program = subprocess.Popen[bytes]
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Finished:
    code: int
    out: bytes
    err: bytes

    @property
    def text(self) -> str:
        """Both outputs, for a message."""
        return (self.out + self.err).decode("utf-8", "replace").strip()


def run(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    user: int | None = None,
    timeout: float = 60,
    input: bytes = b"",
) -> Finished:
    """Run to the end with an environment of PATH and `env` alone, and `input` on stdin.

    user: uid and gid to run as, without supplementary groups. timeout: seconds.
    Raises Unavailable when the program is missing or does not end.
    """
    try:
        done = subprocess.run(  # noqa: S603
            list(argv),
            env={"PATH": PATH, **(env or {})},
            **({"input": input} if input else {"stdin": subprocess.DEVNULL}),
            capture_output=True,
            timeout=timeout,
            check=False,
            close_fds=True,
            **_as_user(user),
        )
    except FileNotFoundError:
        raise Unavailable(f'cannot run "{argv[0]}": it is not installed', hint="Run ./setup again.") from None
    except subprocess.TimeoutExpired:
        raise Unavailable(f'cannot wait for "{argv[0]}" any longer: it ran {timeout:.0f} s') from None
    log.debug("%s -> %d", shlex.join(argv), done.returncode)
    return Finished(done.returncode, done.stdout, done.stderr)


def spawn(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    user: int | None = None,
    groups: Sequence[int] | None = None,
    pass_fds: Sequence[int] = (),
    stdin: int = subprocess.DEVNULL,
    stdout: int | None = None,
    stderr: int | None = None,
    cwd: Path | str = "/",
) -> subprocess.Popen[bytes]:
    """Start a program of its own session; the caller ends it. Raises Unavailable when it is missing.

    groups: with `user`, the groups that it has, its own first; None: the one of the same number alone.
    """
    try:
        return subprocess.Popen(  # noqa: S603
            list(argv),
            env={"PATH": PATH, **(env or {})},
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            pass_fds=tuple(pass_fds),
            cwd=cwd,
            close_fds=True,
            start_new_session=True,
            **_as_user(user, groups),
        )
    except FileNotFoundError:
        raise Unavailable(f'cannot run "{argv[0]}": it is not installed', hint="Run ./setup again.") from None


def _as_user(user: int | None, groups: Sequence[int] | None = None) -> Mapping[str, Any]:
    own, *others = groups or (user,)
    return {} if user is None else {"user": user, "group": own, "extra_groups": others}
