"""`octo run`: a one-off container with the app's live image and config, and the caller's streams."""

import secrets
from dataclasses import dataclass

from octo.catalog import Catalog
from octo.errors import NotFound
from octo.model import App
from octo.pipeline.outfit import Outfitter
from octo.ports import ContainerSpec, Runtime, Streams


@dataclass(frozen=True)
class OneOff:
    runtime: Runtime
    catalog: Catalog
    instance: str
    outfitter: Outfitter

    def prepare(self, app: App, command: str, *, tty: bool) -> ContainerSpec:
        """Decide what is to run: `command` by /bin/sh, or the process type of that name."""
        live = self.catalog.live(app)
        if live is None:
            raise NotFound(f'cannot run a command for "{app.name}": nothing is deployed', hint="Push something first.")
        name = f"{self.instance}-{app.name}-v{live.version}-run-{secrets.token_hex(3)}"
        self.outfitter.permits.check(app, live.options, anew=False)
        command = live.processes.get(command) or command
        spec = ContainerSpec(name, live.image, app.id, live.version, "run", 1, None, {}, command, tty=tty)
        return self.outfitter.outfit(app, live, spec)

    def attend(self, spec: ContainerSpec, streams: Streams, size: tuple[int, int]) -> int:
        """Run it to its end and return its exit code. size: rows, columns of the terminal."""
        return self.runtime.attach(spec, streams, size)

    def end(self, spec: ContainerSpec) -> None:
        """The caller has gone: kill it."""
        self.runtime.stop(spec.name, 0)
