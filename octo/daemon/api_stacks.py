"""/stacks, as Heroku lists them; making and removing them is octo's own."""

from octo.daemon.access import Verb
from octo.daemon.api import Ask, Json, Resource, iso
from octo.errors import Usage
from octo.ports import Console, StackVersion
from octo.stack.root import without_password
from octo.stack.work import LEAD

RECIPE = ("suite", "mirror", "packages")


def shape(ask: Ask, version: StackVersion) -> Json:
    recipe = {**version.recipe, "mirror": without_password(version.recipe.get("mirror", ""))}
    return {
        "id": version.id,
        "name": version.name,
        "state": "public" if version.current else "deprecated",
        "default": version.current and version.name == ask.octo.settings.stack,
        "created_at": iso(version.created_at),
        "updated_at": iso(version.created_at),
        "image": version.image,
        "size": version.size,
        **{key: recipe.get(key, "") for key in RECIPE},
    }


def every(ask: Ask) -> Json:
    """The versions that builds take; with ?all=true those too that are kept for a release."""
    versions = ask.octo.ports.stacks.list()
    return [shape(ask, v) for v in versions if v.current or ask.query.get("all") == "true"]


def build(ask: Ask) -> Json:
    """The body: name, suite, mirror, packages, each optional; an empty text goes back to octo's settings."""
    recipe = {key: ask.text(key) for key in RECIPE if isinstance(ask.body, dict) and key in ask.body}
    name = ask.given("name", ask.octo.settings.stack)
    version = ask.octo.ports.stacks.build(name, recipe, lambda data: _show(ask.console, data))
    ask.octo.builds.warm_stack()
    return shape(ask, version)


def _show(console: Console, data: bytes) -> None:
    if data.startswith(LEAD):
        console.step(data.removeprefix(LEAD).decode("utf-8", "replace").rstrip("\n"))
    else:
        console.raw(data)


def remove(ask: Ask) -> Json:
    """By id alone: a name would take what comes after it for the same."""
    stacks = ask.octo.ports.stacks
    found = next((v for v in stacks.list() if v.id == ask.path["stack"]), None)
    if found is None and any(v.name == ask.path["stack"] for v in stacks.list()):
        raise Usage("cannot remove a stack by its name", hint="Give the id of a version: octo stack:list")
    stacks.remove(ask.path["stack"])
    assert found, "BUG: a stack that is not listed was removed"
    return shape(ask, found)


RESOURCES = (
    Resource("GET", "/stacks", Verb.READ, every),
    Resource("POST", "/stacks", Verb.MANAGE, build, deploys=True, status=201),
    Resource("DELETE", "/stacks/{stack}", Verb.MANAGE, remove),
)
