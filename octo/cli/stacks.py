"""stack:list, stack:build, stack:remove."""

from typing import Annotated

import typer

from octo.cli import text
from octo.cli.client import Json, url
from octo.cli.session import api
from octo.cli.tree import As, Format, command, steps, word

GROUP = "Server"


@command("stack:list", GROUP)
def every(as_: As = Format.TEXT) -> None:
    """List the stacks that apps build and run on, and older versions still needed."""
    found = api().get("/stacks?all=true")
    if as_ is Format.JSON:
        text.show_json(found)
        return
    rows = [
        (
            s["name"] + (" *" if s["default"] else ""),
            s["id"],
            _state(s),
            s["suite"],
            s["packages"],
            text.size(s["size"]),
        )
        for s in found
    ]
    head = ("STACK", "VERSION", "", "SUITE", "EXTRA PACKAGES", "SIZE")
    text.table(head, rows, empty="There is no stack yet. Make the default one: octo stack:build")


def _name(stack: Json) -> str:
    return f"{stack['name']}{' *' if stack['default'] else ''}"


def _state(stack: Json) -> str:
    return "current" if stack["state"] == "public" else "kept"


@command("stack:build", GROUP)
def build(
    name: Annotated[str, word("[NAME]")] = "",
    suite: Annotated[
        str | None, typer.Option(metavar="SUITE", help="Debian or Ubuntu, as in bookworm.", show_default=False)
    ] = None,
    mirror: Annotated[str | None, typer.Option(metavar="URL", help="Where it comes from.", show_default=False)] = None,
    packages: Annotated[
        str | None, typer.Option(metavar="A,B", help="Packages beside octo's own list.", show_default=False)
    ] = None,
    as_: As = Format.TEXT,
) -> None:
    """Make the newest version of a stack, with the security updates.

    Without NAME it is the default one; apps take another one by config:set STACK=NAME. What is not given is as it was
    before; '' is as the server's settings say.
    """
    given = {"suite": suite, "mirror": mirror, "packages": packages}
    body = {key: value for key, value in given.items() if value is not None}
    made = api().stream("POST", "/stacks", body | ({"name": name} if name else {}), steps(as_).tell)
    if as_ is Format.JSON:
        text.show_json(made)
        return
    text.line(f"=====> {made['name']} is {made['id']}: {made['suite']}, {text.size(made['size'])}")


@command("stack:remove", GROUP)
def remove(id: Annotated[str, word("ID")], as_: As = Format.TEXT) -> None:
    """Remove one version of a stack that nothing needs."""
    gone = api().delete(url("stacks", id))
    if as_ is Format.JSON:
        text.show_json(gone)
        return
    text.line(f"Removed {gone['id']}.")
