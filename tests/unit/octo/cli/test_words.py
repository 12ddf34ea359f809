"""Which word is the app: one rule a command, the same in every folder."""

import pytest

from octo.cli import words
from octo.cli.session import from_remotes, read_remotes
from octo.errors import Usage


@pytest.mark.parametrize(
    ("app", "given", "expected"),
    [
        ("shop", ["A=1", "b=2"], ("shop", {"A": "1", "b": "2"})),
        ("", ["shop", "A=1"], ("shop", {"A": "1"})),
        ("", ["A=1=2"], ("", {"A": "1=2"})),
        ("", ["A="], ("", {"A": ""})),
        ("", ["shop/A", "one two"], ("shop", {"A": "one two"})),
        ("", ["shop/A", "x=y"], ("shop", {"A": "x=y"})),
        ("", ["shop/A", ""], ("shop", {"A": ""})),
        ("", ["A=a/b"], ("", {"A": "a/b"})),
    ],
)
def test_config_is_set_in_every_known_form(app: str, given: list[str], expected: tuple[str, dict[str, str]]) -> None:
    assert words.assignments(app, given) == expected


@pytest.mark.parametrize("given", [["shop"], ["A"], ["shop", "A"], ["shop/A"], ["shop/A", "1", "2"], ["A=1", "B"], []])
def test_config_that_is_no_assignment_is_refused(given: list[str]) -> None:
    with pytest.raises(Usage):
        words.assignments("", given)


@pytest.mark.parametrize(
    ("app", "given", "expected"),
    [
        ("shop", ["A"], ("shop", ["A"])),
        ("", ["A"], ("", ["A"])),
        ("", ["shop", "A"], ("shop", ["A"])),
        ("", ["A", "B"], ("", ["A", "B"])),
        ("", ["shop/A", "shop/B"], ("shop", ["A", "B"])),
        ("", ["debug"], ("", ["debug"])),
    ],
)
def test_keys_are_named_in_every_known_form(app: str, given: list[str], expected: tuple[str, list[str]]) -> None:
    assert words.keys(app, given) == expected


def test_keys_of_two_apps_in_one_command_are_refused() -> None:
    with pytest.raises(Usage, match="several apps"):
        words.keys("", ["shop/A", "blog/A"])


@pytest.mark.parametrize(
    ("rule", "given", "expected"),
    [
        (words.without_dot, ["shop", "www.example.com"], ("shop", ["www.example.com"])),
        (words.without_dot, ["www.example.com"], ("", ["www.example.com"])),
        (words.without_equals, ["shop", "web=2"], ("shop", ["web=2"])),
        (words.without_equals, ["web=2"], ("", ["web=2"])),
        (words.no_release, ["v3"], ("", ["v3"])),
        (words.no_release, ["shop", "3"], ("shop", ["3"])),
        (words.no_release, ["shop"], ("shop", [])),
        (words.before_dashes, ["shop", "--", "ls"], ("shop", ["--", "ls"])),
        (words.before_dashes, ["ls", "-l"], ("", ["ls", "-l"])),
        (words.before_others, ["b1"], ("", ["b1"])),
        (words.before_others, ["shop", "b1"], ("shop", ["b1"])),
        (words.always, ["web"], ("web", [])),
    ],
)
def test_the_first_word_is_the_app_by_the_rule_of_the_command(
    rule: words.Rule, given: list[str], expected: tuple[str, list[str]]
) -> None:
    assert words.split("", given, rule) == expected


def test_an_app_that_is_named_by_option_leaves_all_words_alone() -> None:
    assert words.split("shop", ["blog", "web=2"], words.without_equals) == ("shop", ["blog", "web=2"])


@pytest.mark.parametrize("word", ["web", "web=", "web=-1", "web=1e9", "web=abc", "web=\u0662"])
def test_a_scale_that_is_no_number_is_refused(word: str) -> None:
    with pytest.raises(Usage):
        words.scales([word])


@pytest.mark.parametrize(
    ("remotes", "app"),
    [
        ("octo=ssh://git@host:2222/shop.git", "shop"),
        ("octo=git@host:shop", "shop"),
        ("octo=git@host:/shop.git\norigin=git@host:blog.git", "shop"),
        ("origin=git@github.com:me/blog.git\ndokku=dokku@host:shop", "shop"),
        ("a=git@host:shop.git\nb=http://host/shop", "shop"),
        ("octo=http://host/git/shop.git", "shop"),
    ],
)
def test_a_git_remote_names_the_app(remotes: str, app: str) -> None:
    assert from_remotes(read_remotes(remotes.split("\n"))) == app


@pytest.mark.parametrize("remotes", ["", "origin=git@github.com:me/blog.git", "x=/srv/git/shop.git", "x=../shop", "x"])
def test_a_folder_that_is_not_of_octo_names_no_app(remotes: str) -> None:
    with pytest.raises(Usage, match="none is named"):
        from_remotes(read_remotes(remotes.split("\n")))


def test_remotes_that_name_several_apps_are_listed() -> None:
    with pytest.raises(Usage, match=r"blog \(remote b\), shop \(remote a\)|shop \(remote a\), blog \(remote b\)"):
        from_remotes(read_remotes(["a=git@host:shop.git", "b=git@host:blog.git"]))
