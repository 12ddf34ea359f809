"""Apps, config, releases, builds, domains and keys over the Store: the only file that knows the key layout.

octo/apps/<id>                   App
octo/names/<name>                App.id
octohost/<name>/<KEY>            a config value, as it is (octohost's own layout)
octo/releases/<id>/<00000012>    Release
octo/builds/<id>/<build>         Build; ids sort by time
octo/formation/<id>              {"web": 2}
octo/routes/<id>                 Targets: where the app's requests go now
octo/domains/<hostname>          Domain
octo/keys/<fingerprint>          Key
octo/addresses/<address>         the container's name
octo/locks/<id>                  one change of an app at a time
octo/journal/<id>, octo/services/<id>   journal.py, registry_store.py
"""

import json
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from octo import codec
from octo.errors import Conflict, Forbidden, Locked, NoSuchApp, NotFound, Taken
from octo.model import App, AppName, Build, Domain, Fingerprint, Hostname, Key, Release
from octo.ports import Store, Stream, Write

CONFIG = "octohost/"
DOCUMENTS = "octo/"
ADDRESSES = "octo/addresses/"


@dataclass(frozen=True)
class Targets:
    """What the router sends an app's requests to; written by the commit of a deploy."""

    release: int
    routed: bool = True
    addresses: tuple[str, ...] = ()  # "address:port"
    streams: tuple[Stream, ...] = ()  # its ports of the host, those without containers too


class Catalog:
    def __init__(self, store: Store) -> None:
        self.store = store

    # --- apps ---

    def apps(self) -> Sequence[App]:
        found = [codec.loads(App, v.data) for _, v in self.store.list("octo/apps/")]
        return sorted(found, key=lambda a: a.name)

    def app(self, name: AppName) -> App:
        found = self.store.get(f"octo/names/{name}")
        app = self.by_id(found.data.decode()) if found else None
        if app is None:
            raise NoSuchApp(f'cannot find the app "{name}"', hint=f"Make it: octo apps:create {name}")
        return app

    def by_id(self, id: str) -> App | None:
        found = self.store.get(f"octo/apps/{id}")
        return codec.loads(App, found.data) if found else None

    def create(self, name: AppName, *, now: float, owner: str | None) -> App:
        """Raises Taken when the name is another app's."""
        app = codec.build(App, {"id": secrets.token_hex(6), "name": name, "created_at": now, "owner": owner})
        try:
            self.store.put_many([Write(f"octo/names/{name}", app.id.encode(), 0), app_write(app)])
        except Conflict:
            raise Taken(f'cannot create "{name}": an app of that name is there already') from None
        return self.app(name)

    def rename(self, app: App, name: AppName) -> App:
        """Move the name, and the config that is kept under it, in one transaction."""
        new = replace(app, name=name)
        old = self.store.list(f"{CONFIG}{app.name}/")
        moved = [Write(CONFIG + name + key.removeprefix(CONFIG + app.name), value.data) for key, value in old]
        index = [Write(f"octo/names/{name}", app.id.encode(), 0), Write(f"octo/names/{app.name}", None)]
        try:
            self.store.put_many([*index, app_write(new), *moved, *(Write(key, None) for key, _ in old)])
        except Conflict:
            raise Taken(f'cannot rename "{app.name}": there is an app "{name}" already') from None
        return new

    def removal(self, app: App) -> Sequence[Write]:
        """The writes that make an app never have been."""
        prefixes = (f"{CONFIG}{app.name}/", f"octo/releases/{app.id}/", f"octo/builds/{app.id}/")
        keys = [key for prefix in prefixes for key, _ in self.store.list(prefix)]
        keys += [f"octo/domains/{d.hostname}" for d in self.domains(app)]
        keys += [f"octo/{noun}/{app.id}" for noun in ("apps", "formation", "routes")]
        return [Write(key, None) for key in [*keys, f"octo/names/{app.name}"]]

    def lock(
        self, app: App, *, holder: str, wait: float = 0, waiting: Callable[[str], None] | None = None
    ) -> AbstractContextManager[None]:
        """Hold off every other change of the app. Raises Locked, in words, when it stays taken."""
        return self.store.lock(lock_key(app.id), holder=holder, wait=wait, waiting=waiting)

    def busy(self, app: App, error: Locked) -> Locked:
        return Locked(
            f'cannot change "{app.name}" now: {error.holder} is at it',
            holder=error.holder,
            hint="Try again in a while.",
        )

    # --- config ---

    def config(self, app: App) -> dict[str, str]:
        prefix = f"{CONFIG}{app.name}/"
        pairs = ((key.removeprefix(prefix), value.data) for key, value in self.store.list(prefix))
        return {key: data.decode("utf-8", "replace") for key, data in pairs if "/" not in key}

    def config_writes(self, app: App, changes: Mapping[str, str | None]) -> Sequence[Write]:
        return [Write(f"{CONFIG}{app.name}/{k}", None if v is None else v.encode()) for k, v in changes.items()]

    # --- formation, routes ---

    def scale(self, app: App) -> dict[str, int]:
        found = self.store.get(f"octo/formation/{app.id}")
        return dict(json.loads(found.data)) if found else {}

    def targets(self) -> Mapping[str, Targets]:
        """By App.id."""
        found = self.store.list("octo/routes/")
        return {key.rpartition("/")[2]: codec.loads(Targets, value.data) for key, value in found}

    # --- releases, builds ---

    def releases(self, app: App) -> Sequence[Release]:
        """Oldest first."""
        return [codec.loads(Release, v.data) for _, v in self.store.list(f"octo/releases/{app.id}/")]

    def release(self, app: App, version: int) -> Release:
        found = self.store.get(_release_key(app.id, version))
        if not found:
            raise NotFound(f'cannot find release v{version} of "{app.name}"', hint="See: octo releases")
        return codec.loads(Release, found.data)

    def live(self, app: App) -> Release | None:
        return self.release(app, app.live) if app.live else None

    def builds(self, app: App) -> Sequence[Build]:
        """Oldest first."""
        return [codec.loads(Build, v.data) for _, v in self.store.list(f"octo/builds/{app.id}/")]

    def build(self, app: App, id: str) -> Build:
        """Find by id or by an unambiguous beginning of it."""
        found = self.store.list(f"octo/builds/{app.id}/{id}")
        if not id or len(found) != 1:
            raise NotFound(f'cannot find the build "{id[:40]}" of "{app.name}"', hint="See: octo builds")
        return codec.loads(Build, found[0][1].data)

    def save_build(self, build: Build) -> None:
        self.store.put(f"octo/builds/{build.app}/{build.id}", codec.dumps(build))

    def forget_build(self, build: Build) -> None:
        self.store.delete(f"octo/builds/{build.app}/{build.id}")

    # --- domains ---

    def domains(self, app: App | None = None) -> Sequence[Domain]:
        found = [codec.loads(Domain, v.data) for _, v in self.store.list("octo/domains/")]
        return [d for d in found if app is None or d.app == app.id]

    def add_domain(self, app: App, name: Hostname, *, now: float) -> Domain:
        """Raises Taken when another app has it; adding it again is no error."""
        domain = Domain(name, app.id, now)
        try:
            self.store.put(f"octo/domains/{name}", codec.dumps(domain), expect=0)
        except Conflict:
            if all(d.hostname != name for d in self.domains(app)):
                raise Taken(f'cannot add the domain "{name}": another app has it') from None
        return domain

    def remove_domain(self, app: App, name: Hostname) -> None:
        if all(d.hostname != name for d in self.domains(app)):
            raise NotFound(
                f'cannot remove the domain "{name}": "{app.name}" does not have it', hint="See: octo domains"
            )
        self.store.delete(f"octo/domains/{name}")

    # --- keys ---

    def keys(self) -> Sequence[Key]:
        return sorted((codec.loads(Key, v.data) for _, v in self.store.list("octo/keys/")), key=lambda k: k.added_at)

    def key(self, fingerprint: Fingerprint) -> Key | None:
        found = self.store.get(f"octo/keys/{fingerprint}")
        return codec.loads(Key, found.data) if found else None

    def add_key(self, key: Key) -> None:
        """Raises Forbidden when somebody else has that key; adding it again is no error."""
        try:
            self.store.put(f"octo/keys/{key.fingerprint}", codec.dumps(key), expect=0)
        except Conflict:
            other = self.key(key.fingerprint)
            if other and other.user != key.user:
                raise Forbidden(f"cannot add the key {key.fingerprint}: it belongs to {other.user}") from None

    def remove_key(self, key: Key) -> None:
        self.store.delete(f"octo/keys/{key.fingerprint}")

    # --- addresses ---

    def allotted(self) -> Mapping[str, str]:
        """Address -> name of the container that has it."""
        return {key.removeprefix(ADDRESSES): value.data.decode() for key, value in self.store.list(ADDRESSES)}


def free_addresses(candidates: Iterable[str], taken: Mapping[str, str], count: int, *, after: str | None) -> list[str]:
    """Choose `count` addresses, going round from `after`, so that a freed one rests as long as can be."""
    every = list(candidates)
    start = every.index(after) + 1 if after in every else 0
    free = [a for a in every[start:] + every[:start] if a not in taken]
    if len(free) < count:
        raise Conflict("cannot allot an address: all of the apps' network are taken", hint="Choose a larger subnet.")
    return free[:count]


def lock_key(app: str) -> str:
    """app: App.id."""
    return f"octo/locks/{app}"


def app_write(app: App) -> Write:
    return Write(f"octo/apps/{app.id}", codec.dumps(app))


def release_write(release: Release, *, expect: int | None = None) -> Write:
    return Write(_release_key(release.app, release.version), codec.dumps(release), expect)


def scale_write(app: App, scale: Mapping[str, int]) -> Write:
    return Write(f"octo/formation/{app.id}", codec.dumps(scale))


def targets_write(app: App, targets: Targets) -> Write:
    return Write(f"octo/routes/{app.id}", codec.dumps(targets))


def address_write(address: str, name: str | None) -> Write:
    """name None frees the address."""
    return Write(ADDRESSES + address, None if name is None else name.encode(), 0 if name else None)


def _release_key(app: str, version: int) -> str:
    return f"octo/releases/{app}/{version:08d}"
