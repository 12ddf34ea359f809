"""Runtime on the Docker engine: app containers, each at its own address of octo's own network.

A container is octo's only when its label says so *and* its name is the one in its label and begins with the
instance: the engine merges an image's LABELs into the container's, so a label alone is anybody's to set.

`command` replaces the image's CMD and leaves its ENTRYPOINT, as on Heroku and Dokku: an entrypoint that prepares
something and ends in `exec "$@"` works for every process type. docker-init is process 1, so a command that does not
exist is no error of `start`: the container ends at once with 127, and its log says why.
"""

import contextlib
import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from octo import dockerspec
from octo.dockervolumes import Volumes
from octo.engine import Engine, Stream, demux
from octo.errors import Conflict, DeployFailed, NotFound, OctoError, Unavailable
from octo.model import shown
from octo.net.linknets import LinkNetworks
from octo.ports import ContainerSpec, Image, Running, Streams, Volume
from octo.relay import Relay

KILLED = 137  # exit code of what SIGKILL ended
EOT = b"\x04"  # what ^D sends
LINE = 64 * 1024  # bytes after which a log line is broken


class DockerRuntime:
    def __init__(self, engine: Engine, *, instance: str, subnet: str, link_network: str) -> None:
        self._engine = engine
        self._instance = instance
        self._subnet = IPv4Network(subnet)
        self._network = f"{instance}-apps"
        self._links = LinkNetworks(engine, instance=instance, pool=link_network)
        self._volumes = Volumes(engine, instance)

    def prepare(self) -> None:
        if self._found_network():
            return
        body = dockerspec.network(self._network, self._instance, self._subnet)
        try:
            self._engine.post("networks", "create", body=body)
        except Conflict:  # another thread was faster
            pass
        except Unavailable:
            raise
        except OctoError as error:
            raise Unavailable(
                f'cannot make the network "{self._network}" on {self._subnet}: {error.message}',
                hint="Choose another subnet in octo.toml.",
            ) from None

    def clear(self) -> None:
        self._links.clear()
        found = self._found_network()
        if found and (found.get("Labels") or {}).get("octo.instance") == self._instance:
            with contextlib.suppress(OctoError):  # a container that is not octo's hangs on it
                self._engine.delete("networks", found["Id"])

    def addresses(self) -> Iterable[str]:
        """Those of the network as it is; the setting counts only until it is made."""
        found = self._found_network()
        pools = (found["IPAM"].get("Config") or []) if found else []
        subnets = [IPv4Network(p["Subnet"]) for p in pools if ":" not in p["Subnet"]]
        return dockerspec.allottable(subnets[0] if subnets else self._subnet)

    def image(self, ref: str) -> Image | None:
        found = self._engine.find("images", ref, "json")
        if found is None:
            return None
        config = found.get("Config") or {}
        ports = dockerspec.exposed_ports(config)
        history = self._engine.get("images", found["Id"], "history") if len(ports) > 1 else ()
        command = bool(config.get("Cmd") or config.get("Entrypoint"))
        env = dict(pair.partition("=")[::2] for pair in config.get("Env") or ())
        volumes = tuple(sorted(config.get("Volumes") or ()))
        return Image(found["Id"], dockerspec.in_order(ports, history), command, env, volumes)

    def tag(self, image: str, ref: str) -> None:
        name, _, tag = ref.rpartition(":")
        self._engine.post("images", image, "tag", query={"repo": name or ref, "tag": tag if name else "latest"})

    def untag(self, ref: str) -> None:
        with contextlib.suppress(Conflict):  # a container still uses it
            self._engine.delete("images", ref)

    def start(self, spec: ContainerSpec) -> Running:
        id = self._create(spec, interactive=False)
        self._start(id, spec)
        running = self.inspect(spec.name)
        if running is None:
            raise DeployFailed(f'cannot start "{spec.name}": it was removed at the same moment')
        return running

    def keep(self, name: str) -> None:
        self._engine.post("containers", self._own(name), "update", body={"RestartPolicy": {"Name": "unless-stopped"}})

    def inspect(self, name: str) -> Running | None:
        found = self._engine.find("containers", name, "json")
        return self._running(found) if found and found["Name"] == "/" + name else None

    def list(self, app: str | None = None) -> Sequence[Running]:
        labels = [f"octo.instance={self._instance}", *([f"octo.app={app}"] if app else [])]
        query = {"all": True, "filters": {"label": labels}}
        ids = [c["Id"] for c in self._engine.get("containers", "json", query=query)]
        found = (self._engine.find("containers", id, "json") for id in ids)  # None: gone in between
        ours = (self._running(f) for f in found if f)
        return sorted((r for r in ours if r and app in (None, r.app)), key=lambda r: r.name)

    def listening(self, name: str) -> Sequence[tuple[str, int]]:
        found = self._engine.get("containers", self._own(name), "json")
        pid = found["State"]["Pid"]
        pairs: set[tuple[str, int]] = set()
        for table in ("tcp", "tcp6"):
            with contextlib.suppress(OSError):  # ended, or no IPv6
                pairs.update(dockerspec.listeners(Path(f"/proc/{pid}/net/{table}").read_text()) if pid else ())
        return sorted(pairs)

    def join(self, link: str, name: str, aliases: Sequence[str]) -> None:
        self._links.join(link, self._own(name), aliases)

    def members(self, app: str | None = None) -> Mapping[str, Sequence[str]]:
        return self._links.members(app)

    def unlink(self, link: str) -> None:
        self._links.remove(link)

    def volumes(self, app: str | None = None) -> Sequence[Volume]:
        return self._volumes.list(app)

    def remove_volume(self, name: str) -> None:
        self._volumes.remove(name)

    def stop(self, name: str, grace: float) -> bool:
        running = self.inspect(name)
        if running is None:
            return False
        seconds, since = math.ceil(grace), time.monotonic()
        with contextlib.suppress(NotFound):
            self._engine.post("containers", running.id, "stop", query={"t": seconds}, timeout=seconds + 60)
        late = running.state == "running" and time.monotonic() - since >= seconds
        killed = late and (ended := self.inspect(name)) is not None and ended.exit_code == KILLED
        self._engine.remove_container(running.id)
        return killed

    def logs(self, name: str, *, tail: int, follow: bool) -> "Lines":
        """The iterable also has `close`, which ends it from any thread. Raises NotFound."""
        id = self._own(name)
        tty = bool(self._engine.get("containers", id, "json")["Config"]["Tty"])
        query = {"stdout": True, "stderr": True, "timestamps": True, "follow": follow, "tail": str(tail)}
        return Lines(self._engine.stream("GET", "containers", id, "logs", query=query), tty=tty)

    def attach(self, spec: ContainerSpec, streams: Streams, size: tuple[int, int]) -> int:
        """Ends the container when whoever reads stdout has gone. Raises DeployFailed when it cannot start."""
        id = self._create(spec, interactive=True)
        try:
            query = {"stream": True, "stdin": True, "stdout": True, "stderr": True}
            sock = self._engine.hijack("containers", id, "attach", query=query)  # before start: nothing is missed
            frames, farewell = (_whole, EOT) if spec.tty else (demux, b"")
            with Relay(sock, streams, frames=frames, gone=lambda: self._kill(id), farewell=farewell) as relay:
                self._start(id, spec)
                if spec.tty:
                    with contextlib.suppress(OctoError):  # it has ended already
                        self._engine.post("containers", id, "resize", query={"h": size[0], "w": size[1]})
                relay.pump()
                return int(self._engine.post("containers", id, "wait", timeout=None)["StatusCode"])
        finally:
            self._engine.remove_container(id)

    # --- helpers ---------------------------------------------------------------------------------------

    def _found_network(self) -> Any | None:
        found = self._engine.find("networks", self._network)
        return found if found and found["Name"] == self._network else None  # the engine also takes an id's beginning

    def _create(self, spec: ContainerSpec, *, interactive: bool) -> str:
        self._clear(spec.name)
        mounts = list(self._volumes.mounts(spec.mounts))
        body = dockerspec.container(spec, self._instance, self._network, mounts, interactive=interactive)
        try:
            id = str(self._engine.post("containers", "create", query={"name": spec.name}, body=body)["Id"])
        except Unavailable:
            raise
        except OctoError as error:
            raise DeployFailed(f'cannot make the container "{spec.name}": {error.message}') from None
        try:
            for link in spec.links:
                self._links.join(link, id, ())
        except OctoError:
            self._engine.remove_container(id)
            raise
        return id

    def _start(self, id: str, spec: ContainerSpec) -> None:
        try:
            self._engine.post("containers", id, "start")
        except OctoError as error:
            holder = self._holder(spec.address)
            self._engine.remove_container(id)
            if isinstance(error, Unavailable):
                raise
            why = f"its address {spec.address} still belongs to {shown(holder)}" if holder else error.message
            raise DeployFailed(f'cannot start "{spec.name}": {why}') from None

    def _holder(self, address: str | None) -> str | None:
        """The container that has the address now; the engine's refusal does not name it."""
        with contextlib.suppress(OctoError):
            for end in (self._found_network() or {}).get("Containers", {}).values():
                if address and end["IPv4Address"].split("/")[0] == address:
                    return str(end["Name"])
        return None

    def _clear(self, name: str) -> None:
        found = self._engine.find("containers", name, "json")
        if not found or found["Name"] != "/" + name:
            return
        if self._running(found) is None:
            raise DeployFailed(
                f'cannot make the container "{name}": a container of that name is not octo\'s',
                hint=f"Remove or rename it: docker rename {name} other",
            )
        self._engine.remove_container(found["Id"])

    def _own(self, name: str) -> str:
        running = self.inspect(name)
        if running is None:
            raise NotFound(f"cannot find the container {shown(name)}")
        return running.id

    def _kill(self, id: str) -> None:
        with contextlib.suppress(OctoError):
            self._engine.post("containers", id, "kill")

    def _running(self, found: Any) -> Running | None:
        return dockerspec.running(found, self._instance, self._network)


class Lines:
    """Log lines without their line feeds, as they come; `close` ends them from any thread."""

    def __init__(self, stream: Stream, *, tty: bool) -> None:
        self._stream = stream
        self._lines = self._split(_whole(stream.chunks()) if tty else demux(stream.chunks()))

    def __iter__(self) -> Iterator[bytes]:
        return self._lines

    def close(self) -> None:
        self._stream.close()

    def _split(self, frames: Iterable[tuple[int, bytes]]) -> Iterator[bytes]:
        """stdout and stderr each make lines of their own."""
        rest = {1: b"", 2: b""}
        try:
            for kind, data in frames:
                *whole, rest[kind] = (rest.get(kind, b"") + data).split(b"\n")
                yield from whole
                if len(rest[kind]) > LINE:
                    yield rest[kind]
                    rest[kind] = b""
            yield from (line for line in rest.values() if line)
        finally:
            self._stream.close()


def _whole(chunks: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """A terminal's stream has no frames: all of it is stdout."""
    return ((1, chunk) for chunk in chunks)
