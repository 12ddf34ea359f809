"""/volumes: what data apps keep, also when the app has gone. Not in Heroku's API."""

from octo.catalog import Catalog
from octo.daemon.access import Verb
from octo.daemon.api import Ask, Json, Resource
from octo.errors import Conflict, Forbidden, NoSuchApp, NotFound
from octo.model import App, AppName, app_name
from octo.pipeline.volumes import refuse_in_use, remove_volumes
from octo.ports import Volume


def every(ask: Ask) -> Json:
    """The caller's own, the operator's all. app_exists: whether there is an app of that name."""
    apps = {app.name for app in ask.octo.catalog.apps()}
    return [_shape(v) | {"app_exists": v.app in apps} for v in ask.octo.ports.runtime.volumes() if _may(ask, v)]


def destroy(ask: Ask) -> Json:
    """All volumes of one app's name. Raises Conflict for what is in use."""
    name = app_name(ask.path["name"])
    found = ask.octo.ports.runtime.volumes(name)
    if not all(_may(ask, v) for v in found):
        raise Forbidden(f'cannot remove the volumes of "{name}": they are another owner\'s', hint="Ask the operator.")
    if not found:
        raise NotFound(f'cannot find volumes of "{name}"', hint="See: octo volumes")
    app = _app(ask.octo.catalog, name)
    if app:
        refuse_in_use(ask.octo.catalog, app)
    gone = remove_volumes(ask.octo.ports.runtime, name)
    left = [v.path for v in found if v not in gone]
    if left:
        raise Conflict(f'cannot remove all volumes of "{name}": {", ".join(left)} is in use', hint="See: octo ps")
    return [_shape(v) for v in gone]


def _app(catalog: Catalog, name: AppName) -> App | None:
    try:
        return catalog.app(name)
    except NoSuchApp:
        return None


def _may(ask: Ask, volume: Volume) -> bool:
    return ask.actor.operator or volume.owner == ask.actor.user


def _shape(volume: Volume) -> dict[str, object]:
    return {"name": volume.name, "app": volume.app, "path": volume.path, "owner": volume.owner or "operator"}


RESOURCES = (
    Resource("GET", "/volumes", Verb.READ, every),
    Resource("DELETE", "/volumes/{name}", Verb.WRITE, destroy),
)
