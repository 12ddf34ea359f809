"""config, config:set, config:get, config:unset, config:export.

Each has two traditions, told apart by the words: octohost's APP and APP/KEY, Heroku's -a APP and KEY=VALUE.
"""

from enum import StrEnum
from typing import Annotated

import click
import typer
from typer.core import TyperCommand

from octo.cli import text, words
from octo.cli.client import Json, url
from octo.cli.session import api, session
from octo.cli.tree import App, AppWord, As, Format, change, command, word
from octo.envfile import export_line, quoted
from octo.errors import OctoError, Usage
from octo.model import AppName, config_key, config_value

GROUP = "Config"

NoRestart = Annotated[bool, typer.Option("--no-restart", help="Keep it for the next release; restart nothing.")]


class Verbatim(TyperCommand):
    """octohost's `config:set APP/KEY VALUE` takes the value as it is, also one that looks like an option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if len(args) > 1 and words.slashed(args):
            args = [*args[2:], "--", *args[:2]]
        return super().parse_args(ctx, args)


def _path(app: AppName, *, restart: bool = True) -> str:
    return url("apps", app, "config-vars") + ("" if restart else "?restart=0")


def _config(app: str) -> dict[str, str]:
    found: dict[str, str] = api().get(_path(session().app(app)))
    return found


@command("config", GROUP)
def every(app_word: AppWord = None, app: App = "", as_: As = Format.TEXT) -> None:
    """Show an app's config.

    `octo config APP` writes it as octohost did, /APP/KEY:VALUE; `octo config -a APP` as KEY: VALUE in columns.
    """
    name = session().app(words.alone(app, app_word))
    found = _config(name)
    if as_ is Format.JSON:
        text.show_json(found)
        return
    if not found:
        text.note("There is no config yet. Set some: octo config:set -a APP KEY=VALUE")
    wide = max(map(len, found), default=0) + 1
    for key, value in sorted(found.items()):
        if app_word:
            text.raw(f"/{name}/{key}:{value}\n", guarded=session().guarded)
            continue
        text.line(f"{text.cell(key) + ':':<{wide}} {text.cell(value)}".rstrip())


@command("config:set", GROUP, cls=Verbatim)
def set_(
    given: Annotated[list[str], word("[APP] KEY=VALUE... | APP/KEY VALUE")],
    app: App = "",
    no_restart: NoRestart = False,
    as_: As = Format.TEXT,
) -> None:
    """Set config and restart the app with it.

    Without -a a first word without = is the app. APP/KEY VALUE is octohost's form: one key, its value taken as it is,
    and nothing is said.
    """
    named, values = words.assignments(app, given)
    change_ = {config_key(key): config_value(value) for key, value in values.items()}
    silent = not app and words.slashed(given) is not None
    _apply(session().app(named), dict(change_), as_, restart=not no_restart, silent=silent)


@command("config:get", GROUP)
def get(given: Annotated[list[str], word("[APP] KEY | APP/KEY")], app: App = "", as_: As = Format.TEXT) -> int:
    """Print one value; nothing, and exit code 1, when it is not set.

    Without -a the first of two words is the app.
    """
    named, keys = words.keys(app, given)
    words.at_most(1, keys)
    if not keys:
        raise Usage("cannot get the config: no key is named", hint="Say: octo config:get -a APP KEY")
    value = _config(named).get(config_key(keys[0]))
    if as_ is Format.JSON:
        text.show_json(value)
    elif value is not None:
        text.raw(value + "\n", guarded=session().guarded)
    return 0 if value is not None else 1


@command("config:unset", GROUP)
def unset(
    given: Annotated[list[str], word("[APP] KEY... | APP/KEY...")],
    app: App = "",
    no_restart: NoRestart = False,
    as_: As = Format.TEXT,
) -> None:
    """Remove config and restart the app without it.

    Without -a the first of several words is the app, when it is in lower case. Of octohost's form nothing is said.
    """
    named, keys = words.keys(app, given)
    silent = not app and words.slashed(given) is not None
    _apply(session().app(named), {config_key(key): None for key in keys}, as_, restart=not no_restart, silent=silent)


def _apply(app: AppName, values: Json, as_: Format, *, restart: bool, silent: bool) -> None:
    if silent and as_ is Format.TEXT:
        api().stream("PATCH", _path(app, restart=restart), values, _errors_only)
        return
    if restart:
        change("PATCH", _path(app), values, as_)
        return
    result = api().patch(_path(app, restart=False), values)
    if as_ is Format.JSON:
        text.show_json(result)


def _errors_only(kind: str, said: str) -> None:
    if kind == "error":
        text.note(f" !     {said}")


class Dialect(StrEnum):
    SHELL = "shell"
    ENV = "env"
    JSON = "json"


@command("config:export", GROUP)
def export(
    app_word: AppWord = None,
    app: App = "",
    dialect: Annotated[
        Dialect | None, typer.Option("--format", metavar="shell|env|json", help="How to write it.", show_default=False)
    ] = None,
) -> None:
    """Print an app's config for a shell, or that of all apps as commands.

    Of an app: export KEY='value' lines, KEY=value lines (--format env), or JSON. Without an app the lines are
    octohost's: octo config:set APP/KEY 'VALUE'. Read them back with config:import.
    """
    if not app and not app_word and dialect is None:
        _all()
        return
    found = _config(words.alone(app, app_word))
    if dialect is Dialect.JSON:
        text.show_json(found)
        return
    if not found:
        text.note("There is no config yet.")
    for key, value in sorted(found.items()):
        if dialect is Dialect.ENV and "\n" in value:
            raise OctoError(f'cannot write "{key}" as a KEY=value line: it has a line break', hint="Use --format json.")
        written = f"{key}={value}" if dialect is Dialect.ENV else f"export {key}={quoted(value)}"
        text.raw(written + "\n", guarded=session().guarded)


def _all() -> None:
    for name, config in sorted(api().get("/config-vars").items()):
        for key, value in sorted(config.items()):
            text.raw(export_line(name, key, value) + "\n", guarded=session().guarded)
