"""Link networks: one Docker network for each link between two apps, with nobody else in it and no way out."""

import contextlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import IPv4Network
from typing import Any

from octo.engine import Engine
from octo.errors import Conflict, NotFound, OctoError, Unavailable

SIZE = 24  # prefix length of each
_making = threading.Lock()  # two at once would choose the same subnet


class LinkNetworks:
    """pool: out of which each network gets a subnet of its own."""

    def __init__(self, engine: Engine, *, instance: str, pool: str) -> None:
        self._engine, self._instance, self._pool = engine, instance, IPv4Network(pool)

    def ensure(self, link: str) -> str:
        """Make the network when it is not there; returns its name. Raises Unavailable."""
        with _making:
            if self._found(link) is None:
                self._make(link)
        return self._name(link)

    def join(self, link: str, container: str, aliases: Sequence[str]) -> None:
        """container: its id. Raises NotFound."""
        name = self.ensure(link)
        if name in self._engine.get("containers", container, "json")["NetworkSettings"]["Networks"]:
            return
        body = {"Container": container, "EndpointConfig": {"Aliases": list(aliases)}}
        try:
            self._engine.post("networks", name, "connect", body=body)
        except (NotFound, Unavailable):
            raise
        except OctoError as error:
            if name not in self._engine.get("containers", container, "json")["NetworkSettings"]["Networks"]:
                raise Unavailable(f'cannot put a container into the network "{name}": {error.message}') from None

    def members(self, app: str | None) -> Mapping[str, Sequence[str]]:
        found = {}
        for link, network in self._all():
            ours = app is None or app in link.split("-")
            inside = self._engine.find("networks", network["Id"]) if ours else None
            if inside:
                found[link] = sorted(str(end["Name"]) for end in (inside.get("Containers") or {}).values())
        return found

    def remove(self, link: str) -> None:
        found = self._found(link)
        if found is None:
            return
        for id in found.get("Containers") or {}:
            with contextlib.suppress(OctoError):  # it has ended
                self._engine.post("networks", found["Id"], "disconnect", body={"Container": id, "Force": True})
        with contextlib.suppress(Conflict):  # somebody came in: the next round removes it
            self._engine.delete("networks", found["Id"])

    def clear(self) -> None:
        for link, _ in list(self._all()):
            with contextlib.suppress(OctoError):  # a container that is not octo's hangs on it
                self.remove(link)

    # --- helpers ---

    def _name(self, link: str) -> str:
        return f"{self._instance}-link-{link}"

    def _found(self, link: str) -> Any | None:
        found = self._engine.find("networks", self._name(link))
        return found if found and found["Name"] == self._name(link) else None  # the engine also takes an id's beginning

    def _all(self) -> Iterator[tuple[str, Any]]:
        query = {"filters": {"label": [f"octo.instance={self._instance}", "octo.link"]}}
        for network in self._engine.get("networks", query=query):
            link = network["Labels"]["octo.link"]
            if network["Name"] == self._name(link):
                yield link, network

    def _make(self, link: str) -> None:
        tried: set[IPv4Network] = set()
        while True:
            subnet = self._free(tried)
            try:
                self._engine.post("networks", "create", body=_body(self._name(link), link, self._instance, subnet))
                return
            except Unavailable:
                raise
            except OctoError as error:
                if self._found(link):
                    return
                if not _overlaps(subnet, self._used()):  # it was free, so that is not why
                    raise Unavailable(f"cannot make a network for a link on {subnet}: {error.message}") from None
                tried.add(subnet)

    def _free(self, tried: set[IPv4Network]) -> IPv4Network:
        used = self._used()
        for subnet in self._pool.subnets(new_prefix=max(SIZE, self._pool.prefixlen)):
            if subnet not in tried and not _overlaps(subnet, used):
                return subnet
        raise Unavailable(
            f"cannot make a network for a link: all of {self._pool} is taken", hint="Set link_network to a larger one."
        )

    def _used(self) -> Sequence[IPv4Network]:
        pools = [p for n in self._engine.get("networks") for p in (n["IPAM"].get("Config") or [])]
        return [IPv4Network(p["Subnet"], strict=False) for p in pools if ":" not in p.get("Subnet", ":")]


def _body(name: str, link: str, instance: str, subnet: IPv4Network) -> Mapping[str, Any]:
    return {
        "Name": name,
        "Driver": "bridge",
        "CheckDuplicate": True,
        "Internal": True,
        "IPAM": {"Driver": "default", "Config": [{"Subnet": str(subnet)}]},
        "Labels": {"octo.instance": instance, "octo.link": link},
    }


def _overlaps(subnet: IPv4Network, used: Sequence[IPv4Network]) -> bool:
    return any(subnet.overlaps(other) for other in used)
