"""The command line: what every `octo ...` does, and the one place where its errors become words and exit codes."""

import sys
import traceback
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path

import click
import typer.main

from octo.cli import (  # noqa: F401 - commands
    admin,
    allowances,
    apps,
    builds,
    child,
    config,
    config_files,
    disk,
    domains,
    help,
    images,
    keys,
    limits,
    logs,
    move,
    octohost,
    ps,
    releases,
    restart,
    router,
    run,
    services,
    stacks,
    store,
    text,
    volumes,
)
from octo.cli.goform import rewrite
from octo.cli.session import Session
from octo.cli.tree import app
from octo.errors import OctoError, Usage

INSTEAD = {"--version": ["version", "--short"], "-h": ["help"], "--help": ["help"]}


@cache
def tree() -> click.Command:
    """All commands, built once: it takes longer than to run one."""
    return typer.main.get_command(app)


def rehearse() -> None:
    """Build everything and print every help to nobody, so that no command imports anything any more."""
    root = tree()
    assert isinstance(root, click.Group)
    with click.Context(root, info_name="octo", **root.context_settings) as context:
        for name, command in root.commands.items():
            command.get_help(click.Context(command, info_name=name, parent=context))


def main(words: Sequence[str], session: Session) -> int:
    """Run one command line and return its exit code."""
    words = [*INSTEAD.get(words[0], words[:1]), *words[1:]] if words else ["help"]
    try:
        code = tree().main(args=rewrite(words), prog_name="octo", standalone_mode=False, obj=session)
        sys.stdout.flush()
    except OctoError as error:
        return _refused(error, words)
    except click.UsageError as error:
        return _refused(_usage(error), words)
    except (click.Abort, KeyboardInterrupt):
        return 130
    except BrokenPipeError:  # nobody reads any more: no matter
        return 1
    except Exception as error:  # noqa: BLE001 - a bug ends as one line too
        return _refused(_bug(error), words)
    return code if isinstance(code, int) else 0


def perform(api: Path, fields: Mapping[str, str], words: Sequence[str]) -> int:
    """Run one command of a caller, in a child of the warm process."""
    session = child.session(api, fields)
    refused = fields.get("refused")
    code = _refused(Usage(refused), words) if refused else main(words, session)
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:  # nobody reads any more
        return code or 1
    return code


def _refused(error: OctoError, words: Sequence[str]) -> int:
    try:
        sys.stdout.flush()
        text.complain(error, as_json=_asks_for_json(words))
    except OSError:
        pass
    return error.exit_code


def _asks_for_json(words: Sequence[str]) -> bool:
    return "--format=json" in words or ("--format", "json") in pairwise(words)


def _usage(error: click.UsageError) -> OctoError:
    """click's sentence as one of ours."""
    name = error.ctx.info_name if error.ctx and error.ctx.parent else ""
    if isinstance(error, click.MissingParameter) and error.ctx:
        usage = " ".join(error.ctx.command.collect_usage_pieces(error.ctx)[1:])
        return Usage(f'cannot run "{name}": a word is missing', hint=f"Usage: octo {name} {usage}")
    said = " ".join(error.format_message().split()).rstrip(".")
    words = f"{said[:1].lower()}{said[1:]}" if said[1:2].islower() else said
    return Usage(f'cannot run "{name or "octo"}": {words}', hint=f"See: octo help {name or ''}".rstrip())


def _bug(error: Exception) -> OctoError:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{frame.filename.rpartition('/')[2]}:{frame.lineno}"
    return OctoError(f"cannot go on: octo has a mistake ({type(error).__name__} in {place})")
