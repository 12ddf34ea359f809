"""move:sites, import:octohost, apps:import: repositories that come from elsewhere."""

from typing import Annotated

from octo.cli import words
from octo.cli.tree import As, Format, change, command, word
from octo.errors import Usage
from octo.model import app_name

GROUP = "Moving"
USER = "ubuntu"


@command("move:sites", GROUP)
def sites(given: Annotated[list[str], word("IP [USER]")], as_: As = Format.TEXT) -> None:
    """Fetch every app of another octohost by ssh, and deploy it.

    As root here, and USER (ubuntu) there. One that fails does not stop the others. Repeat it as often as you like: what
    has come is not built twice.
    """
    words.at_most(2, given)
    host, user = given[0], given[1] if len(given) > 1 else USER
    change("POST", "/octo/moves", {"host": host, "user": user}, as_)


@command("move", GROUP, hidden=True)
def move(given: Annotated[list[str], word("sites IP [USER]")], as_: As = Format.TEXT) -> None:
    """As move:sites, which is what it was called first."""
    if given[0] != "sites" or len(given) == 1:
        raise Usage("cannot tell what to move", hint="Say: octo move:sites IP [USER]")
    sites(given[1:], as_)


@command("import:octohost", GROUP)
def octohost(folder: Annotated[str, word("DIR")], as_: As = Format.TEXT) -> None:
    """Take over a whole octohost: its apps, config, domains and templates.

    DIR, by its whole path, is a copy of its files: home/git, etc/default/octohost, etc/octohost/templates, and the
    config as kv.json (consul kv export > kv.json) or config.export (octo config:export > config.export). Nothing in
    it is run. One app that fails does not stop the others; repeat it as often as you like.
    """
    change("POST", "/octo/octohost-import", {"folder": folder}, as_)


@command("apps:import", GROUP)
def bring(given: Annotated[list[str], word("APP PATH")], as_: As = Format.TEXT) -> None:
    """Take the code of a bare repository on this host into APP, and deploy it."""
    words.at_most(2, given)
    if len(given) < 2:
        raise Usage(
            "cannot import: name the app and the path", hint="Say: octo apps:import APP /PATH/TO/REPOSITORY.git"
        )
    change("POST", "/octo/imports", {"app": app_name(given[0]), "path": given[1]}, as_)
