"""builds, builds:info, builds:output, build:cache:purge."""

from typing import Annotated

from octo.cli import text, words
from octo.cli.apps import release
from octo.cli.client import Json, url
from octo.cli.disk import size
from octo.cli.releases import who
from octo.cli.session import api, session
from octo.cli.tree import App, AppWord, As, Format, command, steps, word
from octo.errors import Usage

GROUP = "Builds"

Given = Annotated[list[str], word("[APP] ID")]


@command("builds", GROUP)
def every(app_word: AppWord = None, app: App = "", as_: As = Format.TEXT) -> None:
    """List an app's builds, the newest first."""
    name = session().app(words.alone(app, app_word))
    found = api().get(url("apps", name, "builds"))
    if as_ is Format.JSON:
        text.show_json(found)
        return
    newest = sorted(found, key=lambda b: str(b["created_at"]), reverse=True)
    rows = [
        (b["id"], b["status"], _commit(b)[:8], release(b), _took(b), who(b), text.when(b["created_at"])) for b in newest
    ]
    head = ("BUILD", "STATUS", "COMMIT", "RELEASE", "TOOK", "WHO", "WHEN")
    text.table(head, rows, empty=f"{name} has no build yet: push one.")


def _commit(build: Json) -> str:
    return str((build.get("source_blob") or {}).get("version") or "")


def _took(build: Json) -> str:
    return f"{build['took']:.1f} s" if build.get("took") is not None else ""


@command("builds:info", GROUP)
def info(given: Given, app: App = "", as_: As = Format.TEXT) -> None:
    """Show one build. Without -a the first of two words is the app."""
    found = api().get(_path(app, given))
    if as_ is Format.JSON:
        text.show_json(found)
        return
    text.pairs(
        {
            "build": found["id"],
            "status": found["status"],
            "reason": found.get("reason"),
            "commit": _commit(found),
            "release": release(found),
            "took": _took(found),
            "who": who(found),
            "when": text.when(found.get("created_at")),
        }
    )


@command("builds:output", GROUP)
def output(given: Given, app: App = "") -> None:
    """Print what a build printed. Without -a the first of two words is the app."""
    for line in api().text(_path(app, given) + "/output"):
        text.raw(line, guarded=session().guarded)


@command("build:cache:purge", GROUP)
def purge(app_word: AppWord = None, app: App = "", as_: As = Format.TEXT) -> None:
    """Empty the cache of an app's builds: the next one fetches and makes everything anew."""
    name = session().app(words.alone(app, app_word))
    gone = api().stream("DELETE", url("apps", name, "build-cache"), None, steps(as_).tell)
    if as_ is Format.JSON:
        text.show_json(gone)
        return
    text.line(
        f"Emptied the build cache of {name}: {size(gone['freed'])}."
        if gone["freed"]
        else f"The build cache of {name} was empty."
    )


def _path(app: str, given: list[str]) -> str:
    named, left = words.split(app, given, words.before_others)
    words.at_most(1, left)
    if not left:
        raise Usage("cannot tell which build: none is named", hint="See: octo builds")
    return url("apps", session().app(named), "builds", left[0])
