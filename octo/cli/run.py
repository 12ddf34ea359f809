"""run: a process beside the app, on the caller's own terminal."""

import contextlib
import os
import shlex
import signal
import sys
import termios
import tty
from collections.abc import Iterator
from typing import Annotated

import typer

from gitreceive import wire
from octo.cli import words
from octo.cli.client import Json, url
from octo.cli.session import api, session
from octo.cli.tree import App, command, word
from octo.errors import Unavailable, Usage

GROUP = "Processes"


@command("run", GROUP, context_settings={"allow_interspersed_args": False})
def run(
    given: Annotated[list[str], word("[APP --] COMMAND...")],
    app: App = "",
    no_tty: Annotated[bool, typer.Option("--no-tty", help="Give it no terminal.")] = False,
) -> int:
    """Run a command in a new container of the app's release, on your terminal.

    Its exit code is octo's. One word is given to a shell as it is, several are quoted first.
    octo's options come before the command: octo run -a shop rails console

    Without -a the app is the first word when -- follows it: octo run shop -- rails console
    """
    named, left = words.split(app, given, words.before_dashes)
    left = left[1:] if left[:1] == ["--"] else left
    if not left:
        raise Usage("cannot run nothing", hint="Say: octo run -a APP COMMAND")
    terminal = not no_tty and os.isatty(0) and os.isatty(1)
    asked = {"command": left[0] if len(left) == 1 else shlex.join(left), "attach": True, "tty": terminal}
    if terminal:
        size = os.get_terminal_size(1)
        asked |= {"rows": size.lines, "columns": size.columns}
    made = api().post(url("apps", session().app(named), "dynos"), asked)
    with _raw(terminal):
        answer = _attach(made)
    return _code(answer)


def _attach(made: Json) -> str:
    sys.stdout.flush()
    message = wire.pack("attach", {"secret": made["attach_secret"]}, [])
    try:
        return wire.call(made["attach_url"], message, [0, 1, 2])
    except OSError as error:
        raise Unavailable(f"cannot attach to the process: {error.strerror}", hint="Run: octo doctor") from None


def _code(answer: str) -> int:
    kind, _, number = answer.partition(" ")
    if kind != "exit" or not number.isdecimal():
        raise Unavailable("cannot tell how the command ended: octod hung up")
    return min(int(number), 255)


@contextlib.contextmanager
def _raw(terminal: bool) -> Iterator[None]:
    """Every key goes to the process; the terminal is put back whatever happens but SIGKILL."""
    if not terminal:
        yield
        return
    saved = termios.tcgetattr(0)
    for number in (signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, _leave)
    try:
        tty.setraw(0, termios.TCSADRAIN)
        yield
    finally:
        with contextlib.suppress(termios.error):
            termios.tcsetattr(0, termios.TCSADRAIN, saved)


def _leave(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)
