"""Changes of an app that need no build: config, scale, restart, stop, start, rollback, rename, destroy."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace

from octo.catalog import Catalog, address_write, app_write
from octo.errors import DeployFailed, Locked, NotFound, Usage
from octo.formation import wanted
from octo.journal import Journal, Procedure, Step
from octo.model import App, AppName, Release, ReleaseStatus, Slot, UserName
from octo.pipeline.deploy import Deployer, Silent
from octo.pipeline.plan import Deploy, cache_blob, image_tag, port_of, repository_blob, slug_blob
from octo.pipeline.routing import Routing
from octo.pipeline.steering import containers_key, formation, steered
from octo.pipeline.steps import Budgets, at_once, stopping
from octo.pipeline.volumes import refuse_in_use, refuse_with_volumes, remove_volumes
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
        self._deployer, self._instance, self._budgets, self._wait = deployer, instance, budgets, wait

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
        self, app: App, changes: Mapping[str, str | None], *, user: UserName | None, console: Console, restart: bool
    ) -> Release | None:
        """Store the changes with a release that has them; without one, when nothing is live or `restart` is False."""
        with self.alone(app, f"a config change by {user or 'the operator'}", _waiting(console)) as app:
            now, live = self._catalog.config(app), self._catalog.live(app)
            if all(now.get(k) == v for k, v in changes.items()):
                console.result("Nothing to change: that is the config already.")
                return None
            if live is None or not restart:
                self._ports.store.put_many(self._catalog.config_writes(app, changes))
                console.result(f"{_describe(changes)}: for the next release.")
                return None
            kept = {k: v for k, v in {**now, **changes}.items() if v is not None}
            release = self._next(app, live, kept, _describe(changes), user)
            scale = formation(self._catalog, app, release)
            want = {} if app.stopped else wanted(release.processes, scale)
            deploy = Deploy(app, release, fresh=True, want=want, config=changes, scale=scale, stop=app.stopped)
            done = self._deployer.deploy(deploy, console).release
            console.result(f"{_describe(changes)}: v{done.version} is live.")
            return done

    def rollback(self, app: App, version: int | None, *, user: UserName | None, console: Console) -> Release:
        """A new release with the image, processes and config of an old one. None: of the one before."""
        with self.alone(app, f"a rollback by {user or 'the operator'}", _waiting(console)) as app:
            old = self._rollback_to(app, version)
            now = self._catalog.config(app)
            changes: dict[str, str | None] = {k: None for k in now if k not in old.config}
            changes |= {k: v for k, v in old.config.items() if now.get(k) != v}
            release = self._next(app, old, old.config, f"Rollback to v{old.version}", user)
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

    def rename(self, app: App, name: AppName, *, user: UserName | None) -> App:
        with self.alone(app, f"a rename by {user or 'the operator'}", lambda _: None) as app:
            refuse_with_volumes(self._ports.runtime.volumes(app.name), app)
            old = self._ports.registry.services(app.name)
            renamed = self._catalog.rename(app, name)
            for service in old:
                self._ports.registry.deregister(service.id)
                id = f"{name}-{service.address}-{service.port}"
                self._ports.registry.register(replace(service, id=id, name=name))
            self._routing.refresh()
            return renamed

    def destroy(self, app: App, *, user: UserName | None, volumes: bool = False) -> None:
        """Forget the app, then remove all that belonged to it. Once forgotten, a crash goes on to the end."""
        with self.alone(app, f"a destroy by {user or 'the operator'}", lambda _: None) as app:
            slots = tuple(
                Slot(r.app, r.release, r.process, r.index, r.name, r.address) for r in self._ports.runtime.list(app.id)
            )
            if volumes:
                refuse_in_use(self._catalog, app)
            release = Release(app.id, 0, "", self._ports.clock.now())
            procedure = self.destroying()
            removal = Deploy(app, release, fresh=False, want={}, retire=slots, volumes=volumes)
            entry = self._journal.begin(procedure, removal)
            self._journal.finish(procedure, entry)

    def destroying(self) -> Procedure[Deploy]:
        return Procedure(
            "destroy",
            Deploy,
            (
                Step("forget", lambda d: d, writes=lambda d: self._catalog.removal(d.app), commits=True),
                Step("unroute", self._unroute),
                Step("remove", self._remove),
            ),
            lambda d: f"removal of {d.app.name}",
        )

    def _unroute(self, deploy: Deploy) -> Deploy:
        self._routing.settle(deploy.app)
        self._routing.refresh()
        return deploy

    def _remove(self, deploy: Deploy) -> Deploy:
        for service in self._ports.registry.services(deploy.app.name):
            self._ports.registry.deregister(service.id)
        at_once(stopping(self._ports, deploy.retire, self._budgets.grace, Silent()))
        allotted = self._catalog.allotted()
        names = {s.name for s in deploy.retire}
        self._ports.store.put_many([address_write(a, None) for a, name in allotted.items() if name in names])
        for name in self._ports.blobs.list(f"builds/{deploy.app.id}/"):
            build = name.rpartition("/")[2]
            self._ports.runtime.untag(image_tag(self._instance, deploy.app.id, build))
            self._ports.blobs.delete(slug_blob(build))
            self._ports.blobs.delete(name)
        for name in (cache_blob(deploy.app.id), repository_blob(deploy.app.id)):
            self._ports.blobs.delete(name)
        self._deployer.links.forget(deploy.app)
        if deploy.volumes:
            remove_volumes(self._ports.runtime, deploy.app.name)
        self._ports.sandbox.forget(deploy.app.id)
        self._ports.builder.forget(deploy.app.id)
        return deploy

    def _live(self, app: App) -> Release:
        live = self._catalog.live(app)
        if live is None:
            raise NotFound(f'cannot find a release of "{app.name}" that serves', hint="Push something first.")
        return live

    def _rollback_to(self, app: App, version: int | None) -> Release:
        served = [r for r in self._catalog.releases(app) if r.status is ReleaseStatus.LIVE and r.version != app.live]
        if version is None:
            if not served:
                raise NotFound(f'cannot roll back "{app.name}": there is no earlier release')
            version = served[-1].version
        if version == app.live:
            raise Usage(f'cannot roll back "{app.name}" to v{version}: it is the one that serves')
        old = self._catalog.release(app, version)
        if old.status is not ReleaseStatus.LIVE:
            raise Usage(f'cannot roll back "{app.name}" to v{version}: that release never served')
        if self._ports.runtime.image(old.image) is None:
            raise NotFound(
                f'cannot roll back "{app.name}" to v{version}: its image has been removed',
                hint=f"The images of the last {self._budgets.keep} releases stay (setting keep_releases).",
            )
        return old

    def _next(
        self, app: App, old: Release, config: Mapping[str, str], description: str, user: UserName | None
    ) -> Release:
        image = self._ports.runtime.image(old.image)
        if image is None:
            raise NotFound(f"cannot use the image of v{old.version}: the engine does not have it any more")
        build = next((b for b in self._catalog.builds(app) if b.id == old.build), None)
        port, routed = port_of(config, build.ports if build else image.ports)
        fresh = Release(old.app, 0, old.image, self._ports.clock.now(), old.commit, description)
        fresh = replace(
            fresh, build=old.build, config=config, processes=old.processes, port=port, routed=routed, user=user
        )
        asked = build.options if build else old.options
        return steered(fresh, app.name, asked, tags=old.tags, volumes=old.volumes)

    def _want(self, app: App, release: Release, stopped: bool) -> Mapping[str, int]:
        return {} if stopped else wanted(release.processes, self._catalog.scale(app))


def _waiting(console: Console) -> Callable[[str], None]:
    return lambda holder: console.step(f"Waiting for {holder}")


def _while(app: App) -> str:
    return " once it is started again" if app.stopped else ""


def _describe(changes: Mapping[str, str | None]) -> str:
    """Keys only, never values: "Set A, B; unset C"."""
    given, gone = [k for k, v in changes.items() if v is not None], [k for k, v in changes.items() if v is None]
    parts = [f"Set {', '.join(given)}"] * bool(given) + [f"Unset {', '.join(gone)}"] * bool(gone)
    return "; ".join(parts)
