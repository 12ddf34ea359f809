"""Branches that are apps of their own: found or made by a push, gone by themselves when their branch has gone."""

import logging
import secrets
from datetime import UTC, datetime

from octo.catalog import Catalog
from octo.catalog.writes import ending_write
from octo.errors import Forbidden, Locked, OctoError, Taken
from octo.model import App, UserName
from octo.pipeline.refs import Branches, branch_name, short
from octo.pipeline.scale import Changes
from octo.ports import Console, Ports, Write

log = logging.getLogger(__name__)

UNPROVED = 3600.0  # seconds, at least, that an app stays whose first push has failed: its config may be what is wrong
COPIED_NOT = frozenset({"DOMAINS"})  # they are the app's; a second one could not have them


class BranchApps:
    def __init__(self, ports: Ports, catalog: Catalog, changes: Changes, rules: Branches) -> None:
        self._ports, self._catalog, self._changes, self.rules = ports, catalog, changes, rules

    def app(self, parent: App, ref: str, console: Console) -> App:
        """The app of that branch, made when there is none. Under the parent's lock. Raises Taken."""
        found = self._catalog.branch_app(parent, ref)
        if found:
            return found
        name = branch_name(parent.name, ref)
        now = self._ports.clock.now()
        app = App(secrets.token_hex(6), name, now, parent.owner, limits=parent.limits, parent=parent.id, branch=ref)
        end = ending_write(app, now + max(self.rules.grace, UNPROVED))  # it stays when it has been deployed
        try:
            made = self._catalog.add(app, [end, *self._config(parent, app)])
        except Taken:
            raise self._taken(parent, app) from None
        console.step(f"Made the app {name}, for the branch {short(ref)} of {parent.name}")
        return made

    def keep(self, app: App) -> None:
        """It was deployed: whatever had been said of its end, it stays."""
        if self._catalog.ending(app) is not None:
            self._ports.store.put_many([ending_write(app, None)])

    def branch_ended(self, parent: App, ref: str, user: UserName | None, console: Console) -> None:
        """The branch is being deleted: its app goes too, at once or after the grace. Under the parent's lock."""
        app = self._catalog.branch_app(parent, ref)
        if app is None:
            return
        if self.rules.grace <= 0:
            self._changes.destroy(app, user=user)
            console.step(f"Removed the app {app.name}: its branch {short(ref)} is deleted")
            return
        at = self._ports.clock.now() + self.rules.grace
        self._ports.store.put_many([ending_write(app, at)])
        console.step(f"The app {app.name} will be removed at {_clock(at)}: its branch {short(ref)} is deleted")
        console.detail("To keep it, push the branch again before that.")

    def sweep(self) -> None:
        """Remove the apps whose time has come; one that somebody is at has another round to go."""
        for id, at in self._catalog.endings().items():
            app = self._catalog.by_id(id) if at <= self._ports.clock.now() else None
            if app is None:
                continue
            try:
                with self._catalog.lock(app, holder="octo, removing the app of a deleted branch"):
                    self._end(app)
            except Locked:
                continue
            except OctoError as error:
                log.error("cannot remove %s: %s", app.name, error.message)

    def _end(self, app: App) -> None:
        """Look again, under its lock: it may have been pushed meanwhile."""
        now, at = self._catalog.by_id(app.id), self._catalog.ending(app)
        if now and at is not None and at <= self._ports.clock.now():
            self._changes.remove(now)
            log.info("removed %s: its branch has gone", now.name)

    def _config(self, parent: App, app: App) -> list[Write]:
        if not self.rules.copy:
            return []
        kept = self._catalog.config(app)  # under its name already, as what was imported from an octohost: that counts
        given = {k: v for k, v in self._catalog.config(parent).items() if k not in COPIED_NOT and k not in kept}
        return list(self._catalog.config_writes(app, given))

    def _taken(self, parent: App, app: App) -> Taken:
        other = self._catalog.app(app.name)
        if other.parent == parent.id:
            why, hint = f"it is that of the branch {short(other.branch)}", "Give one of the two branches another name."
        else:
            why, hint = "an app of that name is there already", f"Rename one: octo apps:rename {app.name} NAME"
        return Taken(f'cannot deploy {short(app.branch)}: "{app.name}" would be its app, and {why}', hint=hint)


def refuse_direct(catalog: Catalog, app: App, *, reading: bool) -> None:
    """A branch's app has no repository of its own. Raises Forbidden, with the way to do it."""
    if not app.parent:
        return
    parent = catalog.by_id(app.parent)
    name, verb = parent.name if parent else "?", "clone" if reading else "push to"
    how = f"git fetch REMOTE {short(app.branch)}" if reading else f"git push REMOTE {short(app.branch)}"
    raise Forbidden(
        f'cannot {verb} "{app.name}": it is the app of the branch {short(app.branch)} of "{name}"',
        hint=f"Use the repository of {name}: {how}",
    )


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")
