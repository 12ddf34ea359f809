"""/octo: the server itself. Not in Heroku's API."""

from dataclasses import asdict

from gitreceive.octo import parse_remotes
from octo import __version__
from octo.daemon import doctor as examining
from octo.daemon.access import Verb
from octo.daemon.api import Ask, Json, Resource
from octo.errors import Unavailable


def status(ask: Ask) -> Json:
    apps, lives = ask.octo.catalog.apps(), ask.octo.catalog.lives()
    standing = ask.octo.statuses(apps)
    return [
        {
            "name": app.name,
            "status": standing[app.id],
            "url": ask.octo.url(app),
            "routed": app.id not in lives or lives[app.id].routed,
        }
        for app in apps
    ]


def doctor(ask: Ask) -> Json:
    return [asdict(finding) for finding in examining.examine(ask.octo)]


def version(ask: Ask) -> Json:
    engine = ask.octo.engine.get("version")
    settings = ask.octo.settings
    try:
        store = ask.octo.store.about()
    except Unavailable as error:
        store = error.message
    found = {"octo": __version__, "engine": engine["Version"], "api": engine["ApiVersion"], "store": store}
    return found | {"consul": "consul" in (settings.store, settings.registry)}


def source(ask: Ask) -> Json:
    """Where this octo was fetched from, as its checkout says."""
    folder = ask.octo.settings.share
    try:
        config = (folder / ".git" / "config").read_text(errors="replace")
    except OSError:
        config = ""
    remotes = dict(line.split("=", 1) for line in parse_remotes(config))
    return {"version": __version__, "folder": str(folder), "source": remotes.get("origin", "")}


def idle(ask: Ask) -> Json:
    """Wait until nothing is under way: no push, no drain. For scripts and tests that go on from there."""
    ask.octo.wait_until_idle()
    return {}


RESOURCES = (
    Resource("GET", "/octo/status", Verb.READ, status),
    Resource("GET", "/octo/doctor", Verb.MANAGE, doctor),
    Resource("GET", "/octo/version", Verb.READ, version),
    Resource("GET", "/octo/source", Verb.MANAGE, source),
    Resource("GET", "/octo/idle", Verb.MANAGE, idle),
)
