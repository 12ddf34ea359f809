"""Apps, config, releases, builds, domains and keys over the Store: the only file that knows the key layout.

octo/apps/<id>                   App
octo/names/<name>                App.id
octo/branches/<id>/<hash>        App.id of the app that a branch of <id> has; hash: of the branch
octo/ends/<id>                   when an app goes by itself: seconds since the epoch
octohost/<name>/<KEY>            a config value, as it is (octohost's own layout)
octo/releases/<id>/<00000012>    Release
octo/builds/<id>/<build>         Build; ids sort by time
octo/formation/<id>              {"web": 2}
octo/configs/<id>                a digest of the config that octo knows of: another one was written by somebody else
octo/routes/<id>                 Targets: where the app's requests go now
octo/live/<id>                   Live: of the release that serves what lists show
octo/domains/<hostname>          Domain
octo/keys/<fingerprint>          Key
octo/addresses/<address>         the container's name
octo/forwarding                    which logs go elsewhere: daemon/forwarding.py
octo/locks/<id>                  one change of an app at a time
octo/journal/<id>, octo/services/<id>   journal.py, registry_store.py
"""

import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from typing import TypeVar

from octo import codec
from octo.catalog.writes import (
    ADDRESSES,
    CONFIG,
    ENDS,
    KNOWN_CONFIG,
    Live,
    Targets,
    app_write,
    branch_key,
    digest,
    lock_key,
    release_key,
    strange,
    usable,
)
from octo.errors import Conflict, Forbidden, Locked, NoSuchApp, NotFound, Taken
from octo.model import App, AppName, Build, Domain, Fingerprint, Hostname, Key, Release
from octo.ports import Store, Write

T = TypeVar("T")


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
        return self.add(app)

    def add(self, app: App, more: Sequence[Write] = ()) -> App:
        """Make it known, with what else is to be written. Raises Taken when the name is another app's."""
        index = [Write(branch_key(app.parent, app.branch), app.id.encode(), 0)] if app.parent else []
        try:
            self.store.put_many([Write(f"octo/names/{app.name}", app.id.encode(), 0), app_write(app), *index, *more])
        except Conflict:
            raise Taken(f'cannot create "{app.name}": an app of that name is there already') from None
        return self.app(app.name)

    def rename(self, app: App, name: AppName) -> App:
        """Move the name, and the config that is kept under it, in one transaction."""
        if name != app.name and self.kept_config(name) and self.store.get(f"octo/names/{name}") is None:
            raise Taken(
                f'cannot rename "{app.name}": there is config under "{name}", kept of an app that went',
                hint=f"Ask the operator to remove it: octo remove:config {name}",
            )
        new = replace(app, name=name)
        old = self.store.list(f"{CONFIG}{app.name}/")
        moved = [Write(CONFIG + name + key.removeprefix(CONFIG + app.name), value.data) for key, value in old]
        index = [Write(f"octo/names/{name}", app.id.encode(), 0), Write(f"octo/names/{app.name}", None)]
        try:
            self.store.put_many([*index, app_write(new), *moved, *(Write(key, None) for key, _ in old)])
        except Conflict:
            raise Taken(f'cannot rename "{app.name}": there is an app "{name}" already') from None
        return new

    def removal(self, app: App, *, config: bool = True) -> Sequence[Write]:
        """The writes that make an app never have been. config False: its config stays."""
        prefixes = [f"octo/releases/{app.id}/", f"octo/builds/{app.id}/"]
        prefixes += [f"{CONFIG}{app.name}/"] if config else []
        keys = [key for prefix in prefixes for key, _ in self.store.list(prefix)]
        keys += [f"octo/domains/{d.hostname}" for d in self.domains(app)]
        keys += [f"octo/{noun}/{app.id}" for noun in ("apps", "formation", "routes", "configs", "live", "ends")]
        keys += [branch_key(app.parent, app.branch)] if app.parent else []
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

    # --- branches that are apps of their own ---

    def branch_app(self, parent: App, ref: str) -> App | None:
        """The app of that branch of `parent`, whatever it is called by now."""
        found = self.store.get(branch_key(parent.id, ref))
        return self.by_id(found.data.decode()) if found else None

    def branch_apps(self, parent: App) -> Sequence[App]:
        found = [self.by_id(v.data.decode()) for _, v in self.store.list(f"octo/branches/{parent.id}/")]
        return sorted((a for a in found if a), key=lambda a: a.name)

    def endings(self) -> Mapping[str, float]:
        """App.id -> when it goes by itself, of those that do."""
        return {key.removeprefix(ENDS): float(value.data) for key, value in self.store.list(ENDS)}

    def ending(self, app: App) -> float | None:
        found = self.store.get(ENDS + app.id)
        return float(found.data) if found else None

    # --- config ---

    def config(self, app: App) -> dict[str, str]:
        """Anybody may have written there: keys and values that no config can have are left out."""
        return dict(usable(f"{CONFIG}{app.name}/", self.store.list(f"{CONFIG}{app.name}/")))

    def strange(self) -> Mapping[str, bytes]:
        """The digest of each app's config (by App.id) that is another than octo knows of."""
        known = {key.removeprefix(KNOWN_CONFIG): value.data for key, value in self.store.list(KNOWN_CONFIG)}
        return strange(self.apps(), self.store.list(CONFIG), known, self.domains())

    def knows(self, app: App, config: Mapping[str, str]) -> bool:
        """Whether octo wrote that config, or has made a release of it."""
        found = self.store.get(KNOWN_CONFIG + app.id)
        return found is not None and found.data == digest(config)

    def unusable(self) -> Sequence[str]:
        """Keys that stand where an app's config does, and cannot be config."""
        found = []
        for app in self.apps():
            prefix = f"{CONFIG}{app.name}/"
            there = self.store.list(prefix)
            good = {key for key, _ in usable(prefix, there)}
            found += [key for key, _ in there if key.removeprefix(prefix) not in good]
        return found

    def kept_config(self, name: AppName) -> Sequence[str]:
        """All keys under a name, sub-keys too, whether there is an app of it or not."""
        return [key for key, _ in self.store.list(f"{CONFIG}{name}/")]

    def keep_config(self, name: AppName, config: Mapping[str, str]) -> None:
        """Write config under a name for the app that will have it."""
        self.store.put_many([Write(f"{CONFIG}{name}/{key}", value.encode()) for key, value in config.items()])

    def forget_config(self, name: AppName) -> int:
        """Remove all of them; returns how many there were."""
        keys = self.kept_config(name)
        self.store.put_many([Write(key, None) for key in keys])
        return len(keys)

    def config_writes(self, app: App, changes: Mapping[str, str | None]) -> Sequence[Write]:
        return [Write(f"{CONFIG}{app.name}/{k}", None if v is None else v.encode()) for k, v in changes.items()]

    # --- formation, routes ---

    def scale(self, app: App) -> dict[str, int]:
        found = self.store.get(f"octo/formation/{app.id}")
        return dict(json.loads(found.data)) if found else {}

    def scales(self) -> Mapping[str, Mapping[str, int]]:
        """By App.id, of those that were scaled."""
        return {key.rpartition("/")[2]: json.loads(value.data) for key, value in self.store.list("octo/formation/")}

    def targets(self) -> Mapping[str, Targets]:
        """By App.id."""
        found = self.store.list("octo/routes/")
        return {key.rpartition("/")[2]: codec.loads(Targets, value.data) for key, value in found}

    # --- releases, builds ---

    def releases(self, app: App) -> Sequence[Release]:
        """Oldest first."""
        return [codec.loads(Release, v.data) for _, v in self.store.list(f"octo/releases/{app.id}/")]

    def release(self, app: App, version: int) -> Release:
        found = self.store.get(release_key(app.id, version))
        if not found:
            raise NotFound(f'cannot find release v{version} of "{app.name}"', hint="See: octo releases")
        return codec.loads(Release, found.data)

    def live(self, app: App) -> Release | None:
        return self.release(app, app.live) if app.live else None

    def lives(self) -> Mapping[str, Live]:
        """By App.id, of every app that has a release which served."""
        return {key.rpartition("/")[2]: codec.loads(Live, value.data) for key, value in self.store.list("octo/live/")}

    def brief(self, app: App) -> Live | None:
        found = self.store.get(f"octo/live/{app.id}")
        return codec.loads(Live, found.data) if found else None

    def live_write(self, app: App, release: Release) -> Write:
        stack, slug = "", 0
        with suppress(NotFound):  # records of builds are kept for a while, releases longer
            build = self.build(app, release.build)
            stack, slug = build.stack, build.slug
        live = Live(release.version, release.created_at, release.routed, release.processes, stack, slug, release.port)
        return Write(f"octo/live/{app.id}", codec.dumps(live))

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

    def versioned_domains(self) -> Mapping[Hostname, tuple[Domain, int]]:
        """By name, each with the version of its document."""
        found = [(codec.loads(Domain, v.data), v.version) for _, v in self.store.list("octo/domains/")]
        return {domain.hostname: (domain, version) for domain, version in found}

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

    # --- logs that go elsewhere ---

    def forwarding(self, kind: type[T]) -> T:
        found = self.store.get("octo/forwarding")
        return codec.loads(kind, found.data if found else b"{}")

    def save_forwarding(self, wanted: object) -> None:
        self.store.put("octo/forwarding", codec.dumps(wanted))

    # --- addresses ---

    def allotted(self) -> Mapping[str, str]:
        """Address -> name of the container that has it."""
        return {key.removeprefix(ADDRESSES): value.data.decode() for key, value in self.store.list(ADDRESSES)}
