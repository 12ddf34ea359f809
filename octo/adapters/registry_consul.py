"""The Registry in a Consul agent: services that `consul catalog services`, its DNS and consul-template know.

Which are octo's is told by their meta data; all others are nobody's business here. The agent keeps and asks them, and
goes on with both while octod is away.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import consul

from octo.agent import Agent
from octo.errors import Taken
from octo.model import Check, Service
from octo.ports import Listed

OWNER = "octo"  # the key in the meta data; its value is the instance
BY_HAND = "octo-by-hand"
LONGEST = 60.0  # seconds of one blocking query
TIMEOUT = 10.0  # seconds of one check, Consul's own default


class ConsulRegistry:
    def __init__(self, agent: Agent, *, instance: str) -> None:
        self._agent, self._instance = agent, instance

    def close(self) -> None:
        self._agent.close()

    def register(self, service: Service) -> None:
        there = self._all().get(service.id)
        if there and not self._ours(there):
            raise Taken(f'cannot register "{service.id}": Consul has a service of that id that is not octo\'s')
        check = _check(service)
        self._agent.ask(
            lambda: self._agent.api.agent.service.register(
                service.name,
                service_id=service.id,
                address=service.address,
                port=service.port,
                tags=list(service.tags),
                meta={OWNER: self._instance, **_meta(service)},
                check=check,
                replace_existing_checks=True,
            )
        )

    def deregister(self, id: str) -> None:
        if self._ours(self._all().get(id)):
            self._agent.ask(lambda: self._agent.api.agent.service.deregister(id))

    def services(self, name: str | None = None) -> Sequence[Service]:
        found = [_service(entry) for entry in self._all().values() if self._ours(entry)]
        return sorted((s for s in found if name is None or s.name == name), key=lambda s: s.id)

    def catalog(self) -> Sequence[Listed]:
        names, found = self._agent.ask(self._agent.api.catalog.services)[1], list[Listed]()
        for name in names:
            _, entries = self._agent.ask(partial(self._agent.api.catalog.service, name))
            found += [_listed(entry) for entry in entries]
        return sorted(found, key=lambda e: (e.node, e.id))

    def failing(self) -> Sequence[str]:
        ours = {id for id, entry in self._all().items() if self._ours(entry)}
        checks = self._agent.ask(self._agent.api.agent.checks)
        return sorted({c["ServiceID"] for c in checks.values() if c["Status"] == "critical"} & ours)

    def watch(self, since: int, timeout: float) -> int:
        """Wakes for what others' services do too: Consul has one index for all."""
        wait = f"{min(timeout, LONGEST) * 1000:.0f}ms"
        index, _ = self._agent.ask(
            lambda: self._agent.api.health.state("any", index=since if timeout > 0 else None, wait=wait)
        )
        return int(index)

    def _all(self) -> Mapping[str, Mapping[str, Any]]:
        found: Mapping[str, Mapping[str, Any]] = self._agent.ask(self._agent.api.agent.services)
        return found

    def _ours(self, entry: Mapping[str, Any] | None) -> bool:
        return entry is not None and (entry["Meta"] or {}).get(OWNER) == self._instance


def _check(service: Service) -> Mapping[str, object] | None:
    """Passing from the start: octo has proved it, and Consul would call it critical until it has asked."""
    if service.check is None:
        return None
    at, every = f"{service.address}:{service.port}", f"{service.check.interval:g}s"
    if service.check.path:
        asked = consul.Check.http(f"http://{at}{service.check.path}", every, timeout=f"{TIMEOUT:g}s")
    else:
        asked = consul.Check.tcp(service.address, service.port, every, timeout=f"{TIMEOUT:g}s")
    return {**asked, "name": f"{service.name} at {at}", "status": "passing"}


def _meta(service: Service) -> Mapping[str, str]:
    check = {"octo-check": f"{service.check.interval:g} {service.check.path}"} if service.check else {}
    return check | ({BY_HAND: "yes"} if service.by_hand else {})


def _listed(entry: Mapping[str, Any]) -> Listed:
    """Without an address of its own a service has its node's."""
    address, tags = entry["ServiceAddress"] or entry["Address"], tuple(entry["ServiceTags"] or ())
    return Listed(entry["Node"], entry["ServiceID"], entry["ServiceName"], address, entry["ServicePort"], tags)


def _service(entry: Mapping[str, Any]) -> Service:
    interval, _, path = entry["Meta"].get("octo-check", "").partition(" ")
    check = Check(path, float(interval)) if interval else None
    known = (entry["ID"], entry["Service"], entry["Address"], entry["Port"], tuple(entry["Tags"] or ()), check)
    return Service(*known, by_hand=BY_HAND in entry["Meta"])
