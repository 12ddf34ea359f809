"""/octo/disk, /apps/{app}/disk, /apps/{app}/build-cache: where the room went. Not in Heroku's API."""

from dataclasses import asdict

from octo.daemon.access import Verb
from octo.daemon.api import Ask, Json, Resource
from octo.model import App
from octo.pipeline.account import Held
from octo.pipeline.disk import lacking


def shape(app: App, held: Held) -> Json:
    return {"app": {"id": app.id, "name": app.name}, **asdict(held), "total": held.total}


def one(ask: Ask) -> Json:
    return shape(ask.app, ask.octo.account.app(ask.app))


def whole(ask: Ask) -> Json:
    report = ask.octo.account.report()
    rooms = [{**asdict(r), "needed": report.least, "lacks": lacking(r, report.least)} for r in report.rooms]
    return {
        "apps": [shape(app, held) for app, held in report.apps],
        "octo": [asdict(part) for part in report.parts],
        "total": sum(part.bytes for part in report.parts),
        "rooms": rooms,
    }


def purge(ask: Ask) -> Json:
    freed = ask.octo.changes.purge(ask.app, user=ask.actor.user, console=ask.console)
    return {"app": {"id": ask.app.id, "name": ask.app.name}, "freed": freed}


RESOURCES = (
    Resource("GET", "/octo/disk", Verb.MANAGE, whole),
    Resource("GET", "/apps/{app}/disk", Verb.READ, one),
    Resource("DELETE", "/apps/{app}/build-cache", Verb.WRITE, purge, deploys=True),
)
