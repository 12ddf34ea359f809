"""/apps: Heroku's app resource."""

import contextlib

from octo.daemon.access import Verb
from octo.daemon.api import Ask, Json, Resource, iso
from octo.errors import NotFound
from octo.model import App, Build, Release, app_name

IMAGE = "container"  # Heroku's name for the stack of an app that brings its own image


def shape(ask: Ask, app: App) -> Json:
    live = ask.octo.catalog.live(app)
    build = _built(ask, app, live)
    stack = {"name": build.stack.rpartition("-")[0] if build and build.stack else IMAGE}
    return {
        "id": app.id,
        "name": app.name,
        "web_url": ask.octo.url(app),
        "git_url": ask.octo.git_url(app),
        "created_at": iso(app.created_at),
        "released_at": iso(live.created_at) if live else None,
        "release": {"version": app.live} if app.live else None,
        "owner": {"email": app.owner or "operator"},
        "stopped": app.stopped,
        "maintenance": False,
        "stack": stack,
        "build_stack": stack,
        "region": {"name": "here"},
        "repo_size": None,
        "slug_size": build.slug or None if build else None,
    }


def _built(ask: Ask, app: App, live: Release | None) -> Build | None:
    with contextlib.suppress(NotFound):  # records of builds are kept for a while, releases longer
        return ask.octo.catalog.build(app, live.build) if live and live.build else None
    return None


def every(ask: Ask) -> Json:
    return [shape(ask, app) for app in ask.octo.catalog.apps()]


def create(ask: Ask) -> Json:
    return shape(ask, ask.octo.create(app_name(ask.text("name")), ask.actor.user))


def one(ask: Ask) -> Json:
    return shape(ask, ask.app)


def rename(ask: Ask) -> Json:
    return shape(ask, ask.octo.changes.rename(ask.app, app_name(ask.text("name")), user=ask.actor.user))


def destroy(ask: Ask) -> Json:
    """`?volumes=1` removes its volumes too; else `volumes_kept` says which paths stay."""
    gone, volumes = shape(ask, ask.app), ask.query.get("volumes") == "1"
    ask.octo.changes.destroy(ask.app, user=ask.actor.user, volumes=volumes)
    return gone | {"volumes_kept": [v.path for v in ask.octo.ports.runtime.volumes(ask.app.name)]}


RESOURCES = (
    Resource("GET", "/apps", Verb.READ, every),
    Resource("POST", "/apps", Verb.WRITE, create, status=201),
    Resource("GET", "/apps/{app}", Verb.READ, one),
    Resource("PATCH", "/apps/{app}", Verb.MANAGE, rename),
    Resource("DELETE", "/apps/{app}", Verb.MANAGE, destroy),
)
