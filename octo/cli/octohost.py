"""reload, kill, remove, clean, and the names of octohost for what octo does by itself."""

from typing import Annotated

import typer

from octo.cli import text, words
from octo.cli.client import ApiError, Json, url
from octo.cli.session import api, session
from octo.cli.tree import App, AppWord, As, Format, change, command, word
from octo.errors import NoSuchApp
from octo.model import app_name

PROCESSES, APPS, SERVER = "Processes", "Apps", "Server"


@command("reload", PROCESSES)
def reload(app_word: AppWord = None, app: App = "", as_: As = Format.TEXT) -> None:
    """Start an app anew with its config as it is stored now; no request is dropped."""
    name = session().app(words.alone(app, app_word))
    change("POST", url("apps", name, "actions", "reload"), None, as_, done=f"Reloaded {name}.")


@command("kill", PROCESSES)
def kill(
    given: Annotated[list[str], word("[APP] CONTAINER_ID")],
    app: App = "",
    as_: As = Format.TEXT,
) -> None:
    """End one container of an app; octo starts another in its place.

    It is named by its id or the beginning of it, by its name, or by its place as web.1.
    """
    named, left = words.split(app, given, words.before_others)
    words.at_most(1, left)
    name = session().app(named)
    path = url("apps", name, "actions", "kill")
    ended = change("POST", path, {"container": left[0] if left else ""}, as_)
    if as_ is Format.TEXT:
        text.line(f"Killed {ended['name']}. Another takes its place; to have none, say: octo ps:stop {name}")


@command("remove", APPS)
def remove(
    name: Annotated[str, word("APP")],
    config: Annotated[bool, typer.Option("--config", help="Remove its config too.")] = False,
) -> None:
    """Remove an app at once, unasked; its config stays.

    Code, containers, domains and releases go. The config is there again for an app of that name. apps:destroy
    removes it too, and asks first.
    """
    app = app_name(name)
    kept = 0
    try:
        if config:
            api().delete(url("apps", app))
        else:
            kept = api().post(url("apps", app, "actions", "remove"))["config"]
    except ApiError as error:
        if error.exit_code == NoSuchApp.exit_code:
            raise NoSuchApp("There is no source with that name.", hint="See: octo apps") from None
        raise
    text.line(f"Removed the source for {app}.")
    if kept:
        text.note(f"Its config is kept. To remove that too, say: octo remove:config {app}")


@command("clean", SERVER)
def clean(as_: As = Format.TEXT) -> None:
    """Remove octo's ended containers and the images of no app; nothing of others."""
    found = api().post("/octo/clean")
    if as_ is Format.JSON:
        text.show_json(found)
        return
    text.line("Cleaning old exited containers.")
    _listed(found["containers"]["removed"], "No exited containers to delete.")
    text.line("Showing remaining containers.")
    _listed(found["containers"]["remaining"])
    text.line("Cleaning out all unused images.")
    _listed(found["images"]["removed"], "No unused images to delete.")
    text.line("Showing remaining images.")
    _listed(found["images"]["remaining"])


def _listed(names: Json, none: str = "") -> None:
    for name in names:
        text.line(text.cell(name))
    if none and not names:
        text.line(none)


KEPT_NAMES = {
    "remove:consul_watch": "There is no watch of {app} to remove: octo itself follows what Consul says.",
    "remove:nginx_config": "There is no file of {app} alone to remove: octo makes nginx's files from its routes. "
    "To take the app out of them, say: octo config:set {app}/NO_HTTP_PROXY 1",
    "add:upstart": "{app} starts with the machine already: the engine starts its containers, octod sees to the rest.",
    "remove:upstart": "{app} has no boot entry of its own. To keep it from starting, say: octo ps:stop {app}",
}


def _kept(name: str, says: str) -> None:
    def tell(app: Annotated[str, word("APP")]) -> None:
        found = api().get(url("apps", app_name(app)))
        text.line(says.format(app=found["name"]))

    tell.__doc__ = f"Kept from octohost, changes nothing. {says.partition('. ')[0].format(app='an app')}"
    command(name, SERVER, hidden=True)(tell)


for _name, _says in KEPT_NAMES.items():
    _kept(_name, _says)
