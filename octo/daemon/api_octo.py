"""/octo: the server itself. Not in Heroku's API."""

from dataclasses import asdict

from octo import __version__
from octo.daemon import doctor as examining
from octo.daemon.access import Verb
from octo.daemon.api import Ask, Json, Resource
from octo.model import App


def status(ask: Ask) -> Json:
    return [_status(ask, app) for app in ask.octo.catalog.apps()]


def _status(ask: Ask, app: App) -> Json:
    live = ask.octo.catalog.live(app)
    routed = live is None or live.routed
    return {"name": app.name, "status": ask.octo.status(app), "url": ask.octo.url(app), "routed": routed}


def doctor(ask: Ask) -> Json:
    return [asdict(finding) for finding in examining.examine(ask.octo)]


def version(ask: Ask) -> Json:
    engine = ask.octo.engine.get("version")
    return {"octo": __version__, "engine": engine["Version"], "api": engine["ApiVersion"]}


def idle(ask: Ask) -> Json:
    """Wait until nothing is under way: no push, no drain. For scripts and tests that go on from there."""
    ask.octo.wait_until_idle()
    return {}


RESOURCES = (
    Resource("GET", "/octo/status", Verb.READ, status),
    Resource("GET", "/octo/doctor", Verb.MANAGE, doctor),
    Resource("GET", "/octo/version", Verb.READ, version),
    Resource("GET", "/octo/idle", Verb.MANAGE, idle),
)
