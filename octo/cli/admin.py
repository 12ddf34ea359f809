"""status, doctor, version, help."""

import sys
from typing import Annotated

import click
import typer

from octo import __version__
from octo.cli import text
from octo.cli.client import Json, Unreachable
from octo.cli.session import api, session
from octo.cli.tree import As, Format, Tree, command, word
from octo.errors import OctoError

GROUP = "Server"
COLOURS = {"OK": text.GREEN, "DOWN": text.RED}


@command("status", GROUP)
def status(
    all_: Annotated[bool, typer.Option("--all", help="Those too that serve nobody by HTTP.")] = False,
    as_: As = Format.TEXT,
) -> None:
    """Say of every app whether it serves: OK, DOWN or STOPPED."""
    found = [
        a for a in api().get("/octo/status") if all_ or (a.get("routed", True) and not a["name"].endswith("_data"))
    ]
    if as_ is Format.JSON:
        text.show_json(found)
        return
    for app in found:
        state = text.cell(app["status"])
        text.line(f"{text.cell(app['name'])}: {text.coloured(state, COLOURS.get(state, text.YELLOW))}")


@command("doctor", GROUP)
def doctor(as_: As = Format.TEXT) -> int:
    """Look whether the server is in order, and say what to do where it is not."""
    found = _examine()
    healthy = all(check["ok"] for check in found)
    if as_ is Format.JSON:
        text.show_json(found)
        return 0 if healthy else 1
    for check in found:
        word = text.coloured("ok  ", text.GREEN) if check["ok"] else text.coloured("FAIL", text.RED)
        text.line(f"{word} {text.cell(check['check'])}: {text.cell(check['detail'])}")
        if not check["ok"] and check.get("hint"):
            text.line(f"     {text.cell(check['hint'])}")
    return 0 if healthy else 1


def _examine() -> Json:
    """octod's findings; without octod, and in place, our own."""
    try:
        return api().get("/octo/doctor")
    except Unreachable as error:
        settings = session().settings
        if settings is None:
            raise
        from octo.cli import checks  # only ever needed in place

        return checks.examine(settings, error, session().problem)


@command("version", GROUP)
def version(as_: As = Format.TEXT) -> None:
    """Print octo's version, and those of the parts that octod leans on."""
    found: Json = {"octo": __version__}
    try:
        found |= api().get("/octo/version")
    except OctoError as error:  # it is still the right answer to the question
        if as_ is Format.TEXT and sys.stderr.isatty():
            text.note(f"({error.message})")
    if as_ is Format.JSON:
        text.show_json(found)
        return
    for name, number in found.items():
        text.line(f"{text.cell(name)} {text.cell(number)}")


@command("help", GROUP)
def help_(ctx: typer.Context, name: Annotated[str, word("[COMMAND]")] = "") -> None:
    """Show the commands, or one command's words and options."""
    root = ctx.find_root()
    tree = root.command
    assert isinstance(tree, Tree)
    if not name:
        text.line(tree.overview().rstrip("\n"))
        return
    found = tree.get_command(root, name)
    if found is None:
        raise tree.unknown(name)
    with click.Context(found, info_name=found.name, parent=root) as sub:
        text.line(found.get_help(sub))
