"""/config-vars: the config of all apps at once, read, imported, fetched from another host, and removed by name."""

from collections.abc import Mapping

from octo.daemon import move
from octo.daemon.access import Verb, allowed, require
from octo.daemon.api import Ask, Json, Resource
from octo.daemon.api_config import changes_of
from octo.errors import NoSuchApp, OctoError, Usage
from octo.model import App, AppName, app_name

Changes = Mapping[str, str | None]


def every(ask: Ask) -> Json:
    """Of each app that the caller may look at; {} where none is set."""
    apps = [app for app in ask.octo.catalog.apps() if allowed(ask.actor, Verb.READ, app)]
    return {app.name: ask.octo.catalog.config(app) for app in apps}


def take(ask: Ask) -> Json:
    """Import `apps`, a map of apps to maps of config: one release for each. All is looked at before any is changed.

    create: make the apps that are missing. dry_run: change nothing. restart: False stores it for the next releases.
    """
    given = ask.given("apps", {})
    if not given or not all(isinstance(config, dict) for config in given.values()):
        raise Usage('cannot read the request: "apps" must be a map of apps to their config')
    return _take(ask, {app_name(name): changes_of(config) for name, config in given.items()})


def fetch(ask: Ask) -> Json:
    """Import what `octo config:export` prints on another host, reached by ssh as root."""
    host, user, port = ask.text("host"), ask.given("user", "ubuntu"), ask.given("port", "22")
    ask.console.step(f"Asking {host} for its config")
    text, found = move.config(host, user, port)
    return {"export": text, "apps": _take(ask, {name: changes_of(config) for name, config in found.items()})}


def _take(ask: Ask, wanted: Mapping[AppName, Changes]) -> Json:
    known = {app.name: app for app in ask.octo.catalog.apps()}
    missing = sorted(name for name in wanted if name not in known)
    if missing and not ask.given("create", False):
        hint = "Make them first, or add --create."
        raise NoSuchApp(f"cannot import the config: there is no app {', '.join(missing)}", hint=hint)
    for name in wanted:
        require(ask.actor, Verb.WRITE, known.get(name))
    plan = {name: _different(ask, known.get(name), changes) for name, changes in wanted.items()}
    if not ask.given("dry_run", False):
        _apply(ask, known, plan)
    return {
        name: {"changed": sorted(changes), "same": len(wanted[name]) - len(changes), "created": name in missing}
        for name, changes in plan.items()
    }


def _different(ask: Ask, app: App | None, changes: Changes) -> Changes:
    now = ask.octo.catalog.config(app) if app else {}
    return {key: value for key, value in changes.items() if now.get(key) != value}


def _apply(ask: Ask, known: Mapping[AppName, App], plan: Mapping[AppName, Changes]) -> None:
    """Each app stands for itself: one that cannot be deployed does not keep the others from theirs."""
    failed = []
    for name, changes in plan.items():
        ask.console.step(f"{name}: {', '.join(sorted(changes)) or 'nothing to change'}")
        try:
            app = known.get(name) or ask.octo.create(name, ask.actor.user)
            if changes:
                restart = ask.given("restart", True)
                ask.octo.changes.config(app, changes, user=ask.actor.user, console=ask.console, restart=restart)
        except OctoError as error:
            ask.console.error(error.message)
            failed.append(name)
    if failed:
        raise OctoError(f"cannot import the config of {', '.join(failed)}; the others have theirs")


def remove(ask: Ask) -> Json:
    """Forget all config under a name, sub-keys too; of an app that runs, by a release without it.

    Config stays where an app was removed by `remove`: then the operator alone may.
    """
    name = app_name(ask.path["name"])
    app = next((a for a in ask.octo.catalog.apps() if a.name == name), None)
    require(ask.actor, Verb.WRITE if app else Verb.MANAGE, app)
    if app is None and not ask.octo.catalog.kept_config(name):
        raise NoSuchApp(f'cannot remove the config of "{name}": there is neither such an app nor config of its name')
    keys = sorted(ask.octo.catalog.config(app)) if app else []
    if app and keys:
        gone = dict.fromkeys(keys)
        ask.octo.changes.config(app, gone, user=ask.actor.user, console=ask.console, restart=True)
    rest = ask.octo.catalog.forget_config(name)
    return {"removed": len(keys) + rest}


RESOURCES = (
    Resource("GET", "/config-vars", Verb.READ, every),
    Resource("POST", "/config-vars", Verb.WRITE, take, deploys=True),
    Resource("POST", "/config-vars/fetch", Verb.MANAGE, fetch, deploys=True),
    Resource("DELETE", "/config-vars/{name}", Verb.READ, remove, deploys=True),
)
