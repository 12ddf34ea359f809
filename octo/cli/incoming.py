"""What comes in from the caller: standard input, or a file that everybody may read."""

import os
import select
import stat

from octo.cli import text
from octo.cli.session import session
from octo.errors import OctoError, Usage
from octo.model import shown

LIMIT = 64 * 1024  # bytes that are read of a file
PIECE = 64 * 1024


def standard_input(*, prompt: str, limit: int = LIMIT) -> bytes:
    """All of it. One byte more than `limit` when there is more: the reader then refuses it."""
    if os.isatty(0):
        text.note(f"{prompt}, then press Enter and Ctrl-D.")
    data = b""
    while len(data) <= limit:
        select.select([0], [], [])  # it may be non-blocking
        part = os.read(0, PIECE)
        if not part:
            break
        data += part
    return data[: limit + 1]


def file(path: str, *, hint: str) -> bytes:
    """Read what the caller could read anyway: this runs as nobody, in another folder, maybe on another machine."""
    if session().remote or (session().settings is None and not path.startswith("/")):
        raise OctoError(f"cannot read {shown(path)} here: octod runs in another folder than you", hint=hint)
    try:
        number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(number).st_mode):
                raise OctoError(f"cannot read {shown(path)}: it is no file", hint=hint)
            return os.read(number, LIMIT)
        finally:
            os.close(number)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else "it is no path"
        raise OctoError(f"cannot read {shown(path)}: {why}", hint=hint) from None


def words(path: str, *, prompt: str, hint: str, limit: int = LIMIT) -> str:
    """The text of a file, or of standard input for "-". Raises Usage for what is too long or no text."""
    data = standard_input(prompt=prompt, limit=limit) if path == "-" else file(path, hint=hint)
    if len(data) > limit:
        raise Usage(f"cannot read it: it is longer than {text.size(limit)}")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise Usage("cannot read it: it is not UTF-8", hint=hint) from None
