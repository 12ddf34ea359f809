"""disk."""

from octo.cli import text, words
from octo.cli.client import Json, url
from octo.cli.session import api, session
from octo.cli.tree import App, AppWord, As, Format, command

GROUP = "Server"
COLUMNS = ("images", "slugs", "cache", "repository", "builds", "total")


@command("disk", GROUP)
def disk(app_word: AppWord = None, app: App = "", as_: As = Format.TEXT) -> None:
    """Explain where the room on the disk went: one app, or octo as a whole."""
    named = words.alone(app, app_word)
    found = api().get(url("apps", session().app(named), "disk") if named else "/octo/disk")
    if as_ is Format.JSON:
        text.show_json(found)
    elif named:
        text.pairs({column: text.size(found[column]) for column in COLUMNS})
    else:
        _whole(found)


def _whole(found: Json) -> None:
    largest = sorted(found["apps"], key=lambda a: -a["total"])
    rows = [(a["app"]["name"], *(text.size(a[column]) for column in COLUMNS)) for a in largest]
    text.table(("APP", *(c.upper() for c in COLUMNS)), rows, empty="There are no apps yet.")
    text.line()
    parts = [(p["name"], text.size(p["bytes"]), p["detail"]) for p in found["octo"]]
    text.table(("OCTO", "TAKES", ""), [*parts, ("together", text.size(found["total"]), "")], empty="")
    text.line()
    for room in found["rooms"]:
        text.line(
            f"{text.cell(room['path'])}: {text.size(room['free'])} of {text.size(room['total'])} free;"
            f" a push needs {text.size(room['needed'])}."
        )
        if room["lacks"]:
            text.line(f" !     Pushes are refused: {text.cell(room['lacks'])}.")
