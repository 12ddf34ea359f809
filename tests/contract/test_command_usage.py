"""Help, wrong usage, who the app is, and what works without octod."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.contract.command_parts import CHECKOUT, Octo, Said


@pytest.mark.row("L38")
@pytest.mark.parametrize("words", [[], ["help"], ["-h"], ["--help"]])
def test_help_shows_every_command_in_groups(octo: Octo, words: list[str]) -> None:
    said = octo(*words)
    assert said.code == 0
    for word in (
        "Apps\n  apps ",
        "config:set",
        "domains:add",
        "Keys\n",
        "ps:scale",
        "rollback",
        "builds:output",
        "doctor",
    ):
        assert word in said.out


@pytest.mark.parametrize("words", [["help", "config:set"], ["config:set", "--help"], ["config:set", "-h"]])
def test_help_on_one_command_shows_its_words_and_options(octo: Octo, words: list[str]) -> None:
    said = octo(*words)
    assert said.code == 0
    assert said.out.startswith("Usage: octo config:set [OPTIONS] [APP] KEY=VALUE... | APP/KEY VALUE\n")
    assert "--no-restart" in said.out


def test_an_unknown_command_is_refused_with_the_nearest_one(octo: Octo) -> None:
    hint = "       Did you mean apps:create? See: octo help\n"
    assert octo("app:create") == Said(2, "", f' !     cannot run "app:create": octo has no such command\n{hint}')
    assert octo("xyz\x1b[2J", "y").err.startswith(' !     cannot run "xyz\\x1b[2J": octo has no such command\n')
    assert octo("help", "xyz").code == 2


@pytest.mark.parametrize(
    "line",
    [
        "apps --nosuch", "apps:create", "apps:create Shop", "apps:create ../x", "apps a b", "ps a b", "logs shop -n x",
        "apps --format yaml", "config:set", "config:set shop", "config:get", "config:get shop A B", "ps:scale shop web",
        "rollback shop x", "domains:add shop", "run", "run -a shop", "keys:add", "keys:add A!", "config:set shop 1=2",
    ],
)  # fmt: skip
def test_wrong_usage_is_one_line_and_a_hint_and_code_2(octo: Octo, line: str) -> None:
    said = octo(*line.split())
    assert said.code == 2
    assert said.err.startswith(" !     cannot ")
    assert 1 <= said.err.count("\n") <= 2
    assert said.out == ""


def test_an_app_that_is_not_there_is_code_20(octo: Octo) -> None:
    assert octo("ps", "nosuch").code == 20
    said = octo("ps", "nosuch", "--format", "json")
    assert json.loads(said.err)["id"] == "not_found"
    assert said.code == 20


def test_without_an_app_the_three_ways_are_named(octo: Octo) -> None:
    said = octo("ps")
    assert said.code == 2
    assert "-a APP" in said.err
    assert "first word" in said.err
    assert "remote" in said.err


def test_the_app_comes_from_the_callers_git_remotes(octo: Octo) -> None:
    fields = {"remotes": "origin=git@github.com:me/x.git\nocto=ssh://git@h:2222/shop.git"}
    assert octo("config:set", "A=1", "--no-restart", fields=fields).code == 0
    assert octo.state.config["shop"] == {"A": "1"}


def test_a_token_that_the_api_does_not_know_gets_nothing(octo: Octo) -> None:
    octo.state.token = "another"
    code = octo.commands.run({}, ["apps"], [0, 1, 2], None, "t0ken")
    assert code == 1


def test_too_long_a_command_line_is_refused_in_words(octo: Octo) -> None:
    said = octo("config:set", "shop", *[f"K{i}={'x' * 60000}" for i in range(4)])
    assert said.code == 2
    assert "190 KB" in said.err
    assert octo("config:set", "shop", "--no-restart", *[f"K{i}={'x' * 60000}" for i in range(3)]).code == 0


def test_an_octod_that_is_not_there_is_told(octo: Octo) -> None:
    octo.state.path.unlink()
    said = octo("apps")
    assert said.code == 1
    assert said.err.startswith(" !     cannot reach octod")


def in_place(home: Path, *words: str, ssh: int = 2222, http: int = 8080) -> Said:
    environment = {"PYTHONPATH": str(CHECKOUT), "PATH": os.environ["PATH"], "OCTO_HOME": str(home)}
    environment |= {"OCTO_SSH_PORT": str(ssh), "OCTO_HTTP_PORT": str(http)}
    argv = [sys.executable, "-P", "-m", "octo.cli", *words]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, cwd="/", check=False)
    return Said(done.returncode, done.stdout, done.stderr)


def test_help_and_version_work_without_octod(tmp_path: Path) -> None:
    assert in_place(tmp_path, "--version") == Said(0, "octo 0.1.0\n", "")
    assert in_place(tmp_path, "version").out.startswith("==== octo version ====\nocto 0.1.0\n")
    assert "config:set" in in_place(tmp_path, "help").out
    assert in_place(tmp_path, "apps").err.startswith(" !     cannot reach octod: nobody answers at")


def test_doctor_without_octod_checks_what_it_can_and_says_what_to_do(tmp_path: Path) -> None:
    with socket.socket() as free, socket.create_server(("127.0.0.1", 0)) as taken:
        free.bind(("127.0.0.1", 0))  # ours, and nobody listens
        ssh, http = free.getsockname()[1], taken.getsockname()[1]
        said = in_place(tmp_path, "doctor", ssh=ssh, http=http)
    assert said.code == 1
    assert said.out.startswith("FAIL octod: cannot reach octod")
    assert "     Start it with: sudo ./setup demo\n" in said.out
    assert "\nok   engine: Docker " in said.out
    assert f"\nok   port {ssh}: free\n" in said.out
    assert f"\nFAIL port {http}: in use by process {os.getpid()} (" in said.out
    assert "set OCTO_HTTP_PORT" in said.out


def test_doctor_tells_of_settings_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "octo.toml").write_text("nosuch = 1\n")
    assert '\nFAIL settings: cannot use the setting "nosuch"' in in_place(tmp_path, "doctor").out
