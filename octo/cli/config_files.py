"""config:import, config:env, config:options, config:check, move:config, remove:config: config as text, in and out."""

from typing import Annotated

import typer

from octo.cli import incoming, optionline, text, words
from octo.cli.client import Json, url
from octo.cli.session import api, session
from octo.cli.tree import App, AppWord, As, Format, command, steps, word
from octo.envfile import dotenv, is_export, octohost_export, option
from octo.errors import Usage
from octo.model import CONTROL_KEYS, AppName, app_name, config_key

GROUP = "Config"
MOST = 4 * 1024 * 1024  # bytes of an import

Create = Annotated[bool, typer.Option("--create", help="Make the apps that are missing.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Change nothing, say what would be changed.")]


@command("config:import", GROUP)
def import_(
    file: Annotated[str, word("[FILE]")] = "-",
    app: App = "",
    create: Create = False,
    dry_run: DryRun = False,
    no_restart: Annotated[bool, typer.Option("--no-restart", help="Keep it for the next releases.")] = False,
    as_: As = Format.TEXT,
) -> None:
    """Set config from a .env file, or from what config:export printed.

    octo config:import -a shop < .env, or without -a < EXPORT, whose lines name their apps. Each app gets one
    release. When one line cannot be read, nothing is changed.
    """
    hint = "Say: octo config:import -a APP < FILE"
    given = incoming.words(file, prompt="Paste the lines", hint=hint, limit=MOST)
    apps: dict[AppName, Json] = {}
    if is_export(given):
        if app:
            raise Usage("cannot import the lines for one app: they name their apps themselves", hint="Leave out -a.")
        apps = dict(octohost_export(given))
    else:
        apps = {session().app(app): dotenv(given)}
    if not any(apps.values()):
        raise Usage("cannot import config: there is none in the file", hint=hint)
    body = {"apps": apps, "create": create, "dry_run": dry_run, "restart": not no_restart}
    shown_by = steps(as_)
    _told(api().stream("POST", "/config-vars", body, shown_by.tell), as_, dry_run=dry_run)


def _told(result: Json, as_: Format, *, dry_run: bool) -> None:
    """Names of keys, never values."""
    if as_ is Format.JSON:
        text.show_json(result)
        return
    for name, what in sorted(result.items()):
        made = ("would be made, " if dry_run else "made, ") if what["created"] else ""
        keys = ", ".join(what["changed"]) or "nothing"
        text.line(f"{name}: {made}{'would set' if dry_run else 'set'} {keys}; {what['same']} the same already.")


@command("config:env", GROUP)
def env(app_word: AppWord = None, app: App = "") -> None:
    """Print an app's variables as options of docker run: -e KEY="VALUE" on one line."""
    found = _config(session().app(words.alone(app, app_word)))
    line = "".join(f" {option(key, value)}" for key, value in sorted(found.items()) if key not in CONTROL_KEYS)
    text.raw(f"{line}\n", guarded=session().guarded)


@command("config:options", GROUP)
def options(given: Annotated[list[str] | None, word("APP DOCKERFILE")] = None) -> int:
    """Print the docker run options of a Dockerfile's comments and the config.

    They are octohost's, on one line for a shell.
    The Dockerfile is read on your side; - is standard input.
    """
    if given is None or len(given) != 2:
        text.note("Something went wrong.\nUsage: octo config:options APP DOCKERFILE")
        return Usage.exit_code
    name = app_name(given[0])
    dockerfile = _dockerfile(given[1], f"Say: octo config:options {name} - < Dockerfile")
    text.raw(optionline.run_options(name, _config(name), dockerfile) + "\n", guarded=session().guarded)
    return 0


@command("config:check", GROUP)
def check(
    name: Annotated[str, word("APP")],
    key: Annotated[str, word("VAR")],
    file: Annotated[str, word("[DOCKERFILE]")] = "",
) -> int:
    """Print a Dockerfile's comment # VAR, else the app's config VAR.

    Where there is neither it prints nothing, with exit code 1.
    """
    variable = config_key(key)
    dockerfile = _dockerfile(file, f"Say: octo config:check {name} {key} - < Dockerfile") if file else ""
    found = [*optionline.comment_lines(dockerfile, variable)]
    value = None if found else _config(app_name(name)).get(variable)
    found += [] if value is None else [value]
    for line in found:
        text.raw(f"{line}\n", guarded=session().guarded)
    return 0 if found else 1


def _dockerfile(file: str, hint: str) -> str:
    return incoming.words(file, prompt="Paste the Dockerfile", hint=hint)


def _config(name: AppName) -> dict[str, str]:
    found: dict[str, str] = api().get(url("apps", name, "config-vars"))
    return found


@command("move:config", "Moving")
def move(
    host: Annotated[str, word("IP")],
    user: Annotated[str, word("[USER]")] = "ubuntu",
    port: Annotated[int, typer.Option("--port", metavar="PORT", help="Of its ssh: 22.", show_default=False)] = 22,
    create: Create = False,
    dry_run: DryRun = False,
    as_: As = Format.TEXT,
) -> None:
    """Set the config that another octohost or octo has, fetched by root's ssh.

    The lines are read, never run. Of a host that runs octo USER is git, and root's key is one of its keys.
    """
    body = {"host": host, "user": user, "port": str(port), "create": create, "dry_run": dry_run}
    result = api().stream("POST", "/config-vars/fetch", body, steps(as_).tell)
    if as_ is Format.JSON:
        text.show_json(result["apps"])
        return
    text.line(f"## Done moving the config from {host}. ##")
    text.raw(result["export"], guarded=session().guarded)


@command("remove:config", GROUP)
def remove(name: Annotated[str, word("APP")]) -> None:
    """Remove all config of an app, or what is kept of one that was removed. A running app gets a release without it."""
    gone = api().stream("DELETE", url("config-vars", app_name(name)), None, steps(Format.TEXT).tell)
    text.note(f"Removed {gone['removed']} keys of {name}.")
