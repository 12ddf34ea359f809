"""apps:allow, apps:deny."""

from collections.abc import Sequence
from typing import Annotated

from octo.cli import text, words
from octo.cli.apps import GROUP
from octo.cli.client import Json, url
from octo.cli.session import api, session
from octo.cli.tree import App, As, Format, command, steps, word
from octo.errors import Usage
from octo.options import allowance

Given = Annotated[list[str] | None, word("[APP] [mount=/PATH | port=NUMBER | link=APP]...")]


@command("apps:allow", GROUP)
def allow(given: Given = None, app: App = "", as_: As = Format.TEXT) -> None:
    """Let an app have a folder or a port of the host, or link to a foreign app.

    For the operator alone. Without anything to allow it shows what is allowed. Without -a a first word without = is
    the app.
    """
    path, wanted = _read(app, given)
    _show(_change(path, {"allow": wanted}, as_) if wanted else api().get(path), as_)


@command("apps:deny", GROUP)
def deny(given: Given = None, app: App = "", as_: As = Format.TEXT) -> None:
    """Take back what apps:allow gave.

    What runs with it goes on until it is started anew. For the operator alone.
    """
    path, wanted = _read(app, given)
    if not wanted:
        raise Usage("cannot deny: nothing is named", hint="Say: octo apps:deny APP mount=/srv/photos")
    _show(_change(path, {"deny": wanted}, as_), as_)


def _read(app: str, given: list[str] | None) -> tuple[str, Sequence[str]]:
    named, left = words.split(app, given, words.without_equals)
    return url("apps", session().app(named), "allowances"), [allowance(each) for each in left]


def _change(path: str, body: Json, as_: Format) -> Json:
    return api().stream("PATCH", path, body, steps(as_).tell)


def _show(allowed: Json, as_: Format) -> None:
    if as_ is Format.JSON:
        text.show_json(allowed)
        return
    text.table(("KIND", "WHAT"), [(a["kind"], a["value"]) for a in allowed], empty="Nothing is allowed.")
