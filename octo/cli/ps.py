"""ps, ps:scale, ps:restart, ps:stop, ps:start."""

from typing import Annotated

from octo.cli import text, words
from octo.cli.apps import release
from octo.cli.client import url
from octo.cli.session import api, session
from octo.cli.tree import App, AppWord, As, Format, change, command, word
from octo.model import process_name

GROUP = "Processes"


@command("ps", GROUP)
def every(app_word: AppWord = None, app: App = "", as_: As = Format.TEXT) -> None:
    """List an app's running containers."""
    name = session().app(words.alone(app, app_word))
    found = api().get(url("apps", name, "dynos"))
    if as_ is Format.JSON:
        text.show_json(found)
        return
    rows = [
        (d["name"], d["state"], release(d), d.get("address"), text.when(d.get("updated_at")), d.get("command"))
        for d in found
    ]
    head = ("NAME", "STATE", "RELEASE", "ADDRESS", "SINCE", "COMMAND")
    text.table(head, rows, empty=f"Nothing of {name} runs.")


@command("ps:scale", GROUP)
def scale(
    given: Annotated[list[str] | None, word("[APP] [TYPE=N...]")] = None,
    app: App = "",
    as_: As = Format.TEXT,
) -> None:
    """Say how many containers of each process type run, as in web=2 worker=1.

    Without a TYPE=N it shows the numbers. Without -a a first word without = is the app.
    """
    named, left = words.split(app, given, words.without_equals)
    name = session().app(named)
    path = url("apps", name, "formation")
    if left:
        updates = words.scales(left)
        for update in updates:
            process_name(str(update["type"]))
        change("PATCH", path, {"updates": updates}, as_, done=f"Scaled {name}: {', '.join(left)}.")
        return
    found = api().get(path)
    if as_ is Format.JSON:
        text.show_json(found)
        return
    rows = [(f["type"], f["quantity"], f.get("command")) for f in found]
    text.table(("TYPE", "QUANTITY", "COMMAND"), rows, empty=f"{name} has no release yet: push one.")


@command("ps:restart", GROUP)
def restart(
    given: Annotated[list[str] | None, word("[APP [TYPE]]")] = None,
    app: App = "",
    as_: As = Format.TEXT,
) -> None:
    """Replace the containers of an app, or of one process type; no request is dropped.

    Without -a the first word is the app, so a type alone needs -a: octo ps:restart -a shop web
    """
    named, left = words.split(app, given, words.always)
    words.at_most(1, left)
    name = session().app(named)
    kind = [process_name(left[0])] if left else []
    change("DELETE", url("apps", name, "dynos", *kind), None, as_, done=f"Restarted {name}.")


@command("ps:stop", GROUP)
def stop(app_word: AppWord = None, app: App = "", as_: As = Format.TEXT) -> None:
    """Stop all containers of an app until ps:start or the next push."""
    name = session().app(words.alone(app, app_word))
    change("POST", url("apps", name, "actions", "stop"), None, as_, done=f"Stopped {name}.")


@command("ps:start", GROUP)
def start(app_word: AppWord = None, app: App = "", as_: As = Format.TEXT) -> None:
    """Start an app that was stopped."""
    name = session().app(words.alone(app, app_word))
    change("POST", url("apps", name, "actions", "start"), None, as_, done=f"Started {name}.")
