"""/apps/{app}/actions/rebuild: the last pushed revision, built and deployed again."""

from functools import partial

from octo.daemon.access import Verb, allowed
from octo.daemon.api import Ask, Json, Resource
from octo.daemon.rebuild import Rebuilder


def rebuild(ask: Ask) -> Json:
    rebuilder: Rebuilder = ask.extra["rebuild"]
    may_read = partial(allowed, ask.actor, Verb.READ)
    rebuilder.rebuild(ask.app, user=ask.actor.user, may_read=may_read, console=ask.console)
    return {"release": {"version": ask.octo.catalog.app(ask.app.name).live}}


RESOURCES = (Resource("POST", "/apps/{app}/actions/rebuild", Verb.WRITE, rebuild, deploys=True),)
