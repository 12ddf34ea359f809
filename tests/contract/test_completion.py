"""Completion in the shells themselves, where they are installed; without them, what the scripts say."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.contract.command_parts import Octo

BASH = shutil.which("bash")


def program(folder: Path, answer: str) -> Path:
    """An `octo` on the PATH that lists apps."""
    octo = folder / "octo"
    octo.write_text(f'#!/bin/sh\n[ "$*" = "apps --format names" ] || exit 9\n{answer}\n')
    octo.chmod(0o755)
    return octo


def completed(script: str, line: str, folder: Path) -> list[str]:
    """What bash offers at the end of the line."""
    words = line.split() + ([""] if line.endswith(" ") else [])
    test = script + f'\nCOMP_LINE="$1"; COMP_POINT=${{#1}}; COMP_WORDS=({" ".join(map(repr, words))}); _octo; '
    test += 'printf "%s\\n" "${COMPREPLY[@]}"'
    argv = ["bash", "--norc", "-c", test, "bash", line]
    environment = {"PATH": f"{folder}:/usr/bin:/bin"}
    done = subprocess.run(argv, capture_output=True, text=True, env=environment, check=False)
    assert done.stderr == ""
    return [word for word in done.stdout.splitlines() if word]


@pytest.mark.skipif(BASH is None, reason="there is no bash")
def test_bash_completes_commands_apps_and_options(octo: Octo, tmp_path: Path) -> None:
    script = octo("completion", "bash").out
    program(tmp_path, "echo shop; echo shopper; echo blog")
    assert completed(script, "octo apps:c", tmp_path) == ["create"]  # what is before the colon is there already
    assert completed(script, "octo config:s", tmp_path) == ["set"]
    assert "config:set" in completed(script, "octo conf", tmp_path)
    assert completed(script, "octo config:set -a sh", tmp_path) == ["shop", "shopper"]
    assert completed(script, "octo ps b", tmp_path) == ["blog"]
    assert completed(script, "octo ps shop --f", tmp_path) == ["--format"]
    assert completed(script, "octo nosuch", tmp_path) == []


@pytest.mark.skipif(BASH is None, reason="there is no bash")
def test_completion_is_quiet_when_octod_is_away(octo: Octo, tmp_path: Path) -> None:
    script = octo("completion", "bash").out
    program(tmp_path, "echo octod is away >&2; exit 1")
    assert completed(script, "octo ps ", tmp_path) == []


@pytest.mark.parametrize("shell", ["zsh", "fish", "bash"])
def test_the_script_is_one_that_the_shell_reads(octo: Octo, shell: str, tmp_path: Path) -> None:
    said = octo("completion", shell)
    assert said.code == 0 and "apps --format names 2>/dev/null" in said.out
    if shutil.which(shell):
        (tmp_path / "script").write_text(said.out)
        subprocess.run([shell, "-n", str(tmp_path / "script")], check=True)


def test_each_command_is_one_quoted_word_for_zsh_and_for_fish(octo: Octo) -> None:
    """Neither shell is among octo's prerequisites: their rules for quotes are applied here."""
    zsh = octo("completion", "zsh").out.partition("commands=(\n")[2].partition("\n    )")[0]
    words = [shlex.split(line) for line in zsh.splitlines()]
    assert ["config\\:set:Set config and restart the app with it."] in words
    assert all(len(word) == 1 for word in words)
    string = r"'(?:[^'\\]|\\.)*'"
    form = re.compile(rf"complete -c octo -n {string} -a ({string}) -d {string}")
    fish = [found[1] for line in octo("completion", "fish").out.splitlines() if (found := form.fullmatch(line))]
    assert "'config:set'" in fish and len(fish) == len(words)
    assert "'remove:upstart'" not in fish  # a name that is only kept


def test_the_names_of_apps_are_there_one_a_line(octo: Octo) -> None:
    assert octo("apps", "--format", "names").out == "shop\n"
    assert octo("completion", "tcsh").code == 2
