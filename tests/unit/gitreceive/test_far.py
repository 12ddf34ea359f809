"""An octo elsewhere, reached by ssh."""

import shlex

import pytest

from gitreceive.far import command_line


@pytest.mark.row("H8")
@pytest.mark.parametrize(
    ("place", "there"),
    [
        ("octo.example.com", ["git@octo.example.com"]),
        ("octo.example.com:2222", ["-p", "2222", "git@octo.example.com"]),
        ("ann@10.0.0.5:22", ["-p", "22", "ann@10.0.0.5"]),
        ("https://api.octo.example.com/", ["git@octo.example.com"]),
    ],
)
def test_each_form_of_the_host_is_read(place: str, there: list[str]) -> None:
    assert command_line(place, "ssh -q", ["ps"]) == ["ssh", "-q", *there, "--", "ps"]


def test_words_stay_words_on_the_other_side() -> None:
    words = ["config:set", "shop/KEY", "a 'b' $(id)\n; -o x"]
    assert shlex.split(command_line("h", "ssh", words)[-1]) == words


@pytest.mark.parametrize("place", ["-oProxyCommand=id", "", "a b", "h:x", "h;id", "u@-h", "$(id)", "h:123456"])
def test_what_is_no_host_becomes_no_option(place: str) -> None:
    assert command_line(place, "ssh", ["ps"]) == []
