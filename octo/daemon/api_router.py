"""/octo/router and /apps/{app}/router: nginx's files made anew. Not in Heroku's API."""

from octo.daemon.access import Verb
from octo.daemon.api import Ask, Json, Resource
from octo.errors import RouterFailed


def every(ask: Ask) -> Json:
    """faults: of apps that are served as before, because their template or certificate is no good."""
    faults = ask.octo.routing.render()
    apps = ask.octo.catalog.apps()
    return {
        "apps": len(apps),
        "faults": [{"app": app.name, "message": faults[app.id]} for app in apps if app.id in faults],
    }


def one(ask: Ask) -> Json:
    """All are rendered, and one is told of. Raises RouterFailed when it is at fault."""
    why = ask.octo.routing.render().get(ask.app.id)
    if why:
        raise RouterFailed(why, hint="Mend it; until then the app is served as before.")
    return {"app": ask.app.name}


RESOURCES = (
    Resource("POST", "/octo/router", Verb.MANAGE, every),
    Resource("POST", "/apps/{app}/router", Verb.WRITE, one),
)
