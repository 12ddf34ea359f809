"""Changes of an app that need no build: config, scale, restart, stop, start, rollback, rename, destroy."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace

from octo.catalog import Catalog
from octo.catalog.writes import app_write, known_write
from octo.errors import Conflict, DeployFailed, Locked, NotFound
from octo.formation import wanted
from octo.journal import Journal, Procedure
from octo.model import App, AppName, Release, UserName
from octo.pipeline.deploy import Deployer
from octo.pipeline.domains import KEY, Domains, MayRead, listed, without
from octo.pipeline.plan import Deploy, cache_blob, describe
from octo.pipeline.removal import Removal
from octo.pipeline.routing import Routing
from octo.pipeline.steering import containers_key, formation
from octo.pipeline.steps import Budgets
from octo.pipeline.successor import rollback_to, successor
from octo.pipeline.volumes import refuse_in_use, refuse_with_volumes
from octo.ports import Console, Ports


class Changes:
    def __init__(
        self,
        ports: Ports,
        catalog: Catalog,
        routing: Routing,
        journal: Journal,
        deployer: Deployer,
        *,
        instance: str,
        budgets: Budgets,
        wait: float,
    ) -> None:
        self._ports, self._catalog, self._routing, self._journal = ports, catalog, routing, journal
        self._deployer, self._budgets, self._wait = deployer, budgets, wait
        self._removal = Removal(ports, catalog, routing, journal, instance, budgets, deployer.links)
        self.domains = Domains(catalog, routing, ports.clock.now)

    @contextmanager
    def alone(self, app: App, holder: str, tell: Callable[[str], None]) -> Iterator[App]:
        """Hold the app's lock, and yield the app as it is now. Raises Locked when another change goes on too long."""
        try:
            with self._catalog.lock(app, holder=holder, wait=self._wait, waiting=tell):
                now = self._catalog.by_id(app.id)
                if now is None:
                    raise NotFound(f'cannot change "{app.name}": it has been destroyed meanwhile')
                yield now
        except Locked as error:
            raise self._catalog.busy(app, error) from None

    def config(
        self,
        app: App,
        changes: Mapping[str, str | None],
        *,
        user: UserName | None,
        console: Console,
        restart: bool,
        may_read: MayRead = lambda app: False,
    ) -> Release | None:
        """Store the changes with a release that has them; without one, when nothing is live or `restart` is False.

        DOMAINS is the list of the app's domains, at once and without a release. may_read: as for `Domains.set`.
        """
        if KEY in changes:
            names = self.domains.set(app, listed(changes[KEY] or ""), may_read)
            console.result(f"The domains of {app.name}: {' '.join(names) or 'none beside its own names'}.")
            changes = without(changes)
            if not changes:
                return None
        with self.alone(app, f"a config change by {user or 'the operator'}", _waiting(console)) as app:
            now, live = self._catalog.config(app), self._catalog.live(app)
            if all(now.get(k) == v for k, v in changes.items()):
                console.result("Nothing to change: that is the config already.")
                return None
            kept = {k: v for k, v in {**now, **changes}.items() if v is not None}
            if live is None or not restart:
                known = known_write(app, kept)
                self._ports.store.put_many([*self._catalog.config_writes(app, changes), known])
                console.result(f"{describe(changes)}: for the next release.")
                return None
            return self._reconfigured(app, live, kept, changes, user, console)

    def adopt(self, app: App, console: Console) -> Release | None:
        """Make a release of config that somebody else wrote into the store; None when there is nothing new in it."""
        names = self._catalog.config(app).get(KEY)
        if names is not None and set(listed(names)) != {d.hostname for d in self._catalog.domains(app)}:
            self.domains.set(app, listed(names), lambda other: True)  # it is the operator who is told
        with self.alone(app, "a change of config in the store", _waiting(console)) as app:
            now, live = self._catalog.config(app), self._catalog.live(app)
            if self._catalog.knows(app, now):
                return None
            before = live.config if live else now
            keys = sorted(now.keys() | before.keys())
            changes = without({k: now.get(k) for k in keys if now.get(k) != before.get(k)})
            if live and changes:
                return self._reconfigured(app, live, now, changes, None, console, there=True)
            self._ports.store.put_many([known_write(app, now)])
            return None

    def _reconfigured(
        self,
        app: App,
        live: Release,
        config: Mapping[str, str],
        changes: Mapping[str, str | None],
        user: UserName | None,
        console: Console,
        *,
        there: bool = False,
    ) -> Release:
        """there: the changes are in the store already; the commit must not write them, they may be gone by then."""
        what = describe(changes) + ", in the store" * there
        release = successor(self._ports, self._catalog, app, live, config, what, user)
        scale, writes = formation(self._catalog, app, release), {} if there else changes
        want = {} if app.stopped else wanted(release.processes, scale)
        deploy = Deploy(app, release, fresh=True, want=want, config=writes, scale=scale, stop=app.stopped)
        done = self._deployer.deploy(deploy, console).release
        console.result(f"{describe(changes)}: v{done.version} is live.")
        return done

    def reload(self, app: App, *, user: UserName | None, console: Console) -> Release:
        """A release with the config as it is in the store, whoever wrote it there; a stopped app starts with it."""
        with self.alone(app, f"a reload by {user or 'the operator'}", _waiting(console)) as app:
            release = successor(
                self._ports,
                self._catalog,
                app,
                self._live(app),
                self._catalog.config(app),
                "Reload of the config",
                user,
            )
            scale = formation(self._catalog, app, release)
            want = wanted(release.processes, scale)
            done = self._deployer.deploy(Deploy(app, release, fresh=True, want=want, scale=scale), console).release
            console.result(f"Reloaded {app.name}: v{done.version} is live.")
            return done

    def rollback(self, app: App, version: int | None, *, user: UserName | None, console: Console) -> Release:
        """A new release with the image, processes and config of an old one. None: of the one before."""
        with self.alone(app, f"a rollback by {user or 'the operator'}", _waiting(console)) as app:
            old = rollback_to(self._ports, self._catalog, app, version, keep=self._budgets.keep)
            now = self._catalog.config(app)
            changes: dict[str, str | None] = {k: None for k in now if k not in old.config}
            changes |= {k: v for k, v in old.config.items() if now.get(k) != v}
            changes = without(changes)  # domains stay: another app may have got one meanwhile
            release = successor(self._ports, self._catalog, app, old, old.config, f"Rollback to v{old.version}", user)
            scale = formation(self._catalog, app, release)
            want = wanted(release.processes, scale)
            deploy = Deploy(app, release, fresh=True, want=want, config=changes, scale=scale)
            done = self._deployer.deploy(deploy, console).release
            console.result(f"Rolled back to v{old.version}, as v{done.version}.")
            return done

    def scale(
        self, app: App, numbers: Mapping[str, int], *, user: UserName | None, console: Console
    ) -> Mapping[str, int]:
        with self.alone(app, f"a scale by {user or 'the operator'}", _waiting(console)) as app:
            live = self._live(app)
            unknown = [p for p in numbers if p not in live.processes]
            if unknown:
                raise NotFound(
                    f'cannot scale "{unknown[0]}": "{app.name}" has no such process type',
                    hint=f"It has: {', '.join(sorted(live.processes))}.",
                )
            scale = {**self._catalog.scale(app), **numbers}
            want = {} if app.stopped else wanted(live.processes, scale)
            config = containers_key(self._catalog.config(app), numbers)
            release = replace(live, config={**live.config, **config})
            deploy = Deploy(app, release, fresh=False, want=want, replace=False, scale=scale, stop=app.stopped)
            self._deployer.deploy(replace(deploy, config=config), console)
            now = wanted(live.processes, scale)
            console.result(f"{app.name} runs {', '.join(f'{p}={n}' for p, n in now.items())}{_while(app)}.")
            return now

    def restart(self, app: App, only: str, *, user: UserName | None, console: Console) -> None:
        """New containers of the same release, and no request dropped. only: one process type, or "" for all."""
        with self.alone(app, f"a restart by {user or 'the operator'}", _waiting(console)) as app:
            live = self._live(app)
            if only and only not in live.processes:
                raise NotFound(f'cannot restart "{only}": "{app.name}" has no such process type')
            if app.stopped:
                raise DeployFailed(f'cannot restart "{app.name}": it is stopped', hint="Start it: octo ps:start")
            self._deployer.deploy(Deploy(app, live, fresh=False, want=self._want(app, live, False), only=only), console)
            console.result(f"Restarted {app.name}{f', {only}' if only else ''}.")

    def stop(self, app: App, *, user: UserName | None, console: Console) -> None:
        with self.alone(app, f"a stop by {user or 'the operator'}", _waiting(console)) as app:
            deploy = Deploy(app, self._live(app), fresh=False, want={}, replace=False, stop=True)
            self._deployer.deploy(deploy, console)
            console.result(f"Stopped {app.name}, until ps:start or the next push.")

    def start(self, app: App, *, user: UserName | None, console: Console) -> None:
        with self.alone(app, f"a start by {user or 'the operator'}", _waiting(console)) as app:
            live = self._live(app)
            deploy = Deploy(app, live, fresh=False, want=self._want(app, live, False), replace=False)
            self._deployer.deploy(deploy, console)
            console.result(f"Started {app.name}.")

    def allow(self, app: App, add: Sequence[str], remove: Sequence[str], *, console: Console) -> App:
        """What the operator lets the app have of the host and of other apps. Raises Usage."""
        with self.alone(app, "a change of what it is allowed", _waiting(console)) as app:
            allowed = (set(app.allowed) | set(add)) - set(remove)
            self._deployer.outfitter.permits.nested(set(add) - set(app.allowed))
            changed = replace(app, allowed=tuple(sorted(allowed)))
            self._ports.store.put_many([app_write(changed)])
            return changed

    def limit(self, app: App, changes: Mapping[str, float | None], *, user: UserName | None, console: Console) -> App:
        """Set the limits of the app's builds; None takes one back to the host's. From the next build on."""
        with self.alone(app, f"a change of limits by {user or 'the operator'}", _waiting(console)) as app:
            kept = {k: v for k, v in {**app.limits, **changes}.items() if v is not None}
            changed = replace(app, limits=kept)
            self._ports.store.put_many([app_write(changed)])
            return changed

    def purge(self, app: App, *, user: UserName | None, console: Console) -> int:
        """Empty the app's build cache; returns the bytes that it took. A build under way ends first."""
        with self.alone(app, f"a purge of the build cache by {user or 'the operator'}", _waiting(console)) as app:
            name, size = cache_blob(app.id), 0
            with suppress(NotFound):
                size = self._ports.blobs.size(name)
            self._ports.blobs.delete(name)
            self._ports.builder.forget(app.id)
            return size

    def retiring(self) -> frozenset[str]:
        return self._deployer.retiring()

    def rename(self, app: App, name: AppName, *, user: UserName | None) -> App:
        with self.alone(app, f"a rename by {user or 'the operator'}", lambda _: None) as app:
            refuse_with_volumes(self._ports.runtime.volumes(app.name), app)
            live = self._catalog.live(app)
            if live and live.options.volumes_from:
                raise Conflict(f'cannot rename "{app.name}": its volumes are found by its name')
            old = self._ports.registry.services(app.name)
            renamed = self._catalog.rename(app, name)
            for service in old:
                self._ports.registry.deregister(service.id)
                id = f"{name}-{service.address}-{service.port}"
                self._ports.registry.register(replace(service, id=id, name=name))
            self._routing.refresh()
            return renamed

    def destroy(
        self,
        app: App,
        *,
        user: UserName | None,
        keep_config: bool = False,
        keep_branches: bool = False,
        volumes: bool = False,
    ) -> None:
        """Forget the app and those of its branches, then remove all that belonged to them.

        Once forgotten, a crash goes on to the end: the branches' apps have got an end with the same write.
        keep_config: the app's own stays, for an app that will have the name; keep_branches: that of its branches.
        """
        holder = f"a destroy by {user or 'the operator'}"
        with ExitStack() as held:
            app = held.enter_context(self.alone(app, holder, lambda _: None))
            own = []
            for each in self._catalog.branch_apps(app):
                with suppress(NotFound):  # its time has come meanwhile
                    own.append(held.enter_context(self.alone(each, holder, lambda _: None)))
            if volumes:
                refuse_in_use(self._catalog, app)
            self._removal.remove(app, keep_config=keep_config, volumes=volumes)
            for each in own:
                self._removal.remove(each, keep_config=keep_branches)

    def remove(self, app: App) -> None:
        """What `destroy` does with one app. Its lock is the caller's."""
        self._removal.remove(app)

    def destroying(self) -> Procedure[Deploy]:
        return self._removal.procedure()

    def _live(self, app: App) -> Release:
        live = self._catalog.live(app)
        if live is None:
            raise NotFound(f'cannot find a release of "{app.name}" that serves', hint="Push something first.")
        return live

    def _want(self, app: App, release: Release, stopped: bool) -> Mapping[str, int]:
        return {} if stopped else wanted(release.processes, self._catalog.scale(app))


def _waiting(console: Console) -> Callable[[str], None]:
    return lambda holder: console.step(f"Waiting for {holder}")


def _while(app: App) -> str:
    return " once it is started again" if app.stopped else ""
