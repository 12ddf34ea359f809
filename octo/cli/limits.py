"""limits, limits:set, limits:unset."""

from collections.abc import Mapping
from typing import Annotated

from octo.cli import text, words
from octo.cli.client import Json, url
from octo.cli.session import api, session
from octo.cli.tree import App, AppWord, As, Format, command, steps, word
from octo.errors import Usage

GROUP = "Builds"


@command("limits", GROUP)
def every(app_word: AppWord = None, app: App = "", as_: As = Format.TEXT) -> None:
    """Show what an app's builds may take."""
    _show(api().get(_path(words.alone(app, app_word))), as_)


@command("limits:set", GROUP)
def set_(given: Annotated[list[str], word("[APP] LIMIT=VALUE...")], app: App = "", as_: As = Format.TEXT) -> None:
    """Change what an app's builds may take, from the next one on. For the operator alone.

    Sizes as in memory=2G disk=512M, times as in seconds=1800 or seconds=30m. Without -a a first word without = is
    the app.
    """
    named, left = words.split(app, given, words.without_equals)
    wrong = next((w for w in left if "=" not in w), "")
    if wrong or not left:
        why = f'"{wrong[:40]}" has no =' if wrong else "none is named"
        raise Usage(f"cannot set limits: {why}", hint="Say: octo limits:set APP memory=2G")
    _change(named, dict(w.split("=", 1) for w in left), as_)


@command("limits:unset", GROUP)
def unset(given: Annotated[list[str], word("[APP] LIMIT...")], app: App = "", as_: As = Format.TEXT) -> None:
    """Let octo's settings say again what an app's builds may take. For the operator alone.

    Without -a the first of several words is the app.
    """
    named, left = words.split(app, given, words.before_others)
    _change(named, dict.fromkeys(left), as_)


def _path(named: str) -> str:
    return url("apps", session().app(named), "limits")


def _change(named: str, changes: Mapping[str, str | None], as_: Format) -> None:
    _show(api().stream("PATCH", _path(named), changes, steps(as_).tell), as_)


def _show(limits: Json, as_: Format) -> None:
    if as_ is Format.JSON:
        text.show_json(limits)
        return
    rows = [(f["name"], f["text"], "this app" if f["own"] else "all apps", f["description"]) for f in limits]
    text.table(("LIMIT", "VALUE", "SET FOR", "WHAT"), rows, empty="There are no limits.")
