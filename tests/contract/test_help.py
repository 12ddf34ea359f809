"""Help by noun, and unknown commands: what one may have meant."""

import pytest

from tests.contract.command_parts import Octo


@pytest.mark.row("L38")
def test_help_on_a_noun_shows_all_its_commands_and_other_names(octo: Octo) -> None:
    said = octo("help", "config")
    assert said.code == 0
    lines = said.out.splitlines()
    assert any(line.startswith("octo config:set [APP] KEY=VALUE...") for line in lines)
    assert any(line.startswith("octo config:import ") for line in lines)
    assert "config:rm is config:unset" in said.out and "apps:create" not in said.out
    assert octo("help", "services").out.count("\nocto services:") == 5
    for words in (["help", "status"], ["help", "restart"], ["help", "completion"]):
        assert octo(*words).out.startswith("Usage: octo ")


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("config-set", "config:set"),
        ("configset", "config:set"),
        ("app:create", "apps:create"),
        ("Config:Set", "config:set"),
        ("stauts", "status"),
        ("services:remove-all", "services:remove_all"),
        ("resart", "restart"),
    ],
)
def test_an_unknown_command_is_told_what_it_may_have_been(octo: Octo, word: str, meant: str) -> None:
    said = octo(word, "shop")
    assert said.code == 2 and said.out == ""
    assert f"Did you mean {meant}?" in said.err


@pytest.mark.parametrize(
    ("words", "usage"),
    [
        (["apps:create"], "Usage: octo apps:create NAME"),
        (["config:set"], "Usage: octo config:set [APP] KEY=VALUE... | APP/KEY VALUE"),
        (["service:set", "db"], "Usage: octo service:set NAME [IP] PORT [TAGS]"),
        (["move:config"], "Usage: octo move:config IP [USER]"),
        (["remove"], "Usage: octo remove APP"),
    ],
)
def test_a_missing_word_is_told_with_the_usage_and_code_2(octo: Octo, words: list[str], usage: str) -> None:
    said = octo(*words)
    assert said.code == 2 and said.out == ""
    assert said.err.splitlines()[1] == f"       {usage}"
