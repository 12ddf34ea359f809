"""The tree of commands: their names, aliases, groups, common options, and the overview that `octo help` prints."""

import difflib
import sys
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any, TypeVar

import click
import typer
from typer.core import TyperGroup

from octo.cli import plugins, text
from octo.cli.client import Json
from octo.cli.session import api
from octo.errors import Usage
from octo.model import shown

Call = TypeVar("Call", bound=Callable[..., Any])

ALIASES = {
    "create": "apps:create",
    "destroy": "apps:destroy",
    "info": "apps:info",
    "rename": "apps:rename",
    "apps:list": "apps",
    "config:rm": "config:unset",
    "config:list": "config",
    "config:consul_template_render": "config:consul_template",
    "domains:list": "domains",
    "domains:rm": "domains:remove",
    "keys:list": "keys",
    "keys:rm": "keys:remove",
    "stack": "stack:list",
    "stacks": "stack:list",
    "scale": "ps:scale",
    "stop": "ps:stop",
    "releases:rollback": "rollback",
    "builds:cache:purge": "build:cache:purge",
}

# As the overview has them.
GROUPS = ("Apps", "Config", "Domains", "Processes", "Releases", "Builds", "Keys", "Services", "Moving", "Server")
INTRODUCTION = """octo: git push, and the code is built, runs, and is served.

Usage: octo COMMAND [WORDS] [OPTIONS]
       ssh git@HOST COMMAND [WORDS] [OPTIONS]
"""
ENDING = """
The app is named by -a APP, or by the first word, or by a git remote of the current folder.
Lists and reports take --format json. More: octo help NOUN (as config), octo help COMMAND
"""


class Tree(TyperGroup):
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return super().get_command(ctx, ALIASES.get(cmd_name, cmd_name))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        command = self.get_command(ctx, args[0])
        if command is None:
            code = plugins.run(ctx.obj, args) if ctx.obj else None
            if code is not None:
                ctx.exit(code)
            raise self.unknown(args[0])
        return command.name, command, args[1:]

    def unknown(self, word: str) -> Usage:
        """config-set and configset are near config:set: letters count, and what stands between them does not."""
        known = [*self.commands, *ALIASES]
        plain = {_letters(name): name for name in reversed(known)}
        near = difflib.get_close_matches(_letters(word[:64]), plain, n=1)
        close = [plain[near[0]]] if near else []
        hint = f"Did you mean {close[0]}? See: octo help" if close else "See: octo help"
        return Usage(f"cannot run {shown(word)}: octo has no such command", hint=hint)

    def members(self, noun: str) -> dict[str, click.Command]:
        """The commands NOUN and NOUN:*, by name."""
        return {n: c for n, c in sorted(self.commands.items()) if n == noun or n.startswith(f"{noun}:")}

    def shown(self) -> dict[str, click.Command]:
        """Those that the overview and the shells' completion have."""
        return {name: command for name, command in self.commands.items() if not command.hidden}

    def overview(self) -> str:
        groups: dict[str, list[tuple[str, str]]] = {group: [] for group in GROUPS}
        for name, command in self.commands.items():
            panel = getattr(command, "rich_help_panel", None)
            if not command.hidden:
                groups[str(panel)].append((name, command.get_short_help_str(80)))
        wide = max(len(name) for lines in groups.values() for name, _ in lines)
        lines = [INTRODUCTION]
        for group, members in ((g, m) for g, m in groups.items() if m):
            lines += [group, *(f"  {name:<{wide}}  {what}" for name, what in members), ""]
        return "\n".join(lines).rstrip("\n") + "\n" + ENDING


def _letters(name: str) -> str:
    return "".join(c for c in name.lower() if c.isalnum())


app = typer.Typer(
    cls=Tree,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["--help", "-h"], "max_content_width": 100},
)


@app.callback()
def root() -> None:
    """Keep Typer from making a single command of the tree."""


def command(name: str, group: str, **settings: Any) -> Callable[[Call], Call]:
    return app.command(name, rich_help_panel=group, **settings)


def word(form: str) -> Any:
    """An argument, shown in the usage line alone."""
    return typer.Argument(metavar=form, hidden=True, show_default=False)


class Format(StrEnum):
    TEXT = "text"
    JSON = "json"


# The options that most commands share.
App = Annotated[str, typer.Option("--app", "-a", metavar="APP", help="The app.", show_default=False)]
As = Annotated[
    Format,
    typer.Option("--format", metavar="text|json", help="text for people, json for programs.", show_default=False),
]
AppWord = Annotated[list[str] | None, word("[APP]")]


def steps(as_: Format) -> text.Steps:
    """Where the steps of a deploy are shown: beside the JSON, not in it."""
    return text.Steps(sys.stderr if as_ is Format.JSON else sys.stdout)


def change(method: str, path: str, body: Json, as_: Format, *, done: str = "") -> Json:
    """Ask for what may deploy, show its steps, then the result; `done` when octod told nothing."""
    shown_by = steps(as_)
    result = api().stream(method, path, body, shown_by.tell)
    if as_ is Format.JSON:
        text.show_json(result)
    elif done and not shown_by.shown:
        text.line(done)
    return result
