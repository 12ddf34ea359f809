"""Unknown commands, and the help of plugins: octod runs them (row L39), on the caller's own streams."""

import sys
from collections.abc import Sequence

from gitreceive import wire
from octo.cli.session import Session
from octo.errors import OctoError, Unavailable


def run(session: Session, words: Sequence[str], *, help: bool = False) -> int | None:
    """The exit code of the plugin that knew the words; None when none did, or the caller may not use them.

    help: every plugin is to say what it can do.
    """
    try:
        promised = session.api.post("/plugins", {"words": list(words), "help": help})
    except OctoError:  # no octod, or a key: for them it is an unknown command
        return None
    if not promised:
        return None
    sys.stdout.flush()
    message = wire.pack("plugin", {"secret": promised["attach_secret"]}, [])
    try:
        answer = wire.call(promised["attach_url"], message, [0, 1, 2])
    except OSError as error:
        raise Unavailable(f"cannot run the plugins: {error.strerror}", hint="Run: octo doctor") from None
    kind, _, number = answer.partition(" ")
    if kind == "unknown":
        return None
    if kind != "exit" or not number.isdecimal():
        raise Unavailable("cannot tell how the plugin ended: octod hung up")
    return min(int(number), 255)
