"""volumes, volumes:destroy."""

from typing import Annotated

import typer

from octo.cli import text
from octo.cli.client import url
from octo.cli.session import api
from octo.cli.tree import As, Format, command, word
from octo.errors import Usage
from octo.model import app_name

GROUP = "Apps"


@command("volumes", GROUP)
def every(as_: As = Format.TEXT) -> None:
    """List the volumes of data apps, also of those that have gone."""
    found = api().get("/volumes")
    if as_ is Format.JSON:
        text.show_json(found)
        return
    rows = [(v["app"], v["path"], v["owner"], "" if v["app_exists"] else "destroyed", v["name"]) for v in found]
    text.table(("APP", "PATH", "OWNER", "APP IS", "NAME"), rows, empty="There are no volumes.")


@command("volumes:destroy", GROUP)
def destroy(
    app: Annotated[str, word("APP")],
    confirm: Annotated[str, typer.Option("--confirm", metavar="APP", help="The name again.", show_default=False)] = "",
) -> None:
    """Remove the volumes of an app, or of one that has gone, with all that they hold."""
    name = app_name(app)
    if confirm != name:
        raise Usage(f'cannot remove the volumes of "{name}": nobody confirmed it', hint=f"Add: --confirm {name}")
    for volume in api().delete(url("volumes", name)):
        text.line(f"Removed {volume['path']} of {name}.")
