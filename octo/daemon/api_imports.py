"""/octo/imports, /octo/moves and /octo/octohost-import: foreign repositories become apps. The operator's alone."""

from pathlib import Path

from octo.daemon import octohost_files
from octo.daemon.access import Verb
from octo.daemon.api import Ask, Json, Resource
from octo.daemon.api_apps import shape
from octo.daemon.importing import Importer
from octo.daemon.moving import Moving
from octo.daemon.octohost_import import OctohostImport
from octo.daemon.rebuild import Rebuilder
from octo.model import App, app_name
from octo.ports import Console


def bring(ask: Ask) -> Json:
    """A bare repository on this host, by its whole path."""
    importer: Importer = ask.extra["import"]
    app = importer.folder(Path(ask.text("path")), app_name(ask.text("app")), ask.console)
    return shape(ask, app)


def move(ask: Ask) -> Json:
    """All of another octohost."""
    moving = Moving(ask.extra["import"], ask.octo.settings.ssh_config)
    return {"apps": moving.sites(ask.text("host"), ask.given("user", "ubuntu"), ask.console)}


def whole(ask: Ask) -> Json:
    """A copy of an octohost server's files."""
    rebuilder: Rebuilder = ask.extra["rebuild"]

    def rebuild(app: App, console: Console) -> None:
        rebuilder.rebuild(app, user=None, may_read=lambda other: True, console=console)

    with octohost_files.opened(Path(ask.text("folder"))) as copy:
        return OctohostImport(ask.octo, ask.extra["import"], rebuild, ask.console).all(copy)


RESOURCES = (
    Resource("POST", "/octo/imports", Verb.MANAGE, bring, deploys=True),
    Resource("POST", "/octo/moves", Verb.MANAGE, move, deploys=True),
    Resource("POST", "/octo/octohost-import", Verb.MANAGE, whole, deploys=True),
)
