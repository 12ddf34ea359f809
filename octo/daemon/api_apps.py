"""/apps: Heroku's app resource."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from octo.catalog.writes import Live
from octo.daemon.access import Verb
from octo.daemon.api import Ask, Json, Resource, iso
from octo.model import App, app_name
from octo.pipeline.refs import short

IMAGE = "container"  # Heroku's name for the stack of an app that brings its own image


@dataclass(frozen=True)
class Beside:
    """What an app's document holds beside the app, by App.id: read once for as many apps as are shown."""

    lives: Mapping[str, Live]
    ends: Mapping[str, float]
    apps: Mapping[str, App]


def document(ask: Ask, app: App, beside: Beside) -> Json:
    live, parent = beside.lives.get(app.id), beside.apps.get(app.parent)
    stack = {"name": live.stack.rpartition("-")[0] if live and live.stack else IMAGE}
    return {
        "id": app.id,
        "name": app.name,
        "web_url": ask.octo.url(app),
        "git_url": ask.octo.git_url(parent or app),
        "created_at": iso(app.created_at),
        "released_at": iso(live.created_at) if live else None,
        "release": {"version": app.live} if app.live else None,
        "owner": {"email": app.owner or "operator"},
        "stopped": app.stopped,
        "parent": {"id": parent.id, "name": parent.name} if parent else None,
        "branch": short(app.branch) if app.parent else None,
        "ends_at": iso(beside.ends.get(app.id)),
        "maintenance": False,
        "stack": stack,
        "build_stack": stack,
        "region": {"name": "here"},
        "repo_size": None,
        "slug_size": live.slug or None if live else None,
    }


def shape(ask: Ask, app: App) -> Json:
    catalog = ask.octo.catalog
    live, end = catalog.brief(app), catalog.ending(app)
    parent = catalog.by_id(app.parent) if app.parent else None
    beside = Beside({app.id: live} if live else {}, {app.id: end} if end else {}, {parent.id: parent} if parent else {})
    return document(ask, app, beside)


def every(ask: Ask) -> Json:
    """?names=1 gives the names alone, at a small part of the cost."""
    apps = ask.octo.catalog.apps()
    if ask.query.get("names"):
        return [{"name": app.name} for app in apps]
    beside = Beside(ask.octo.catalog.lives(), ask.octo.catalog.endings(), {app.id: app for app in apps})
    return [document(ask, app, beside) for app in apps]


def create(ask: Ask) -> Json:
    return shape(ask, ask.octo.create(app_name(ask.text("name")), ask.actor.user))


def branches(ask: Ask) -> Json:
    return [shape(ask, app) for app in ask.octo.catalog.branch_apps(ask.app)]


def one(ask: Ask) -> Json:
    """With its domains, how many containers run, and where its code is (row L42)."""
    live = ask.octo.catalog.live(ask.app)
    running = [r for r in ask.octo.ports.runtime.list(ask.app.id) if r.state == "running"]
    own = urlsplit(ask.octo.url(ask.app)).hostname or ""
    return shape(ask, ask.app) | {
        "domains": [own, *sorted(d.hostname for d in ask.octo.catalog.domains(ask.app))],
        "containers": len(running),
        "source": {"git_url": ask.octo.git_url(ask.app), "commit": live.commit if live else None},
    }


def rename(ask: Ask) -> Json:
    return shape(ask, ask.octo.changes.rename(ask.app, app_name(ask.text("name")), user=ask.actor.user))


def destroy(ask: Ask) -> Json:
    """With the apps of its branches: their code lies in its repository.

    `?volumes=1` removes its volumes too; else `volumes_kept` says which paths stay.
    """
    gone, volumes = {**shape(ask, ask.app), "branches": branches(ask)}, ask.query.get("volumes") == "1"
    ask.octo.changes.destroy(ask.app, user=ask.actor.user, volumes=volumes)
    return gone | {"volumes_kept": [v.path for v in ask.octo.ports.runtime.volumes(ask.app.name)]}


RESOURCES = (
    Resource("GET", "/apps", Verb.READ, every),
    Resource("POST", "/apps", Verb.WRITE, create, status=201),
    Resource("GET", "/apps/{app}", Verb.READ, one),
    Resource("GET", "/apps/{app}/branches", Verb.READ, branches),
    Resource("PATCH", "/apps/{app}", Verb.MANAGE, rename),
    Resource("DELETE", "/apps/{app}", Verb.MANAGE, destroy),
)
