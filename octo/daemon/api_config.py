"""/apps/{app}/config-vars."""

from octo.daemon.access import Verb
from octo.daemon.api import Ask, Json, Resource
from octo.errors import Usage
from octo.model import config_key, config_value
from octo.pipeline.front import front_of
from octo.pipeline.steering import check


def show(ask: Ask) -> Json:
    return ask.octo.catalog.config(ask.app)


def changes_of(body: Json) -> dict[str, str | None]:
    """A map of config as it came in; null removes the key. Raises Usage."""
    if not isinstance(body, dict) or not all(v is None or isinstance(v, str) for v in body.values()):
        raise Usage("cannot read the config: it must be a map of strings and nulls")
    changes: dict[str, str | None] = {config_key(k): None if v is None else config_value(v) for k, v in body.items()}
    check({key: value for key, value in changes.items() if value is not None})
    front_of({k: v for k, v in changes.items() if v})  # what could never be served is not kept for later either
    return changes


def change(ask: Ask) -> Json:
    """A map; null removes the key. `?restart=0` stores it for the next release only."""
    changes = changes_of(ask.body)
    restart = ask.query.get("restart", "1") != "0"
    if changes:
        ask.octo.changes.config(
            ask.app, changes, user=ask.actor.user, console=ask.console, restart=restart, may_read=ask.may_read
        )
    return ask.octo.catalog.config(ask.app)


RESOURCES = (
    Resource("GET", "/apps/{app}/config-vars", Verb.READ, show),
    Resource("PATCH", "/apps/{app}/config-vars", Verb.WRITE, change, deploys=True),
)
