"""/apps/{app}/domains."""

from octo.daemon.access import Verb
from octo.daemon.api import Ask, Json, Resource, iso
from octo.errors import Forbidden, Usage
from octo.model import Domain, Hostname, hostname


def every(ask: Ask) -> Json:
    created = iso(ask.app.created_at)
    own = [{"hostname": name, "kind": "heroku", "created_at": created} for name in ask.octo.routing.names(ask.app)]
    return own + [_shape(domain) for domain in ask.octo.catalog.domains(ask.app)]


def add(ask: Ask) -> Json:
    """take: from another app, if need be."""
    name, take = hostname(ask.text("hostname")), ask.given("take", False)
    if take and not ask.actor.operator:
        raise Forbidden("cannot take a domain from another app: only the operator may", hint="Ask the operator.")
    return _shape(ask.octo.changes.domains.add(ask.app, name, ask.may_read, take=take))


def change(ask: Ask) -> Json:
    """The whole list: what is not in it goes."""
    given = ask.given("hostnames", [])
    if not isinstance(ask.body, dict) or "hostnames" not in ask.body or not all(isinstance(n, str) for n in given):
        raise Usage('cannot read the request: "hostnames" must be a list of strings')
    ask.octo.changes.domains.set(ask.app, [hostname(name) for name in given], ask.may_read)
    return every(ask)


def remove(ask: Ask) -> Json:
    given = ask.path["host"]
    there = [d.hostname for d in ask.octo.catalog.domains(ask.app)]
    name = Hostname(given) if given in there else hostname(given)  # one that was taken by older rules can go
    ask.octo.changes.domains.remove(ask.app, name)
    return {"hostname": name, "kind": "custom"}


def _shape(domain: Domain) -> Json:
    return {"hostname": domain.hostname, "kind": "custom", "created_at": iso(domain.added_at), "pushed": domain.pushed}


RESOURCES = (
    Resource("GET", "/apps/{app}/domains", Verb.READ, every),
    Resource("POST", "/apps/{app}/domains", Verb.WRITE, add, status=201),
    Resource("PUT", "/apps/{app}/domains", Verb.WRITE, change),
    Resource("DELETE", "/apps/{app}/domains/{host}", Verb.WRITE, remove),
)
