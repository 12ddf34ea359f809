"""/apps/{app}/allowances: what the operator lets an app have of the host and of other apps. Not in Heroku's API."""

from octo.daemon.access import Verb
from octo.daemon.api import Ask, Json, Resource
from octo.errors import Forbidden, Usage
from octo.model import App
from octo.options import allowance


def shape(app: App) -> Json:
    return [{"kind": word.partition("=")[0], "value": word.partition("=")[2]} for word in app.allowed]


def every(ask: Ask) -> Json:
    return shape(ask.app)


def change(ask: Ask) -> Json:
    """The body: {"allow": ["mount=/srv/photos"], "deny": ["port=25"]}; either may be absent."""
    if not ask.actor.operator:
        raise Forbidden("cannot change what an app is allowed: only the operator may", hint="Ask the operator.")
    allow, deny = ([allowance(str(word)) for word in ask.given(verb, [])] for verb in ("allow", "deny"))
    if not allow and not deny:
        raise Usage("cannot change what is allowed: nothing is named", hint="Name it as in mount=/srv/photos.")
    return shape(ask.octo.changes.allow(ask.app, allow, deny, console=ask.console))


RESOURCES = (
    Resource("GET", "/apps/{app}/allowances", Verb.READ, every),
    Resource("PATCH", "/apps/{app}/allowances", Verb.MANAGE, change, deploys=True),
)
