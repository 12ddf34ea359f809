"""builds, builds:info, builds:output, builds:download, build:cache:purge."""

import sys
from collections.abc import Sequence
from typing import Annotated
from urllib.parse import urlencode

import typer

from octo.cli import text, words
from octo.cli.apps import release
from octo.cli.client import Json, url
from octo.cli.releases import who
from octo.cli.session import api, session
from octo.cli.tree import App, AppWord, As, Format, command, steps, word
from octo.errors import NotFound, OctoError, Usage
from octo.slugname import Wanted, readings, slug_name

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
        (
            b["id"],
            b["status"],
            b.get("ref"),
            _commit(b)[:8],
            release(b),
            _slug(b),
            _took(b),
            who(b),
            text.when(b["created_at"]),
        )
        for b in newest
    ]
    head = ("BUILD", "STATUS", "REF", "COMMIT", "RELEASE", "SLUG", "TOOK", "WHO", "WHEN")
    text.table(head, rows, empty=f"{name} has no build yet: push one.")


def _commit(build: Json) -> str:
    return str((build.get("source_blob") or {}).get("version") or "")


def _slug(build: Json) -> str:
    """The size of what `builds:download` fetches."""
    slug = build.get("slug")
    return "" if not slug else text.size(slug["size"]) if slug["size"] else "removed"


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
            "ref": found.get("ref"),
            "commit": _commit(found),
            "slug": _slug(found),
            "slug name": (found.get("slug") or {}).get("name"),
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


# --- slugs ------------------------------------------------------------------------------------------------------------


@command("builds:download", GROUP)
def download(
    given: Annotated[list[str] | None, word("[APP [REF | REF@COMMIT | COMMIT | vN | BUILD]] | SLUG-NAME")] = None,
    app: App = "",
    raw: Annotated[bool, typer.Option("--raw", help="By SSH: standard output is no terminal there.")] = False,
) -> None:
    """Write a build's slug, a .tgz, to standard output.

    As in: octo builds:download shop main > slug.tgz

    Without more words it is the slug of the release that serves. Of several builds it is the newest that has one.
    A slug's name is OWNER/APP/REF/COMMIT, as builds:info shows it, with %2F for a slash in REF.
    """
    _no_terminal(raw)
    name, sought = _sought(app, list(given or []))
    build = _newest(name, sought)
    slug = build.get("slug") or {}
    if slug.get("size"):
        text.note(f"Fetching {slug['name'] or name}, build {build['id']}: {text.size(slug['size'])}")
    for part in api().fetch(url("apps", name, "builds", str(build["id"]), "slug")):
        _write(part)


def _no_terminal(raw: bool) -> None:
    """What a build made may hold anything, sequences that steer a terminal too."""
    how = "octo builds:download APP > slug.tgz"
    if sys.stdout.isatty():
        raise Usage("cannot write a slug to a terminal", hint=f"Send it into a file: {how}")
    if session().remote and not raw:
        raise Usage(
            "cannot see from here whether a terminal is at your end, where a slug must not go",
            hint="Send it into a file and add --raw: ssh ... builds:download APP --raw > slug.tgz",
        )


def _sought(app: str, given: list[str]) -> tuple[str, Sequence[Wanted]]:
    """The app, and what the words can mean, the likeliest first."""
    if not app and len(given) == 1 and "/" in given[0]:
        slug = slug_name(given[0])
        return slug.name, [Wanted(slug.namespace, slug.ref, slug.version)]
    named, left = words.split(app, given, words.always)
    words.at_most(1, left)
    name = session().app(named)
    return name, readings(left[0] if left else _serving(name))


def _serving(app: str) -> str:
    found = release(api().get(url("apps", app)))
    if not found:
        raise NotFound(f'cannot fetch a slug: no release of "{app}" serves', hint="See: octo builds")
    return found


def _newest(app: str, sought: Sequence[Wanted]) -> Json:
    """The newest build that is meant: one whose slug is kept, else one of which octod says why it is not."""
    for wanted in sought:
        found = api().get(f"{url('apps', app, 'builds')}?{urlencode(wanted.query())}")
        if found:
            _one_meant(found, wanted)
            kept = [b for b in found if (b.get("slug") or {}).get("size")]
            return (kept or found)[-1]
    raise NotFound(f'cannot find such a build of "{app}"', hint=f"See: octo builds {app}")


def _one_meant(found: Json, wanted: Wanted) -> None:
    """Raises Usage for a beginning that several commits or builds have."""
    commits, ids = {_commit(b) for b in found}, {b["id"] for b in found}
    begun = wanted.version or wanted.build
    if len(commits if wanted.version else ids if wanted.build else ()) > 1:
        raise Usage(f'cannot tell which is meant by "{begun}": several begin so', hint="Give more of it.")


def _write(part: bytes) -> None:
    """At once, so that what fails is told here; what waits in a buffer would fail after the last word."""
    out = getattr(sys.stdout.buffer, "raw", sys.stdout.buffer)
    left = memoryview(part)
    try:
        while left:
            left = left[out.write(left) or 0 :]
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OctoError(
            f"cannot write the slug: {error.strerror}", hint="Make room there, and fetch it again."
        ) from None


@command("build:cache:purge", GROUP)
def purge(app_word: AppWord = None, app: App = "", as_: As = Format.TEXT) -> None:
    """Empty the cache of an app's builds.

    The next one fetches and makes everything anew.
    """
    name = session().app(words.alone(app, app_word))
    gone = api().stream("DELETE", url("apps", name, "build-cache"), None, steps(as_).tell)
    if as_ is Format.JSON:
        text.show_json(gone)
        return
    freed = f": {text.size(gone['freed'])}" if gone["freed"] else ""
    text.line(f"Emptied the build cache of {name}{freed}.")


def _path(app: str, given: list[str]) -> str:
    named, left = words.split(app, given, words.before_others)
    words.at_most(1, left)
    if not left:
        raise Usage("cannot tell which build: none is named", hint="See: octo builds")
    return url("apps", session().app(named), "builds", left[0])
