"""/apps/{app}/releases."""

from octo.daemon.access import Verb
from octo.daemon.api import Ask, Json, Resource, iso
from octo.errors import Usage
from octo.model import Release


def shape(ask: Ask, release: Release) -> Json:
    return {
        "id": f"{release.app}-v{release.version}",
        "version": release.version,
        "status": release.status.value,
        "current": release.version == ask.app.live,
        "description": release.description,
        "created_at": iso(release.created_at),
        "user": {"email": release.user or "operator"},
        "commit": release.commit,
        "slug": {"id": release.build},
        "image": release.image,
        "port": release.port,
        "routed": release.routed,
        "processes": {p: c or "" for p, c in release.processes.items()},
        "reason": release.reason,
        "took": dict(release.took),
        "eligible_for_rollback": release.status.value == "succeeded",
    }


def every(ask: Ask) -> Json:
    return [shape(ask, r) for r in ask.octo.catalog.releases(ask.app)]


def one(ask: Ask) -> Json:
    return shape(ask, ask.octo.catalog.release(ask.app, version(ask.path["version"])))


def rollback(ask: Ask) -> Json:
    """{"release": "v3"}; without it, to the one before."""
    given = ask.body.get("release") if isinstance(ask.body, dict) else None
    to = version(str(given)) if given else None
    done = ask.octo.changes.rollback(ask.app, to, user=ask.actor.user, console=ask.console)
    return shape(ask, done) | {"current": True}


def version(text: str) -> int:
    """ "v3", "3" or an id as `shape` gives it."""
    number = text.rpartition("-")[2].removeprefix("v")
    if not (number.isascii() and number.isdigit() and len(number) < 9):
        raise Usage(f"cannot read {text[:20]!r} as a release", hint="Give it as v3.")
    return int(number)


RESOURCES = (
    Resource("GET", "/apps/{app}/releases", Verb.READ, every),
    Resource("GET", "/apps/{app}/releases/{version}", Verb.READ, one),
    Resource("POST", "/apps/{app}/releases", Verb.WRITE, rollback, deploys=True, status=201),
)
