"""apps, apps:create, apps:info, apps:destroy, apps:rename."""

import os
import sys
from enum import StrEnum
from typing import Annotated

import typer

from octo.cli import text, words
from octo.cli.client import Json, url
from octo.cli.session import api, session
from octo.cli.tree import App, AppWord, As, Format, command, word
from octo.errors import Usage
from octo.model import app_name

GROUP = "Apps"


class Listing(StrEnum):
    TEXT = "text"
    JSON = "json"
    NAMES = "names"


@command("apps", GROUP)
def every(
    as_: Annotated[
        Listing,
        typer.Option("--format", metavar="text|json|names", help="names: one name a line.", show_default=False),
    ] = Listing.TEXT,
) -> None:
    """List the apps."""
    if as_ is Listing.NAMES:
        for app in api().get("/apps?names=1"):
            text.line(app["name"])
        return
    apps = api().get("/apps")
    if as_ is Listing.JSON:
        text.show_json(apps)
        return
    rows = [(a["name"], release(a), a.get("web_url")) for a in apps]
    text.table(("NAME", "RELEASE", "URL"), rows, empty="There are no apps yet. Make one: octo apps:create NAME")


def release(document: Json) -> str:
    """The release that a document refers to, as v3."""
    found = document.get("release")
    version = found.get("version") if isinstance(found, dict) else found
    return f"v{version}" if version else ""


@command("apps:create", GROUP)
def create(name: Annotated[str, word("NAME")], as_: As = Format.TEXT) -> None:
    """Make an app."""
    made = api().post("/apps", {"name": app_name(name)})
    if as_ is Format.JSON:
        text.show_json(made)
        return
    text.line(f"Created {made['name']}: {made.get('web_url') or ''}".rstrip(": "))
    if made.get("git_url"):
        text.line(f"Push to it: git remote add octo {made['git_url']} && git push octo main")


@command("apps:info", GROUP)
def info(app_word: AppWord = None, app: App = "", as_: As = Format.TEXT) -> None:
    """Show one app: where it is, who owns it, what runs."""
    found = api().get(url("apps", session().app(words.alone(app, app_word))))
    if as_ is Format.JSON:
        text.show_json(found)
        return
    text.pairs(
        {
            "name": found["name"],
            "url": found.get("web_url"),
            "domains": ", ".join(found.get("domains") or ()),
            "containers": found.get("containers"),
            "source": found.get("git_url"),
            "branch": _branch(found),
            "commit": (found.get("source") or {}).get("commit"),
            "release": release(found),
            "stack": (found.get("stack") or {}).get("name"),
            "slug": text.size(found["slug_size"]) if found.get("slug_size") else "",
            "stopped": "yes" if found.get("stopped") else "",
            "owner": (found.get("owner") or {}).get("email"),
            "created": text.when(found.get("created_at")),
            "released": text.when(found.get("released_at")),
            "removed": text.when(found.get("ends_at")),
        }
    )


def _branch(found: Json) -> str:
    """Of an app that a branch of another one has: which."""
    parent = found.get("parent")
    return f"{found['branch']} of {parent['name']}" if parent else ""


@command("apps:destroy", GROUP)
def destroy(
    app_word: AppWord = None,
    app: App = "",
    confirm: Annotated[str, typer.Option("--confirm", metavar="APP", help="The name again.", show_default=False)] = "",
    volumes: Annotated[bool, typer.Option("--volumes", help="Remove its volumes and what they hold, too.")] = False,
) -> None:
    """Remove an app for ever: code, config, domains, releases, its branches' apps.

    Its volumes stay, unless --volumes is said.
    """
    name = session().app(words.alone(app, app_word))
    path = url("apps", name)
    if not confirm:
        confirm = _ask(name, path)
    if confirm != name:
        raise Usage(f'cannot destroy "{name}": the name given again differs', hint=f"Add: --confirm {name}")
    gone = api().delete(path + ("?volumes=1" if volumes else "")) or {}
    text.line(f"Destroyed {name}{_and(gone.get('branches'))}.")
    if gone.get("volumes_kept"):
        text.line(f"Its volumes stay: {', '.join(gone['volumes_kept'])}. Remove them: octo volumes:destroy {name}")


def _ask(name: str, path: str) -> str:
    """Have the name typed in."""
    if not os.isatty(0):
        raise Usage(f'cannot destroy "{name}": nobody confirmed it', hint=f"Add: --confirm {name}")
    own = _and(api().get(f"{path}/branches"))  # so that nobody types the name of an app that is not there, too
    sys.stderr.write(f" !     This removes {name}{own} with code, config, domains and releases, for ever.\n")
    sys.stderr.write("       Type its name to go on: ")
    sys.stderr.flush()
    return sys.stdin.readline().strip()


def _and(branches: Json) -> str:
    """The apps that go with it."""
    names = [each["name"] for each in branches or []]
    return f" and its branches' {', '.join(names)}" if names else ""


@command("apps:rename", GROUP)
def rename(names: Annotated[list[str], word("[OLD] NEW")], app: App = "", as_: As = Format.TEXT) -> None:
    """Give an app another name. One word alone is the new name."""
    named, left = words.split(app, names, words.before_others)
    words.at_most(1, left)
    old, new = session().app(named), app_name(left[0]) if left else ""
    changed = api().patch(url("apps", old), {"name": new})
    if as_ is Format.JSON:
        text.show_json(changed)
        return
    text.line(f"Renamed {old} to {changed['name']}: {changed.get('web_url') or ''}".rstrip(": "))
    if changed.get("git_url"):
        text.line(f"Change the remote: git remote set-url octo {changed['git_url']}")
