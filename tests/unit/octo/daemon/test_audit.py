"""Of a command its name and app are logged, and nothing that could be a secret."""

import pytest

from octo.daemon.audit import described


@pytest.mark.row("T12")
@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["config:set", "shop/KEY", "hunter2"], "config:set of shop"),
        (["config:set", "-a", "shop", "KEY=hunter2"], "config:set of shop"),
        (["config:set", "KEY=hunter2", "--app=shop"], "config:set of shop"),
        (["config:set", "shop", "KEY=hunter2"], "config:set of shop"),
        (["config", "set", "-c", "shop", "--key", "K", "--value", "hunter2"], "config of shop"),
        (["config:set", "hunter", "KEY=2"], "config:set"),  # there is no such app: it may be a value
        (["run", "-a", "shop", "mysql", "-phunter2"], "run of shop"),
        (["run", "shop", "--", "login", "-a", "hunter"], "run of shop"),
        (["hunter2"], "a command"),
        (["Hunter\n2 INFO forged"], "a command"),
        (["apps:create", "shop\nINFO forged"], "apps:create"),
        (["apps"], "apps"),
        ([], "help"),
        (["config:set", "-a"], "config:set"),
    ],
)
def test_the_line_has_the_command_and_the_app_alone(words: list[str], line: str) -> None:
    assert described(words, lambda name: name == "shop") == line
