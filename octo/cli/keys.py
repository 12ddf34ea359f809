"""keys, keys:add, keys:remove."""

import os
import select
import stat
from typing import Annotated

from octo.cli import text
from octo.cli.client import url
from octo.cli.session import api, session
from octo.cli.tree import As, Format, command, word
from octo.errors import OctoError
from octo.model import shown, user_name

GROUP = "Keys"
LIMIT = 64 * 1024  # bytes that are read of a key file


@command("keys", GROUP)
def every(as_: As = Format.TEXT) -> None:
    """List the SSH keys that may push, and whose they are."""
    found = api().get("/account/keys")
    if as_ is Format.JSON:
        text.show_json(found)
        return
    rows = [(k["user"], k["fingerprint"], k["public_key"].split(" ")[0], text.when(k.get("created_at"))) for k in found]
    text.table(
        ("NAME", "FINGERPRINT", "TYPE", "ADDED"),
        rows,
        empty="There are no keys yet. Add one: octo keys:add NAME < FILE",
    )


@command("keys:add", GROUP)
def add(
    name: Annotated[str, word("NAME")],
    file: Annotated[str, word("[FILE]")] = "-",
    as_: As = Format.TEXT,
) -> None:
    """Let somebody push: octo keys:add NAME < ~/.ssh/id_ed25519.pub

    FILE must be a whole path that everybody may read; - or nothing is standard input.
    """
    user = user_name(name)
    data = _standard_input() if file == "-" else _file(file, name)
    added = api().post("/account/keys", {"public_key": data.decode("utf-8", "replace"), "user": user})
    if as_ is Format.JSON:
        text.show_json(added)
        return
    text.line(f"Added the key {added['fingerprint']} of {user}.")


def _standard_input() -> bytes:
    if os.isatty(0):
        text.note("Paste the public key, then press Enter and Ctrl-D.")
    data = b""
    while len(data) <= LIMIT:
        select.select([0], [], [])  # it may be non-blocking
        part = os.read(0, LIMIT)
        if not part:
            break
        data += part
    return data


def _file(path: str, name: str) -> bytes:
    """Read what the caller could read anyway: this runs as nobody, in another folder, maybe on another machine."""
    hint = f"Say: octo keys:add {name} < FILE"
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


@command("keys:remove", GROUP)
def remove(needle: Annotated[str, word("NAME|FINGERPRINT")], as_: As = Format.TEXT) -> None:
    """Remove a key by its fingerprint or the beginning of it, or all keys of a name."""
    gone = api().delete(url("account", "keys", needle))
    if as_ is Format.JSON:
        text.show_json(gone)
        return
    for key in gone if isinstance(gone, list) else [gone]:
        text.line(f"Removed the key {key['fingerprint']} of {key['user']}.")
