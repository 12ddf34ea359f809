"""keys, keys:add, keys:remove."""

from typing import Annotated

from octo.cli import incoming, text
from octo.cli.client import url
from octo.cli.session import api
from octo.cli.tree import As, Format, command, word
from octo.model import user_name

GROUP = "Keys"


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
    hint = f"Say: octo keys:add {name} < FILE"
    stdin = file == "-"
    data = incoming.standard_input(prompt="Paste the public key") if stdin else incoming.file(file, hint=hint)
    added = api().post("/account/keys", {"public_key": data.decode("utf-8", "replace"), "user": user})
    if as_ is Format.JSON:
        text.show_json(added)
        return
    text.line(f"Added the key {added['fingerprint']} of {user}.")


@command("keys:remove", GROUP)
def remove(needle: Annotated[str, word("NAME|FINGERPRINT")], as_: As = Format.TEXT) -> None:
    """Remove a key by its fingerprint or the beginning of it, or all keys of a name."""
    gone = api().delete(url("account", "keys", needle))
    if as_ is Format.JSON:
        text.show_json(gone)
        return
    for key in gone if isinstance(gone, list) else [gone]:
        text.line(f"Removed the key {key['fingerprint']} of {key['user']}.")
