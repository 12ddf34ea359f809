"""status, doctor, version, update."""

import shlex
import sys
from typing import Annotated

import typer

from octo import __version__
from octo.cli import text
from octo.cli.client import Json, Unreachable
from octo.cli.session import api, session
from octo.cli.tree import As, Format, command
from octo.errors import OctoError, Usage

GROUP = "Server"
UNKNOWN = "unknown: octod does not answer"
COLOURS = {"OK": text.GREEN, "DOWN": text.RED}


@command("status", GROUP)
def status(
    all_: Annotated[bool, typer.Option("--all", help="Those too that serve nobody by HTTP.")] = False,
    as_: As = Format.TEXT,
) -> None:
    """Say of every app whether it serves: OK, DOWN or STOPPED."""
    found = [
        a for a in api().get("/octo/status") if all_ or (a.get("routed", True) and not a["name"].endswith("_data"))
    ]
    if as_ is Format.JSON:
        text.show_json(found)
        return
    for app in found:
        state = text.cell(app["status"])
        text.line(f"{text.cell(app['name'])}: {text.coloured(state, COLOURS.get(state, text.YELLOW))}")


@command("doctor", GROUP)
def doctor(as_: As = Format.TEXT) -> int:
    """Look whether the server is in order, and say what to do where it is not."""
    found = _examine()
    healthy = all(check["ok"] for check in found)
    if as_ is Format.JSON:
        text.show_json(found)
        return 0 if healthy else 1
    for check in found:
        word = text.coloured("ok  ", text.GREEN) if check["ok"] else text.coloured("FAIL", text.RED)
        text.line(f"{word} {text.cell(check['check'])}: {text.cell(check['detail'])}")
        if not check["ok"] and check.get("hint"):
            text.line(f"     {text.cell(check['hint'])}")
    return 0 if healthy else 1


def _examine() -> Json:
    """octod's findings; without octod, and in place, our own."""
    try:
        return api().get("/octo/doctor")
    except Unreachable as error:
        settings = session().settings
        if settings is None:
            raise
        from octo.cli import checks  # only ever needed in place

        return checks.examine(settings, error, session().problem)


@command("version", GROUP)
def version(
    short: Annotated[bool, typer.Option("--short", help="One line a part, as --version has it.")] = False,
    as_: As = Format.TEXT,
) -> None:
    """Print octo's version, and those of the parts that octod leans on."""
    found: Json = {"octo": __version__}
    try:
        found |= api().get("/octo/version")
    except OctoError as error:  # it is still the right answer to the question
        if as_ is Format.TEXT and sys.stderr.isatty():
            text.note(f"({error.message})")
    if as_ is Format.JSON:
        text.show_json(found)
        return
    if short:
        for name in ("octo", "engine", "api"):
            if name in found:
                text.line(f"{name} {text.cell(found[name])}")
        return
    engine = f"Docker {found['engine']}" if "engine" in found else UNKNOWN
    engine += f", API {found['api']}" if "api" in found else ""
    consul = found.get("store") or UNKNOWN
    if not found.get("consul", True):
        consul = f"Not in use: octo's memory is {consul}"
    blocks = {"octo": f"octo {found['octo']}", "docker": engine, "consul": consul}
    text.line("\n\n".join(f"==== {name} version ====\n{text.cell(said)}" for name, said in blocks.items()))


@command("update", GROUP)
def update() -> int:
    """Say where octo comes from and how to update it; changes nothing by itself."""
    found = api().get("/octo/source")
    text.line(f"octo {found['version']} comes from {text.cell(found['source'] or 'a folder without a git remote')}.")
    text.line(f"It lies in {text.cell(found['folder'])}.")
    text.line("octo does not write over itself with a file that was fetched. To update it, say:")
    text.line(f"  sudo git -C {shlex.quote(found['folder'])} pull --ff-only && sudo ./setup prerequisites")
    text.line("git verifies each object by its hash, and the Python packages are pinned by theirs (requirements.txt).")
    text.line("Then restart octod: apps, nginx and pushes to come are not disturbed.")
    return 1  # it is not updated


@command("docker:reset_key", GROUP, hidden=True)
def reset_key(yes: Annotated[bool, typer.Option("--yes", help="Do it.")] = False) -> int:
    """Kept from octohost; octo does not touch the engine's key."""
    if not yes:
        raise Usage("cannot reset the engine's key: nobody confirmed it", hint="Add: --yes")
    text.note("octo leaves the engine's key alone: it tells two copies of one machine apart, and nothing else,")
    text.note("and stopping the engine would stop every app. For a copied machine, when no app runs, say:")
    text.note("  systemctl stop docker && rm /etc/docker/key.json && systemctl start docker")
    return 1
