"""What an app may have of the host and of other apps: asked before its build where that shows it, and at each start."""

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from octo.catalog import Catalog
from octo.errors import DeployFailed, Forbidden, NoSuchApp, NotFound, Taken, Usage
from octo.model import App, UserName, app_name, shown
from octo.options import DATA, is_data
from octo.ports import Ports, Stream
from octo.runoptions import HostPort, Link, RunOptions


@dataclass(frozen=True)
class Permits:
    """reserved: octo's own ports, each with what listens there."""

    ports: Ports
    catalog: Catalog
    reserved: Mapping[int, str]

    def check(self, app: App, options: RunOptions, *, user: UserName | None = None, anew: bool = True) -> None:
        """Raise the first reason for which the app may not have this.

        user: who asks; None is the operator, who is told more. anew: False lets a linked app be missing, as for what
        ran so far.
        """
        for mount in options.mounts:
            _need(app, f"mount={mount.host}", f"mount {shown(mount.host)}")
        for port in options.ports:
            self._port(app, port, user)
        busy = self.ports.router.taken([Stream(p.ip, p.host) for p in options.ports])
        if busy:
            raise DeployFailed(f'cannot give "{app.name}" its ports: {busy}', hint="Ask for another port, or free it.")
        for link in options.links:
            self._link(app, target_name(app, link), anew=anew)
        if options.volumes_from:
            self._data(app, anew=anew)
        if is_data(app.name):
            self._kept(app)

    def nested(self, words: Iterable[str]) -> None:
        """Refuse a mount that lies in another one, or around it: who has the outer one can put a link in its place."""
        given = [word.removeprefix("mount=") for word in words if word.startswith("mount=")]
        known = {w.removeprefix("mount=") for a in self.catalog.apps() for w in a.allowed if w.startswith("mount=")}
        for path in given:
            for other in sorted({*known, *given}):
                if _inside(path, other) or _inside(other, path):
                    raise Usage(
                        f"cannot allow {shown(path)} beside {shown(other)}: one lies inside the other",
                        hint="Choose folders that are apart: an app can put links into those that it has.",
                    )

    def _port(self, app: App, port: HostPort, user: UserName | None) -> None:
        if port.host in self.reserved:
            raise Forbidden(f"cannot have port {port.host}: it is octo's own ({self.reserved[port.host]})")
        _need(app, f"port={port.host}", f"have port {port.host} of the host")
        for id, targets in self.catalog.targets().items():
            if id != app.id and any(stream.port == port.host for stream in targets.streams):
                other = self.catalog.by_id(id)
                named = other and (user is None or user == other.owner)
                whose = f'the app "{other.name}"' if other and named else "another app"
                raise Taken(f"cannot have port {port.host}: {whose} has it", hint="Ask for another port.")

    def _link(self, app: App, name: str, *, anew: bool) -> None:
        if name == app.name:
            raise Usage(f'cannot link "{name}" to itself')
        other = _found(self.catalog, name)
        own = name.startswith(f"{app.name}_") and (other is None or other.owner == app.owner)
        if not own:
            _need(app, f"link={name}", f"link to {shown(name)}")
        if other is None and anew:
            raise NotFound(f"cannot link to {shown(name)}: there is no such app", hint="Push that one first.")

    def _data(self, app: App, *, anew: bool) -> None:
        self._link(app, f"{app.name}{DATA}", anew=anew)
        other = _found(self.catalog, f"{app.name}{DATA}")
        if anew and other and not other.live:
            raise NotFound(f'cannot have the volumes of "{other.name}": it has no release', hint="Push that one first.")

    def _kept(self, app: App) -> None:
        """A name is not enough to come by what another owner's app has left."""
        foreign = [v for v in self.ports.runtime.volumes(app.name) if app.owner and v.owner != app.owner]
        if foreign:
            raise Forbidden(
                f'cannot use the volumes of "{app.name}": they were left by an app of another owner',
                hint=f"Choose another name, or ask the operator: octo volumes:destroy {app.name}",
            )


def target_name(app: App, link: Link) -> str:
    """octohost's convention: a service of an app is the app APP_service."""
    return link.to or f"{app.name}_{link.alias}"


def target(catalog: Catalog, app: App, link: Link) -> App | None:
    return _found(catalog, target_name(app, link))


def _found(catalog: Catalog, name: str) -> App | None:
    try:
        return catalog.app(app_name(name))
    except (NoSuchApp, Usage):
        return None


def _need(app: App, word: str, what: str) -> None:
    if word not in app.allowed:
        raise Forbidden(
            f'cannot {what} in "{app.name}": only the operator can allow that',
            hint=f"Ask the operator to type: octo apps:allow {app.name} {shlex.quote(word)}",
        )


def _inside(path: str, other: str) -> bool:
    return path.startswith(f"{other}/")
