"""domains, domains:add, domains:set, domains:get, domains:remove."""

import re
from typing import Annotated

import typer

from octo.cli import text, words
from octo.cli.client import Json, url
from octo.cli.session import api, session
from octo.cli.tree import App, AppWord, As, Format, command, word
from octo.errors import Usage
from octo.model import AppName, Hostname, hostname

GROUP = "Domains"

Take = Annotated[
    bool, typer.Option("--take", help="Take it from another app that has it. For the operator.", show_default=False)
]
Hosts = Annotated[list[str], word("[APP] HOST...")]


@command("domains", GROUP)
def every(app_word: AppWord = None, app: App = "", as_: As = Format.TEXT) -> None:
    """List the domains of an app."""
    found = api().get(url("apps", session().app(words.alone(app, app_word)), "domains"))
    if as_ is Format.JSON:
        text.show_json(found)
        return
    rows = [(d["hostname"], _added(d)) for d in found]
    text.table(("DOMAIN", "ADDED"), rows, empty="There are no domains yet. Add one: octo domains:add -a APP HOST")


@command("domains:add", GROUP)
def add(hosts: Hosts, app: App = "", take: Take = False) -> None:
    """Serve an app under a domain too. Without -a a first word without a dot is the app."""
    name, parsed = _parsed(app, hosts)
    for host in parsed:
        added = api().post(url("apps", name, "domains"), {"hostname": host, **({"take": True} if take else {})})
        text.line(f"Added {added['hostname']} to {name}.")


@command("domains:set", GROUP)
def set_(hosts: Annotated[list[str], word("[APP] HOST,HOST...")], app: App = "") -> None:
    """Serve an app under these domains and no others, beside its own names. "" takes all of them away.

    With commas or spaces between them. Without -a the first word is the app.
    """
    named, left = words.split(app, hosts, words.always)
    if not left:
        raise Usage("cannot tell which domains: none is named", hint="Say: octo domains:set APP HOST,HOST")
    parsed = sorted({hostname(host) for host in re.split(r"[\s,]+", " ".join(left)) if host})
    name = session().app(named)
    api().put(url("apps", name, "domains"), {"hostnames": parsed})
    text.line(f"Set {' '.join(parsed)} for {name}." if parsed else f"{name} has no domains any more.")


@command("domains:get", GROUP)
def get(app_word: AppWord = None, app: App = "", as_: As = Format.TEXT) -> None:
    """Print the domains of an app on one line, without its own names."""
    found = api().get(url("apps", session().app(words.alone(app, app_word)), "domains"))
    names = sorted(d["hostname"] for d in found if d.get("kind") != "heroku")
    if as_ is Format.JSON:
        text.show_json(names)
    elif names:
        text.line(" ".join(text.cell(name) for name in names))


@command("domains:remove", GROUP)
def remove(hosts: Hosts, app: App = "") -> None:
    """Serve an app no longer under a domain. Without -a a first word without a dot is the app."""
    name, parsed = _parsed(app, hosts)
    for host in parsed:
        api().delete(url("apps", name, "domains", host))
        text.line(f"Removed {host} from {name}.")


def _added(domain: Json) -> str:
    if domain.get("kind") == "heroku":
        return "octo"
    return text.when(domain.get("created_at")) + (", by the CNAME file" if domain.get("pushed") else "")


def _parsed(app: str, hosts: list[str]) -> tuple[AppName, list[Hostname]]:
    """All of them, before the first is sent."""
    named, left = words.split(app, hosts, words.without_dot)
    if not left:
        raise Usage("cannot tell which domain: none is named", hint="Give a host name such as www.example.com.")
    return session().app(named), [hostname(host) for host in left]
