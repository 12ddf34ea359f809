"""README.md says nothing that is not so: its commands, verbs, settings and links are tried."""

import re
import shlex
import subprocess
import warnings
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields
from pathlib import Path

import click
import pytest

from octo.errors import OctoError
from octo.settings import Settings

with warnings.catch_warnings():  # Typer 0.21 uses what click 8.5 calls deprecated; their versions are locked
    warnings.simplefilter("ignore", DeprecationWarning)
    from octo.cli import tree

CHECKOUT = Path(__file__).resolve().parents[2]
README = (CHECKOUT / "README.md").read_text()
SPOKEN = re.compile(r"`?octo ([a-z]+(?::[a-z]+)+)|`octo ([a-z]+)")  # in a sentence
FAR = re.compile(r"`ssh -p 2222 git@localhost ([^`]+)`")


def typed(page: str) -> Iterator[str]:
    """What the page has a reader type for octo, without `sudo octo`, redirections and remarks."""
    for block in re.findall(r"^```sh\n(.*?)^```", page, re.MULTILINE | re.DOTALL):
        for line in re.findall(r"^(?:sudo )?octo (.*)", block, re.MULTILINE):
            yield re.split(r"\s+[#<]", line)[0].strip()
    yield from FAR.findall(page)


def read(line: str) -> click.Context:
    """Have octo read the words and options of a line, and run nothing. Raises click's and octo's errors."""
    root = tree()
    assert isinstance(root, click.Group)
    with click.Context(root, info_name="octo") as context:
        name, command, words = root.resolve_command(context, shlex.split(line))
        assert command is not None
        return command.make_context(name, words, parent=context)


TYPED = list(typed(README))


@pytest.mark.parametrize("line", TYPED)
def test_octo_understands_what_a_reader_types(line: str) -> None:
    read(line)


@pytest.mark.parametrize("line", ["config:put A=1", "logs --forever", "releases --format yaml", "keys:add"])
def test_a_line_that_is_not_so_is_noticed(line: str) -> None:
    with pytest.raises((click.UsageError, OctoError)):
        read(line)


def test_the_ten_minutes_show_the_commands_of_a_first_day() -> None:
    shown = {line.split()[0] for line in TYPED}
    assert {"keys:add", "config:set", "ps:scale", "logs", "rollback", "run", "domains:add", "apps:destroy"} <= shown


def test_commands_that_are_only_spoken_of_exist() -> None:
    spoken = {noun_verb or noun for noun_verb, noun in SPOKEN.findall(README)}
    assert {"help", "builds:output"} <= spoken
    root = tree()
    assert isinstance(root, click.Group)
    for name in spoken:
        assert root.get_command(click.Context(root), name), name


def test_setup_has_the_verbs() -> None:
    verbs = set(re.findall(r"\./setup ([a-z]+)", README))
    told = subprocess.run([CHECKOUT / "setup", "help"], capture_output=True, text=True, check=True).stdout
    assert verbs >= {"demo", "test", "stop"}
    assert all(re.search(rf"^  {verb}\b", told, re.MULTILINE) for verb in verbs)


def test_settings_have_the_names_and_defaults_that_the_table_says() -> None:
    table = re.findall(r"^\| `([a-z_]+)` \| `?([^`|]*?)`? \|", README, re.MULTILINE)
    known = {field.name: field for field in fields(Settings)}
    assert len(table) > 10
    assert dict(table) == {name: shown(known[name]) for name, _ in table}


def shown(field: "Field[object]") -> str:
    assert field.default is not MISSING
    value = field.default
    if isinstance(value, tuple):
        return ",".join(value)
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def test_variables_name_settings() -> None:
    named = set(re.findall(r"OCTO_([A-Z_]+)", README))
    assert named
    assert named <= {field.name.upper() for field in fields(Settings)}


def test_files_that_are_named_exist() -> None:
    for name in re.findall(r"`((?:docs|examples)/[\w./-]+|octo/\w+\.py|LICENSE|[A-Z]+\.md)`", README):
        assert (CHECKOUT / name).exists(), name


def test_it_is_short_and_its_lines_fit() -> None:
    lines = README.splitlines()
    assert len(lines) <= 150
    assert max(map(len, lines)) <= 130


@pytest.mark.row("T15")
def test_the_licence_is_mit() -> None:
    assert "Licence: MIT" in README
    assert (CHECKOUT / "LICENSE").read_text().startswith("MIT License\n")
    assert 'license = { text = "MIT" }' in (CHECKOUT / "pyproject.toml").read_text()
