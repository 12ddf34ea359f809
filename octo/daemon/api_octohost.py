"""What octohost's commands do to apps and containers that no other resource does."""

from octo.daemon.access import Verb
from octo.daemon.api import Ask, Json, Resource
from octo.pipeline import single


def reload(ask: Ask) -> Json:
    done = ask.octo.changes.reload(ask.app, user=ask.actor.user, console=ask.console)
    return {"release": {"version": done.version}}


def kill(ask: Ask) -> Json:
    octo = ask.octo
    found = single.kill(
        octo.ports,
        octo.changes,
        ask.app,
        ask.text("container"),
        grace=octo.settings.grace_seconds,
        user=ask.actor.user,
        console=ask.console,
    )
    octo.background(octo.reconciler.heal)  # at once, not with the next round
    return {"name": found.name, "id": found.id, "dyno": f"{found.process}.{found.index}"}


def remove(ask: Ask) -> Json:
    """As DELETE /apps/{app}, but the config stays."""
    ask.octo.changes.destroy(ask.app, user=ask.actor.user, keep_config=True)
    return {"name": ask.app.name, "config": len(ask.octo.catalog.kept_config(ask.app.name))}


def clean(ask: Ask) -> Json:
    """Remove ended containers of this octo, and images and blobs that no app needs; everybody else's stay."""
    octo, prefix = ask.octo, f"{ask.octo.settings.instance}/"
    gone = single.clean(octo.ports, octo.journal)
    swept = octo.pruner.sweep()
    return {
        "containers": {"removed": gone, "remaining": [f"{r.name} ({r.state})" for r in octo.ports.runtime.list()]},
        "images": {"removed": [n for n in swept if n.startswith(prefix)], "remaining": octo.pruner.tags()},
        "blobs": {"removed": [n for n in swept if not n.startswith(prefix)]},
    }


RESOURCES = (
    Resource("POST", "/apps/{app}/actions/reload", Verb.WRITE, reload, deploys=True),
    Resource("POST", "/apps/{app}/actions/kill", Verb.WRITE, kill, deploys=True),
    Resource("POST", "/apps/{app}/actions/remove", Verb.MANAGE, remove),
    Resource("POST", "/octo/clean", Verb.MANAGE, clean),
)
