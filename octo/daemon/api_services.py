"""/services: what is known as a service, and what octohost's commands set and removed there. The operator's alone.

octo's own follow its containers: a service that is taken away here while its container serves comes back within half
a minute. What was set by hand stays until it is removed.
"""

import contextlib
import socket
from collections.abc import Iterable, Sequence

from octo.daemon.access import Verb
from octo.daemon.api import Ask, Json, Resource
from octo.errors import NotFound, OctoError
from octo.model import Service, port_number, shown
from octo.pipeline.health import Services
from octo.pipeline.services import by_hand
from octo.ports import Listed
from octo.settings import read_octohost

NOWHERE = ("192.0.2.1", 9)  # of a documentation network: asks the routing table alone, sends nothing


def every(ask: Ask) -> Json:
    return [shape(service) for service in ask.octo.ports.registry.services()]


def shape(service: Service) -> Json:
    """As Consul's agent names it."""
    return {
        "ID": service.id,
        "Service": service.name,
        "Tags": list(service.tags),
        "Address": service.address,
        "Port": service.port,
    }


def catalog(ask: Ask) -> Json:
    return [_listed(entry) for entry in ask.octo.ports.registry.catalog()]


def _listed(entry: Listed) -> Json:
    """As Consul's catalog names it."""
    return {
        "Node": entry.node,
        "ServiceID": entry.id,
        "ServiceName": entry.name,
        "ServiceTags": list(entry.tags),
        "ServiceAddress": entry.address,
        "ServicePort": entry.port,
    }


def put(ask: Ask) -> Json:
    """Make a service known; null for an app that is to have none."""
    name = ask.text("name")
    app = next((a for a in ask.octo.catalog.apps() if a.name == name), None)
    config = ask.octo.catalog.config(app) if app else {}
    address = ask.given("address", "") or _own_address(ask)
    service = by_hand(name, address, port_number(ask.text("port")), ask.given("tags", ""), config)
    live = ask.octo.catalog.live(app) if app else None
    if config.get("NO_HTTP_PROXY") or (live and live.options.no_http_proxy):
        return None
    ask.octo.ports.registry.register(service)
    return shape(service)


def _own_address(ask: Ask) -> str:
    """This machine's, as others reach it: octohost's PRIVATE_IP, else that of the way out."""
    told = read_octohost(ask.octo.settings.octohost_file).get("PRIVATE_IP")
    if told:
        return told
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(NOWHERE)
        return str(probe.getsockname()[0])
    return "127.0.0.1"


def remove(ask: Ask) -> Json:
    """Those that fit `name`, `address`, `port` and `tag`, as far as given; `own`: octo's, not those set by hand."""
    query = ask.query
    fits = [
        s
        for s in ask.octo.ports.registry.services(query.get("name"))
        if query.get("address") in (None, s.address)
        and query.get("port") in (None, str(s.port))
        and (query.get("tag") is None or query["tag"] in s.tags)
        and not ("own" in query and s.by_hand)
    ]
    return _gone(ask, fits)


def _gone(ask: Ask, services: Iterable[Service]) -> Sequence[Json]:
    gone = []
    for service in services:
        ask.octo.ports.registry.deregister(service.id)
        gone.append({**shape(service), "returns": not service.by_hand and _serves(ask, service)})
    return gone


def _serves(ask: Ask, service: Service) -> bool:
    running = [r for r in ask.octo.ports.runtime.list() if r.state == "running"]
    return any(r.address == service.address for r in running)


def register(ask: Ask) -> Json:
    """Make every container that serves known, now."""
    Services(ask.octo.ports, ask.octo.catalog, ask.octo.journal).mend()
    return every(ask)


def reset(ask: Ask) -> Json:
    """Take octo's own services out of the registry and put them back; what others keep there stays."""
    remove_own = [s for s in ask.octo.ports.registry.services() if not s.by_hand]
    _gone(ask, remove_own)
    return {"removed": len(remove_own), "registered": len(register(ask))}


def tags(ask: Ask) -> Json:
    """The CONSUL_TAGS of one of octo's containers, as it was started with."""
    given = ask.path["container"]
    found = [r for r in ask.octo.ports.runtime.list() if r.name == given or (len(given) > 3 and r.id.startswith(given))]
    if len(found) != 1:
        raise NotFound(f"cannot find the container {shown(given)}", hint="Give its name or id: octo ps --format json")
    inspected = ask.octo.engine.find("containers", found[0].id, "json")
    if inspected is None:
        raise OctoError(f"cannot look into the container {shown(given)}: it has just gone")
    pairs = (entry.partition("=") for entry in inspected["Config"]["Env"] or ())
    return {"tags": next((value for key, _, value in pairs if key == "CONSUL_TAGS"), "")}


RESOURCES = (
    Resource("GET", "/services", Verb.MANAGE, every),
    Resource("POST", "/services", Verb.MANAGE, put),
    Resource("DELETE", "/services", Verb.MANAGE, remove),
    Resource("GET", "/services/catalog", Verb.MANAGE, catalog),
    Resource("POST", "/services/register", Verb.MANAGE, register),
    Resource("POST", "/services/reset", Verb.MANAGE, reset),
    Resource("GET", "/services/tags/{container}", Verb.MANAGE, tags),
)
