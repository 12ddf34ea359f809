"""Completion in the shells themselves, where they are installed; without them, what the scripts say."""

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
    assert "config:set" in said.out.replace("\\:", ":") and "remove:upstart" not in said.out
    assert said.out.count("'") % 2 == 0
    if shutil.which(shell):
        (tmp_path / "script").write_text(said.out)
        subprocess.run([shell, "-n", str(tmp_path / "script")], check=True)


def test_the_names_of_apps_are_there_one_a_line(octo: Octo) -> None:
    assert octo("apps", "--format", "names").out == "shop\n"
    assert octo("completion", "tcsh").code == 2
