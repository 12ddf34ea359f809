"""Images: to and from a private registry, and apps that start from one. Not in Heroku's API."""

from collections.abc import Callable

from octo.daemon.access import Verb, require
from octo.daemon.api import Ask, Json, Resource
from octo.errors import NoSuchApp
from octo.model import App, AppName, app_name, quantity
from octo.ports import Console


def push(ask: Ask) -> Json:
    release = ask.octo.shipping.push(ask.app, ask.console)
    return {"registry": ask.octo.ports.images.at, "image": ask.app.name, "release": {"version": release.version}}


def pull(ask: Ask) -> Json:
    name = app_name(ask.text("name"))
    return {"image": ask.octo.shipping.pull(name, ask.console)}


def start(ask: Ask) -> Json:
    """Start what is stopped; an app without a release, or `image`, from the image of its name. quantity: of web."""
    name, count = app_name(ask.text("name")), ask.given("quantity", 0)
    app = _found(ask, name)
    require(ask.actor, Verb.WRITE, app)
    if ask.given("image", False) or not app.live:
        with ask.octo.changes.alone(app, f"a start by {ask.actor.shown}", _waiting(ask.console)) as app:
            done = ask.octo.shipping.launch(app, user=ask.actor.user, console=ask.console)
        ask.console.result(f"Started {name}, v{done.version}.")
    elif app.stopped:
        ask.octo.changes.start(app, user=ask.actor.user, console=ask.console)
    elif not count:
        ask.console.result(f"Nothing to do: {name} runs already.")
    if count:
        ask.octo.changes.scale(app, {"web": quantity(str(count))}, user=ask.actor.user, console=ask.console)
    return {"name": name}


def _found(ask: Ask, name: AppName) -> App:
    """The app; one that is not there is made when there is an image for it."""
    try:
        return ask.octo.catalog.app(name)
    except NoSuchApp:
        if ask.octo.ports.runtime.image(ask.octo.ports.images.local(name)) is None:
            raise
    return ask.octo.create(name, ask.actor.user)


def _waiting(console: Console) -> Callable[[str], None]:
    return lambda holder: console.step(f"Waiting for {holder}")


RESOURCES = (
    Resource("POST", "/apps/{app}/actions/push", Verb.WRITE, push, deploys=True),
    Resource("POST", "/octo/pull", Verb.WRITE, pull, deploys=True),
    Resource("POST", "/octo/start", Verb.WRITE, start, deploys=True),
)
