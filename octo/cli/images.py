"""start, push, pull: apps and their images."""

from typing import Annotated

import typer

from octo.cli import words
from octo.cli.client import url
from octo.cli.session import session
from octo.cli.tree import App, AppWord, As, Format, change, command, word
from octo.model import app_name, quantity

GROUP = "Processes"


@command("start", GROUP)
def start(
    given: Annotated[list[str], word("NAME [N]")],
    image: Annotated[bool, typer.Option("--image", help="Deploy the image of its name, whatever runs now.")] = False,
    as_: As = Format.TEXT,
) -> None:
    """Start an app that is stopped, or one from the image of its name.

    That image is BUILD_ORG/NAME, as octoprod/shop. N: containers of web.
    """
    words.at_most(2, given)
    name = app_name(given[0])
    body = {"name": name, "image": image, "quantity": quantity(given[1]) if len(given) > 1 else 0}
    change("POST", "/octo/start", body, as_, done=f"Started {name}.")


@command("push", "Releases")
def push(app_word: AppWord = None, app: App = "", as_: As = Format.TEXT) -> None:
    """Put the image of the release that serves into the private registry."""
    name = session().app(words.alone(app, app_word))
    change("POST", url("apps", name, "actions", "push"), None, as_)


@command("pull", "Releases")
def pull(name: Annotated[str, word("NAME")], as_: As = Format.TEXT) -> None:
    """Fetch the image of an app's name from the private registry. Serve it: octo start NAME --image"""
    change("POST", "/octo/pull", {"name": app_name(name)}, as_)
