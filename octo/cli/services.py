"""service:*, services:* and consul:reset: octohost's commands on services, whatever the registry is."""

import json
from typing import Annotated
from urllib.parse import urlencode

import typer

from octo.cli import text, words
from octo.cli.client import Json, url
from octo.cli.session import api
from octo.cli.tree import As, Format, command, word
from octo.errors import Usage

GROUP = "Services"
WEB = "http"  # the tag of those that octohost counted as its own


@command("service:set", GROUP)
def put(given: Annotated[list[str], word("NAME [IP] PORT [TAGS]")]) -> None:
    """Make a service known for something that octo does not run. Without IP it is this machine's; TAGS is http.

    Nothing is set for an app that has NO_HTTP_PROXY.
    """
    name, address, port, left = _place(given, "service:set NAME [IP] PORT [TAGS]")
    words.at_most(1, left)
    body = {"name": name, "address": address, "port": port, "tags": left[0] if left else ""}
    if api().post("/services", body) is None:
        text.note(f"{name} has NO_HTTP_PROXY: no service was set.")


@command("service:rm", GROUP)
def rm(given: Annotated[list[str], word("NAME [IP] PORT")]) -> None:
    """Remove a service. One of a container of octo that serves comes back within half a minute."""
    name, address, port, left = _place(given, "service:rm NAME [IP] PORT")
    words.at_most(0, left)
    _removed({"name": name, "port": port} | ({"address": address} if address else {}))


def _place(given: list[str], form: str) -> tuple[str, str, str, list[str]]:
    """Name, address or "", port, and what is left. A second word of digits alone is the port."""
    bare = len(given) > 1 and given[1].isascii() and given[1].isdigit()
    if len(given) < (2 if bare else 3):
        raise Usage("cannot tell which service: a word is missing", hint=f"Usage: octo {form}")
    return (given[0], "", given[1], given[2:]) if bare else (given[0], given[1], given[2], given[3:])


@command("service:tags", GROUP)
def tags(container: Annotated[str, word("CONTAINER")]) -> None:
    """Print the CONSUL_TAGS that a container was started with.

    Without any it is an empty line.
    """
    text.line(api().get(url("services", "tags", container))["tags"])


@command("services", GROUP)
def every(as_: As = Format.TEXT) -> None:
    """List octo's services, a JSON object a line as Consul's agent writes them."""
    _objects(api().get("/services"), as_)


@command("services:catalog", GROUP)
def catalog(as_: As = Format.TEXT) -> None:
    """List the services of all machines, as Consul's catalog writes them."""
    _objects(api().get("/services/catalog"), as_)


def _objects(found: Json, as_: Format) -> None:
    if as_ is Format.JSON:
        text.show_json(found)
        return
    for one in found:
        text.line(json.dumps(one, separators=(",", ":")))


@command("services:register", GROUP)
def register() -> None:
    """Make the services of all containers that serve known again, now."""
    text.note(f"{len(api().post('/services/register'))} services are known.")


@command("services:clear", GROUP)
def clear() -> None:
    """Remove octo's own services for now; those of running containers come back."""
    _removed({"own": "1"})


@command("services:remove", GROUP)
def remove(name: Annotated[str, word("NAME")]) -> None:
    """Remove all services of a name that are tagged http, those set by hand too."""
    _removed({"name": name, "tag": WEB})


@command("services:remove_all", GROUP)
def remove_all() -> None:
    """Remove all services that are tagged http, those set by hand too. What is not octo's stays."""
    _removed({"tag": WEB})


def _removed(query: dict[str, str]) -> None:
    gone = api().delete(f"/services?{urlencode(query)}")
    back = sum(service["returns"] for service in gone)
    said = f"Removed {len(gone)} services." if len(gone) != 1 else f"Removed {gone[0]['ID']}."
    text.note(said + (f" {back} of running containers come back within half a minute." if back else ""))


@command("consul:reset", GROUP)
def reset(yes: Annotated[bool, typer.Option("--yes", help="Do it.")] = False) -> None:
    """Take octo's services out of the registry and put them back. Nothing else in Consul is touched."""
    if not yes:
        raise Usage("cannot reset the services: nobody confirmed it", hint="Add: --yes")
    done = api().post("/services/reset")
    text.line(
        f"Removed {done['removed']} services, registered {done['registered']}. Consul's own data stay as they are."
    )
