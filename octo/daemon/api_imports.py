"""/octo/imports and /octo/moves: foreign repositories become apps. The operator's alone."""

from pathlib import Path

from octo.daemon.access import Verb
from octo.daemon.api import Ask, Json, Resource
from octo.daemon.api_apps import shape
from octo.daemon.importing import Importer
from octo.daemon.moving import Moving
from octo.model import app_name


def bring(ask: Ask) -> Json:
    """A bare repository on this host, by its whole path."""
    importer: Importer = ask.extra["import"]
    app = importer.folder(Path(ask.text("path")), app_name(ask.text("app")), ask.console)
    return shape(ask, app)


def move(ask: Ask) -> Json:
    """All of another octohost."""
    moving = Moving(ask.extra["import"], ask.octo.settings.ssh_config)
    return {"apps": moving.sites(ask.text("host"), ask.given("user", "ubuntu"), ask.console)}


RESOURCES = (
    Resource("POST", "/octo/imports", Verb.MANAGE, bring, deploys=True),
    Resource("POST", "/octo/moves", Verb.MANAGE, move, deploys=True),
)
