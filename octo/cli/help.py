"""help and completion: what octo can do, for people and for shells."""

from enum import StrEnum
from typing import Annotated

import click
import typer

from octo.cli import completion, plugins, text
from octo.cli.session import session
from octo.cli.tree import ALIASES, Tree, command, word

GROUP = "Server"


@command("help", GROUP)
def help_(ctx: typer.Context, name: Annotated[str, word("[COMMAND|NOUN]")] = "") -> None:
    """Show the commands, those of a noun as config, or one command in full."""
    root = ctx.find_root()
    tree = root.command
    assert isinstance(tree, Tree)
    if not name:
        text.line(tree.overview().rstrip("\n"))
        plugins.run(session(), ["help"], help=True)
        return
    members = tree.members(name)
    if len(members) > 1:
        text.line(_noun(root, tree, members))
        return
    found = tree.get_command(root, name) or next(iter(members.values()), None)
    if found is None:
        raise tree.unknown(name)
    with click.Context(found, info_name=found.name, parent=root) as sub:
        text.line(found.get_help(sub))


def _noun(root: click.Context, tree: Tree, members: dict[str, click.Command]) -> str:
    """A line a command, then its other names."""
    lines = []
    for name, found in members.items():
        with click.Context(found, info_name=name, parent=root) as sub:
            words = " ".join(found.collect_usage_pieces(sub)[1:])
        lines.append((f"octo {name} {words}".rstrip(), found.get_short_help_str(100)))
    wide = min(max(len(usage) for usage, _ in lines), 48)
    shown = [f"{usage:<{wide}}  {what}" for usage, what in lines]
    others = sorted(f"{alias} is {name}" for alias, name in ALIASES.items() if name in members)
    also = [f"\nOther names: {', '.join(others)}"] if others else []
    return "\n".join([*shown, *also, "\nMore on one command: octo COMMAND --help"])


class Shell(StrEnum):
    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


@command("completion", GROUP)
def complete(ctx: typer.Context, shell: Annotated[Shell, word("bash|zsh|fish")]) -> None:
    """Print what makes a shell complete octo's commands and apps.

    For bash: octo completion bash > /etc/bash_completion.d/octo
    """
    tree = ctx.find_root().command
    assert isinstance(tree, Tree)
    text.line(completion.script(shell.value, {name: c.get_short_help_str(70) for name, c in tree.shown().items()}))
