"""What a container is started with beside its image: variables, links, volumes, mounts, memory, ports."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from octo.catalog import Catalog
from octo.errors import DeployFailed
from octo.formation import services
from octo.model import App, Release, Slot, environment
from octo.options import is_data, memory_limit
from octo.pipeline.links import Links
from octo.pipeline.permits import Permits, target
from octo.ports import ContainerSpec, Mounted, Ports, Stream, Volume
from octo.runoptions import Link

PAUSE = 0.1  # seconds between two looks at a data container


@dataclass(frozen=True)
class Outfitter:
    ports: Ports
    catalog: Catalog
    links: Links
    permits: Permits
    instance: str

    def outfit(self, app: App, release: Release, spec: ContainerSpec) -> ContainerSpec:
        """The spec with all that the release asks for; `spec.env` is added to. What is asked for was permitted."""
        env = {**self.links.environment(app, release), **environment(app.name, release, spec.process, spec.index)}
        return replace(
            spec,
            env={**env, **spec.env},
            memory=memory_limit(release.config),
            hostname=app.name if release.options.add_name else "",
            mounts=self._mounts(app, release),
            links=tuple(joint.network for joint in self.links.of(app, release)),
        )

    def fill(self, app: App, release: Release, seconds: float) -> Sequence[str]:
        """Run a data app's command once, so that its volumes are made and filled; returns their paths.

        It may end, and is ended after `seconds`. Raises DeployFailed when it fails.
        """
        name = f"{self.instance}-{app.name}-v{release.version}-data"
        image = self.ports.runtime.image(release.image)
        command = None if image is None or image.command else "true"  # no matter which: it need not even be there
        spec = ContainerSpec(name, release.image, app.id, release.version, "data", 1, None, {}, command)
        self.ports.runtime.start(self.outfit(app, release, spec))
        end = self.ports.clock.monotonic() + seconds
        try:
            while (found := self.ports.runtime.inspect(name)) and found.state == "running":
                if self.ports.clock.monotonic() > end:
                    break
                self.ports.clock.sleep(PAUSE)
            if found and found.state != "running" and found.exit_code and command is None:
                raise DeployFailed(f'cannot deploy "{app.name}": its command ended with exit code {found.exit_code}')
        finally:
            self.ports.runtime.stop(name, 1)
        return release.volumes

    def _mounts(self, app: App, release: Release) -> tuple[Mounted, ...]:
        found = [Mounted(m.host, m.container) for m in release.options.mounts]
        if is_data(app.name):
            found += kept(self.instance, app, release)
        if release.options.volumes_from:
            data = self._data(app)
            if data is None:  # started without them it would serve, and lose what it writes
                raise DeployFailed(
                    f'cannot start "{app.name}": the app that keeps its volumes is not there',
                    hint=f"Push {app.name}_data: what it kept is still there.",
                )
            found += kept(self.instance, *data)
        return tuple(found)

    def _data(self, app: App) -> tuple[App, Release] | None:
        found = target(self.catalog, app, Link("data"))
        live = self.catalog.live(found) if found else None
        return (found, live) if found and live else None


def kept(instance: str, app: App, release: Release) -> list[Mounted]:
    """The volumes of a data app, at their paths."""
    found = [volume(instance, app, path) for path in release.volumes]
    return [Mounted(v.name, v.path, v) for v in found]


def volume(instance: str, app: App, path: str) -> Volume:
    """Named by the app's name and the path: a new app of that name finds it again. No app's name has a dot."""
    short = re.sub(r"[^A-Za-z0-9]+", "-", path).strip("-")[-30:]
    name = f"{instance}.{app.name}.{short}-{hashlib.sha256(path.encode()).hexdigest()[:8]}"
    return Volume(name, app.name, path, app.owner or "")


def streams(release: Release, slots: Sequence[Slot]) -> tuple[Stream, ...]:
    """The ports of the host that lead to these containers."""
    serving = [slot.address for slot in slots if services(slot.process, release.processes)]
    return tuple(
        Stream(port.ip, port.host, tuple(sorted(f"{address}:{port.container}" for address in serving)))
        for port in release.options.ports
    )
