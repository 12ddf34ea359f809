"""releases, releases:info, rollback."""

from typing import Annotated

from octo.cli import text, words
from octo.cli.client import Json, url
from octo.cli.session import api, session
from octo.cli.tree import App, AppWord, As, Format, change, command, word
from octo.errors import NotFound

GROUP = "Releases"

Given = Annotated[list[str] | None, word("[APP] [vN]")]


@command("releases", GROUP)
def every(app_word: AppWord = None, app: App = "", as_: As = Format.TEXT) -> None:
    """List an app's releases, the newest first."""
    name = session().app(words.alone(app, app_word))
    found = api().get(url("apps", name, "releases"))
    if as_ is Format.JSON:
        text.show_json(found)
        return
    newest = sorted(found, key=lambda r: int(r["version"]), reverse=True)
    rows = [
        (f"v{r['version']}", _status(r), r.get("description"), who(r), text.when(r.get("created_at"))) for r in newest
    ]
    text.table(("RELEASE", "STATUS", "WHAT", "WHO", "WHEN"), rows, empty=f"{name} has no release yet: push one.")


def _status(release: Json) -> str:
    return "current" if release.get("current") else str(release["status"])


def who(document: Json) -> str:
    user = document.get("user") or {}
    return str(user.get("email") or user.get("name") or "")


@command("releases:info", GROUP)
def info(given: Given = None, app: App = "", as_: As = Format.TEXT) -> None:
    """Show one release, or the one that serves. Without -a a first word that is no vN is the app."""
    named, left = words.split(app, given, words.no_release)
    words.at_most(1, left)
    name = session().app(named)
    found = _one(url("apps", name, "releases"), words.release(left[0]) if left else "", name)
    if as_ is Format.JSON:
        text.show_json(found)
        return
    text.pairs(
        {
            "release": f"v{found['version']}",
            "status": _status(found),
            "what": found.get("description"),
            "who": who(found),
            "when": text.when(found.get("created_at")),
            "commit": found.get("commit"),
            "build": (found.get("slug") or {}).get("id"),
            "image": found.get("image"),
            "reason": found.get("reason"),
        }
        | {f"process {kind}": command or "the image's own" for kind, command in (found.get("processes") or {}).items()}
        | {f"took {step}": f"{seconds:.1f} s" for step, seconds in (found.get("took") or {}).items()}
    )


def _one(path: str, number: str, app: str) -> Json:
    if number:
        return api().get(f"{path}/{number}")
    every = sorted(api().get(path), key=lambda r: int(r["version"]))
    if not every:
        raise NotFound(f'cannot show a release: "{app}" has none yet', hint="Push one.")
    return next((r for r in every if r.get("current")), every[-1])


@command("rollback", GROUP)
def rollback(given: Given = None, app: App = "", as_: As = Format.TEXT) -> None:
    """Serve an older release again: vN, or the one before. Without -a a first word that is no vN is the app."""
    named, left = words.split(app, given, words.no_release)
    words.at_most(1, left)
    name = session().app(named)
    body = {"release": f"v{words.release(left[0])}"} if left else {}
    change("POST", url("apps", name, "releases"), body, as_, done=f"Rolled {name} back.")
