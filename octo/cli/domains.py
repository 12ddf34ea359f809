"""domains, domains:add, domains:remove."""

from typing import Annotated

from octo.cli import text, words
from octo.cli.client import url
from octo.cli.session import api, session
from octo.cli.tree import App, AppWord, As, Format, command, word
from octo.errors import Usage
from octo.model import AppName, Hostname, hostname

GROUP = "Domains"

Hosts = Annotated[list[str], word("[APP] HOST...")]


@command("domains", GROUP)
def every(app_word: AppWord = None, app: App = "", as_: As = Format.TEXT) -> None:
    """List the domains of an app."""
    found = api().get(url("apps", session().app(words.alone(app, app_word)), "domains"))
    if as_ is Format.JSON:
        text.show_json(found)
        return
    rows = [(d["hostname"], "octo" if d.get("kind") == "heroku" else text.when(d.get("created_at"))) for d in found]
    text.table(("DOMAIN", "ADDED"), rows, empty="There are no domains yet. Add one: octo domains:add -a APP HOST")


@command("domains:add", GROUP)
def add(hosts: Hosts, app: App = "") -> None:
    """Serve an app under a domain too. Without -a a first word without a dot is the app."""
    name, parsed = _parsed(app, hosts)
    for host in parsed:
        added = api().post(url("apps", name, "domains"), {"hostname": host})
        text.line(f"Added {added['hostname']} to {name}.")


@command("domains:remove", GROUP)
def remove(hosts: Hosts, app: App = "") -> None:
    """Serve an app no longer under a domain. Without -a a first word without a dot is the app."""
    name, parsed = _parsed(app, hosts)
    for host in parsed:
        api().delete(url("apps", name, "domains", host))
        text.line(f"Removed {host} from {name}.")


def _parsed(app: str, hosts: list[str]) -> tuple[AppName, list[Hostname]]:
    """All of them, before the first is sent."""
    named, left = words.split(app, hosts, words.without_dot)
    if not left:
        raise Usage("cannot tell which domain: none is named", hint="Give a host name such as www.example.com.")
    return session().app(named), [hostname(host) for host in left]
