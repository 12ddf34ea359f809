"""The forms of octohost's rewrite, turned into octo's own."""

import pytest

from octo.cli.goform import rewrite
from octo.errors import Usage


@pytest.mark.row("L41")
@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("config set -c shop --key debug --value on", ["config:set", "shop/DEBUG", "on"]),
        ("config set --container=shop -k DEBUG --value=--x=1", ["config:set", "shop/DEBUG", "--x=1"]),
        ("config set --value -c --key K -c shop", ["config:set", "shop/K", "-c"]),
        ("config get -c shop --key debug", ["config:get", "shop/DEBUG"]),
        ("config del -c shop --key debug", ["config:rm", "shop/DEBUG"]),
        ("config rm -c shop --key debug", ["config:rm", "shop/DEBUG"]),
        ("config show -c shop", ["config", "shop"]),
        ("config export", ["config:export"]),
        ("config export -c shop", ["config:export", "shop"]),
        ("start -c shop", ["start", "shop"]),
        ("domains -c shop", ["domains", "shop"]),
        ("move sites 10.0.0.1", ["move:sites", "10.0.0.1"]),
        ("move config 10.0.0.1 ann", ["move:config", "10.0.0.1", "ann"]),
        ("config shop", ["config", "shop"]),
        ("config -a set", ["config", "-a", "set"]),
        ("config:set shop/A -c", ["config:set", "shop/A", "-c"]),
        ("domains shop", ["domains", "shop"]),
        ("", []),
    ],
)
def test_each_form_is_one_of_octos_own(line: str, words: list[str]) -> None:
    assert rewrite(line.split()) == words


@pytest.mark.row("L41")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["config", "set"], "A container is required: -c"),
        (["config", "show", "--key", "A"], "A container is required: -c"),
        (["config", "set", "-c", "shop"], "A key is required: --key"),
        (["config", "get", "-c", "shop", "--value", "x"], "A key is required: --key"),
        (["config", "set", "-c", "shop", "--key", "A"], "A value is required: --value"),
        (["config", "set", "-c", "my shop", "--key", "A", "--value", "1"], "A container cannot contain a space."),
        (["start", "-c"], "A container is required: -c"),
    ],
)
def test_what_is_missing_is_told_in_the_old_words(words: list[str], said: str) -> None:
    with pytest.raises(Usage) as told:
        rewrite(words)
    assert told.value.message == said


def test_an_empty_value_is_one() -> None:
    assert rewrite(["config", "set", "-c", "shop", "--key", "A", "--value", ""]) == ["config:set", "shop/A", ""]
