"""/apps/{app}/domains."""

from octo.daemon.access import Verb
from octo.daemon.api import Ask, Json, Resource, iso
from octo.errors import Forbidden, OctoError
from octo.model import Hostname, hostname


def every(ask: Ask) -> Json:
    own = {"hostname": ask.octo.routing.host(ask.app), "kind": "heroku", "created_at": iso(ask.app.created_at)}
    return [own] + [
        {"hostname": d.hostname, "kind": "custom", "created_at": iso(d.added_at)}
        for d in ask.octo.catalog.domains(ask.app)
    ]


def add(ask: Ask) -> Json:
    name = hostname(ask.text("hostname"))
    suffix = "." + ask.octo.settings.domain_suffix
    if name.endswith(suffix) and name != ask.octo.routing.host(ask.app):
        raise Forbidden(f'cannot add the domain "{name}": names under {suffix[1:]} belong to the apps of that name')
    domain = ask.octo.catalog.add_domain(ask.app, name, now=ask.octo.ports.clock.now())
    try:
        ask.octo.routing.refresh()
    except OctoError:  # what cannot be routed must not stay and fail everybody's next change
        ask.octo.catalog.remove_domain(ask.app, name)
        raise
    return {"hostname": domain.hostname, "kind": "custom", "created_at": iso(domain.added_at)}


def remove(ask: Ask) -> Json:
    given = ask.path["host"]
    there = [d.hostname for d in ask.octo.catalog.domains(ask.app)]
    name = Hostname(given) if given in there else hostname(given)  # one that was taken by older rules can go
    ask.octo.catalog.remove_domain(ask.app, name)
    ask.octo.routing.refresh()
    return {"hostname": name, "kind": "custom"}


RESOURCES = (
    Resource("GET", "/apps/{app}/domains", Verb.READ, every),
    Resource("POST", "/apps/{app}/domains", Verb.WRITE, add, status=201),
    Resource("DELETE", "/apps/{app}/domains/{host}", Verb.WRITE, remove),
)
