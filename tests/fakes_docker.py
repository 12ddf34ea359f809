"""In-memory stand-ins for Docker: containers start at once, images are names, and the probe knows."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from ipaddress import IPv4Network

from octo.dockerspec import allottable
from octo.errors import BuildFailed, Cancelled, Conflict, DeployFailed, NotFound, Unavailable
from octo.ports import BuildSpec, ContainerSpec, Image, Running, SlugSpec, Streams, Volume


class FakeRuntime:
    """behaviour: what containers of an image do: "ok", "exits" at once with 1, "silent": stay up and listen nowhere."""

    def __init__(self, subnet: str = "10.213.0.0/16") -> None:
        self.images: dict[str, Image] = {}
        self.names: dict[str, str] = {}  # "name:tag" -> image id
        self.behaviour: dict[str, str] = {}
        self.containers: dict[str, Running] = {}
        self.specs: dict[str, ContainerSpec] = {}
        self.lines: dict[str, list[bytes]] = {}
        self.kept: set[str] = set()
        self.stopped: list[tuple[str, float]] = []  # (name, grace), in order
        self.stubborn: set[str] = set()  # names that SIGTERM does not end
        self.prepared = 0
        self.nets: dict[str, dict[str, tuple[str, ...]]] = {}  # link network -> container name -> aliases
        self.disks: dict[str, Volume] = {}
        self._subnet = IPv4Network(subnet)
        self._made = 0

    def add(
        self,
        ref: str,
        *,
        ports: tuple[int, ...] = (5000,),
        command: bool = True,
        behaviour: str = "ok",
        volumes: tuple[str, ...] = (),
    ) -> Image:
        """Make an image of that name."""
        image = Image("sha256:" + hashlib.sha256(ref.encode()).hexdigest(), ports, command, {}, volumes)
        self.images[image.id], self.names[ref], self.behaviour[image.id] = image, image.id, behaviour
        return image

    def prepare(self) -> None:
        self.prepared += 1

    def clear(self) -> None:
        self.prepared = 0

    def addresses(self) -> Iterable[str]:
        return allottable(self._subnet)

    def image(self, ref: str) -> Image | None:
        return self.images.get(self.names.get(ref, ref))

    def tag(self, image: str, ref: str) -> None:
        found = self.image(image)
        if found is None:
            raise NotFound(f"No such image: {image}")
        self.names[ref] = found.id

    def untag(self, ref: str) -> None:
        id = self.names.get(ref)
        if id is None:
            return
        last = list(self.names.values()).count(id) == 1
        if last and any(c.image == id for c in self.containers.values()):
            return
        del self.names[ref]
        if last:
            del self.images[id]

    def start(self, spec: ContainerSpec) -> Running:
        image = self.image(spec.image)
        self.containers.pop(spec.name, None)
        if image is None:
            raise DeployFailed(f'cannot make the container "{spec.name}": No such image: {spec.image}')
        if spec.command is None and not image.command:
            raise DeployFailed(f'cannot make the container "{spec.name}": No command specified')
        holder = next((c.name for c in self._up() if spec.address and c.address == spec.address), None)
        if holder:
            raise DeployFailed(f'cannot start "{spec.name}": its address {spec.address} still belongs to "{holder}"')
        self.containers[spec.name] = running = self._running(spec, image)
        self.disks |= {m.source: m.volume for m in spec.mounts if m.volume and m.source not in self.disks}
        for link in spec.links:
            self.join(link, spec.name, ())
        self.specs[spec.name] = spec
        self.lines.setdefault(spec.name, [])
        return running

    def keep(self, name: str) -> None:
        self._there(name)
        self.kept.add(name)

    def inspect(self, name: str) -> Running | None:
        return self.containers.get(name)

    def list(self, app: str | None = None) -> Sequence[Running]:
        return sorted((c for c in self.containers.values() if app in (None, c.app)), key=lambda c: c.name)

    def listening(self, name: str) -> Sequence[tuple[str, int]]:
        container = self._there(name)
        heard = container.state == "running" and self.behaviour.get(container.image, "ok") == "ok"
        return [("0.0.0.0", port) for port in self.images[container.image].ports] if heard else []

    def join(self, link: str, name: str, aliases: Sequence[str]) -> None:
        self._there(name)
        self.nets.setdefault(link, {}).setdefault(name, tuple(aliases))

    def members(self, app: str | None = None) -> Mapping[str, Sequence[str]]:
        up = {c.name for c in self._up()}
        nets = {k: inside for k, inside in self.nets.items() if app is None or app in k.split("-")}
        return {link: sorted(up & set(inside)) for link, inside in nets.items()}

    def unlink(self, link: str) -> None:
        self.nets.pop(link, None)

    def volumes(self, app: str | None = None) -> Sequence[Volume]:
        return sorted((v for v in self.disks.values() if app in (None, v.app)), key=lambda v: v.name)

    def remove_volume(self, name: str) -> None:
        if any(m.source == name for c in self.containers for m in self.specs[c].mounts):
            raise Conflict(f"volume {name} is in use")
        self.disks.pop(name, None)

    def stop(self, name: str, grace: float) -> bool:
        for inside in self.nets.values():
            inside.pop(name, None)
        if self.containers.pop(name, None):
            self.stopped.append((name, grace))
            self.kept.discard(name)
        return name in self.stubborn

    def logs(self, name: str, *, tail: int, follow: bool) -> Iterable[bytes]:
        self._there(name)
        return list(self.lines[name][-tail:]) if tail else []

    def attach(self, spec: ContainerSpec, streams: Streams, size: tuple[int, int]) -> int:
        code = self.start(spec).exit_code
        del self.containers[spec.name]
        return code

    def crash(self, name: str, *, code: int = 1, oom: bool = False) -> None:
        """What an app does to itself."""
        self.containers[name] = replace(self._there(name), state="exited", exit_code=code, oom=oom)

    def _up(self) -> Iterable[Running]:
        return (c for c in self.containers.values() if c.state == "running")

    def _there(self, name: str) -> Running:
        if name not in self.containers:
            raise NotFound(f'cannot find the container "{name}"')
        return self.containers[name]

    def _running(self, spec: ContainerSpec, image: Image) -> Running:
        self._made += 1
        ended = self.behaviour.get(image.id, "ok") == "exits"
        return Running(
            id=f"{self._made:064x}",
            name=spec.name,
            app=spec.app,
            release=spec.release,
            process=spec.process,
            index=spec.index,
            address=spec.address or f"{self._subnet.network_address + 1 + self._made}",
            state="exited" if ended else "running",
            exit_code=1 if ended else 0,
            oom=False,
            started_at=float(self._made),
            image=image.id,
        )


class FakeBuilder:
    """Makes an image of every context; `failure` makes the next builds fail with these words."""

    def __init__(self, runtime: FakeRuntime, *, ports: tuple[int, ...] = (5000,)) -> None:
        self.runtime = runtime
        self.ports = ports
        self.failure = ""
        self.behaviour = "ok"  # of the images that are made
        self.env: dict[str, str] = {}  # and what their ENV holds
        self.volumes: tuple[str, ...] = ()
        self.built: list[BuildSpec] = []
        self.composed: list[SlugSpec] = []
        self.stacks: set[str] | None = None  # the versions that there are; None: any
        self.forgotten: list[str] = []
        self.warmed = 0

    def build(
        self, spec: BuildSpec, context: Iterable[bytes], output: Callable[[bytes], None], cancelled: Callable[[], bool]
    ) -> str:
        files = b"".join(context)
        if cancelled():
            raise Cancelled("cannot finish the build: nobody waits for it any more")
        output(b"Step 1/1 : FROM scratch\n")
        if self.failure:
            raise BuildFailed(f"cannot build the image: {self.failure}")
        id = "sha256:" + hashlib.sha256(files).hexdigest()
        self.runtime.images[id], self.runtime.names[spec.tag] = self._image(id), id
        self.runtime.behaviour[id] = self.behaviour
        self.built.append(spec)
        return id

    def _image(self, id: str) -> Image:
        return Image(id, self.ports, True, dict(self.env), self.volumes)

    def compose(self, spec: SlugSpec, slug: Iterable[bytes]) -> str:
        if self.stacks is not None and spec.stack not in self.stacks:
            raise NotFound(f'cannot make the image: there is no stack "{spec.stack}"')
        id = "sha256:" + hashlib.sha256(b"".join((spec.stack.encode(), *slug))).hexdigest()
        self.runtime.images[id], self.runtime.names[spec.tag] = Image(id, (), True), id
        self.runtime.behaviour[id] = self.behaviour
        self.composed.append(spec)
        return id

    def prewarm(self) -> None:
        self.warmed += 1

    def sweep(self) -> Sequence[str]:
        return ()

    def forget(self, app: str) -> None:
        self.forgotten.append(app)


class FakeProbe:
    """Asks the runtime who is there. answers: (address, port) -> status, before anything else."""

    def __init__(self, runtime: FakeRuntime) -> None:
        self.runtime = runtime
        self.answers: dict[tuple[str, int], int | None] = {}
        self.asked: list[tuple[str, int, str, str]] = []

    def http(self, address: str, port: int, path: str, host: str) -> int | None:
        self.asked.append((address, port, path, host))
        if (address, port) in self.answers:
            return self.answers[address, port]
        up = next((c for c in self.runtime.containers.values() if c.address == address and c.state == "running"), None)
        if up is None:
            return None
        return 200 if self.runtime.behaviour.get(up.image, "ok") == "ok" else None


class FakeImages:
    """An image registry in a dictionary; the images are those of a FakeRuntime."""

    def __init__(self, runtime: FakeRuntime, at: str = "") -> None:
        self.runtime, self.at = runtime, at
        self.there: dict[str, Image] = {}  # "name:tag"

    def local(self, name: str) -> str:
        return f"octoprod/{name}:latest"

    def push(self, image: str, name: str, tags: Sequence[str]) -> None:
        self._check()
        found = self.runtime.image(image)
        if found is None:
            raise NotFound(f"No such image: {image}")
        self.there |= {f"{name}:{tag}": found for tag in tags}

    def pull(self, name: str) -> str:
        self._check()
        found = self.there.get(f"{name}:latest")
        if found is None:
            raise Unavailable(f"cannot pull {name} from {self.at}: it has no such image")
        self.runtime.images[found.id] = found
        self.runtime.names[self.local(name)] = found.id
        return found.id

    def _check(self) -> None:
        if not self.at:
            raise Unavailable("This feature requires a private registry.")
