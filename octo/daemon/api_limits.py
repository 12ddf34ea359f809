"""/apps/{app}/limits: what the builds of an app may take. Not in Heroku's API."""

from octo.daemon.access import Verb
from octo.daemon.api import Ask, Json, Resource
from octo.errors import Forbidden, Usage
from octo.limits import KINDS, limit_name, limit_text, limit_value, limits_for, slug_limit
from octo.model import App


def shape(ask: Ask, app: App) -> Json:
    """One of each limit. own: whether it is this app's; else it is octo's setting for all."""
    rules = ask.octo.builds.rules
    found = limits_for(rules.limits, app)
    values = {name: slug_limit(rules.slug, app) if name == "slug" else getattr(found, name) for name in KINDS}
    return [
        {
            "name": name,
            "value": value,
            "text": limit_text(name, value),
            "own": name in app.limits,
            "description": KINDS[name].what,
        }
        for name, value in values.items()
    ]


def every(ask: Ask) -> Json:
    return shape(ask, ask.app)


def change(ask: Ask) -> Json:
    """The body: {"memory": "2G", "cpus": null}; null goes back to octo's setting."""
    if not ask.actor.operator:
        raise Forbidden("cannot change limits: only the operator may", hint="Ask the operator of this octo.")
    if not isinstance(ask.body, dict) or not ask.body:
        raise Usage("cannot change limits: none is named", hint="Name them as in memory=2G.")
    changes = {
        limit_name(name): None if text is None else limit_value(name, _text(text)) for name, text in ask.body.items()
    }
    app = ask.octo.changes.limit(ask.app, changes, user=ask.actor.user, console=ask.console)
    return shape(ask, app)


def _text(value: Json) -> str:
    if not isinstance(value, str):
        raise Usage("cannot read the request: a limit must be a string, as in 2G, or null")
    return value


RESOURCES = (
    Resource("GET", "/apps/{app}/limits", Verb.READ, every),
    Resource("PATCH", "/apps/{app}/limits", Verb.MANAGE, change, deploys=True),
)
