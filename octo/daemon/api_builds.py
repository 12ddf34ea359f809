"""/apps/{app}/builds and their slugs."""

from collections.abc import Iterable, Mapping

from octo import slugname
from octo.daemon.access import Verb
from octo.daemon.api import Ask, Download, Json, Resource, iso
from octo.model import Build
from octo.pipeline.slugs import Slugs


def shape(ask: Ask, build: Build, releases: Mapping[str, int]) -> Json:
    """releases: the first release of each build that has one, by Build.id."""
    return {
        "id": build.id,
        "status": build.status.value,
        "created_at": iso(build.created_at),
        "updated_at": iso(build.finished_at),
        "ref": slugname.short(build.ref),
        "source_blob": {"version": build.commit},
        "user": {"email": build.user or "operator"},
        "release": {"version": releases[build.id]} if build.id in releases else None,
        "slug": _slug(ask, build),
        "reason": build.reason,
        "took": round(build.finished_at - build.created_at, 3) if build.finished_at else None,
    }


def _slug(ask: Ask, build: Build) -> Json:
    """None when it made none; its size is null when it is no longer kept."""
    if not build.stack:
        return None
    name = slugname.name_of(ask.app, build)
    return {"id": build.id, "name": str(name) if name else None, "size": _slugs(ask).size(build)}


def _slugs(ask: Ask) -> Slugs:
    return Slugs(ask.octo.ports.blobs, ask.octo.catalog)


def _releases(ask: Ask) -> Mapping[str, int]:
    return {r.build: r.version for r in reversed(ask.octo.catalog.releases(ask.app))}


def _build(ask: Ask) -> Build:
    return ask.octo.catalog.build(ask.app, ask.path["build"])


def every(ask: Ask) -> Json:
    """Those that fit the query: namespace, ref, version and build, each of which may be left out."""
    releases, sought = _releases(ask), slugname.wanted(ask.query)
    return [shape(ask, b, releases) for b in _slugs(ask).find(ask.app, sought)]


def one(ask: Ask) -> Json:
    return shape(ask, _build(ask), _releases(ask))


def output(ask: Ask) -> Iterable[bytes]:
    return ask.octo.builds.output(_build(ask))


def slug(ask: Ask) -> Download:
    build = _build(ask)
    size, chunks = _slugs(ask).open(build)
    return Download(slugname.file_name(ask.app, build), size, chunks)


RESOURCES = (
    Resource("GET", "/apps/{app}/builds", Verb.READ, every),
    Resource("GET", "/apps/{app}/builds/{build}", Verb.READ, one),
    Resource("GET", "/apps/{app}/builds/{build}/output", Verb.READ, output, text=True),
    Resource("GET", "/apps/{app}/builds/{build}/slug", Verb.READ, slug),
)
