"""/apps/{app}/builds."""

from collections.abc import Iterable

from octo.daemon.access import Verb
from octo.daemon.api import Ask, Json, Resource, iso
from octo.model import Build


def shape(ask: Ask, build: Build) -> Json:
    release = next((r.version for r in ask.octo.catalog.releases(ask.app) if r.build == build.id), None)
    return {
        "id": build.id,
        "status": build.status.value,
        "created_at": iso(build.created_at),
        "updated_at": iso(build.finished_at),
        "source_blob": {"version": build.commit},
        "user": {"email": build.user or "operator"},
        "release": {"version": release} if release else None,
        "reason": build.reason,
        "took": round(build.finished_at - build.created_at, 3) if build.finished_at else None,
    }


def every(ask: Ask) -> Json:
    return [shape(ask, b) for b in ask.octo.catalog.builds(ask.app)]


def one(ask: Ask) -> Json:
    return shape(ask, ask.octo.catalog.build(ask.app, ask.path["build"]))


def output(ask: Ask) -> Iterable[bytes]:
    return ask.octo.builds.output(ask.octo.catalog.build(ask.app, ask.path["build"]))


RESOURCES = (
    Resource("GET", "/apps/{app}/builds", Verb.READ, every),
    Resource("GET", "/apps/{app}/builds/{build}", Verb.READ, one),
    Resource("GET", "/apps/{app}/builds/{build}/output", Verb.READ, output, text=True),
)
