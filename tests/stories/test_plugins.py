"""octohost's plugins, run by octod for the operator."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.stories.host import CHECKOUT, Host

Add = Callable[..., Path]
KNOWS = '#!/bin/sh\ncase "$1" in\n{}\nesac\n'


@pytest.fixture
def add(host: Host) -> Iterator[Add]:
    """Makes a plugin: its name, what it does for a case of a shell, and its env file."""
    folder = host.home / "octo" / "plugins"

    def make(name: str, cases: str, env: str = "") -> Path:
        place = folder / name
        place.mkdir(parents=True)
        program = place / "commands"
        program.write_text(KNOWS.format(cases))
        program.chmod(0o755)
        if env:
            (place / "env").write_text(env)
        return program

    yield make
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.row("L39")
@pytest.mark.row("L32")
def test_an_unknown_command_goes_to_the_plugin_that_knows_it(host: Host, add: Add) -> None:
    add("a-silent", "")
    add("b-redis", 'move:redis) shift; printf "moving %s\\n" "$@"; cat; echo done >&2; exit 7;;')
    add("c-never", "*) echo never;;")
    said = host.octo("move:redis", "10.0.0.1", "6379", "a b", given="typed in\n", code=7)
    assert said == "moving 10.0.0.1\nmoving 6379\nmoving a b\ntyped in\ndone\n"
    assert host.octo("move", "redis", "10.0.0.1", code=7).startswith("moving 10.0.0.1\n")


@pytest.mark.row("L39")
def test_a_command_that_no_plugin_knows_is_unknown(host: Host, add: Add) -> None:
    add("zero", "")
    add("ten", "*) exit 10;;")
    add("gone", "*) exit 127;;")
    assert "Did you mean config:set?" in host.octo("config-set", "x", code=2)
    add("last", "*) exit 3;;")
    assert host.octo("config-set", "x", code=3) == ""


@pytest.mark.row("L39")
def test_a_plugin_has_a_clean_environment_and_its_own_env_file_which_is_not_run(host: Host, add: Add) -> None:
    witness = host.home / "witness"
    add("tell", "env:all) /usr/bin/env;;", env=f'WORD="two words"\nexport X=$(touch {witness})\n')
    shown = dict(line.split("=", 1) for line in host.octo("env:all").splitlines())
    assert shown.keys() - {"PWD", "SHLVL", "_", "OLDPWD"} == {
        "PATH",
        "HOME",
        "LANG",
        "OCTO_HOME",
        "OCTO_VERSION",
        "WORD",
        "X",
    }
    assert (shown["WORD"], shown["X"]) == ("two words", f"$(touch {witness})")
    assert shown["OCTO_HOME"] == str(host.home / "octo") and not witness.exists()


@pytest.mark.row("L39")
def test_a_plugin_has_its_owners_rights_and_no_more(host: Host, add: Add) -> None:
    program = add("nobody", 'who:am-i) id -u; cat "$2";;')
    os.chown(program, 59205, 59205)
    secret = host.home / "secret"
    secret.write_text("s3cret")
    secret.chmod(0o600)
    said = host.octo("who:am-i", str(secret), code=None)
    assert said.startswith("59205\n") and "s3cret" not in said and "Permission denied" in said


@pytest.mark.row("L39")
@pytest.mark.parametrize("place", ["program", "folder", "plugins", "owner", "env", "no-x"])
def test_a_plugin_that_others_could_change_is_not_run(host: Host, add: Add, place: str) -> None:
    program = add("open", "do:it) echo done;;", env="A=1\n")
    assert host.octo("do:it") == "done\n"
    files = {
        "program": program,
        "folder": program.parent,
        "plugins": program.parent.parent,
        "env": program.parent / "env",
    }
    if place == "owner":
        os.chown(program.parent, 59205, 59205)
    elif place == "no-x":
        program.chmod(0o644)
    else:
        files[place].chmod(0o777)
    said = host.octo("do:it", code=2)
    files["plugins"].chmod(0o755)
    assert 'cannot use the plugin "open"' in said and "done" not in said
    assert "octo has no such command" in said


@pytest.mark.row("L38")
def test_help_ends_with_what_the_plugins_say_of_themselves(host: Host, add: Add) -> None:
    add("redis", 'help) echo "  octo redis:make NAME  Make one.";;')
    add("other", 'help) echo "  octo other:do         Do it."; exit 4;;')
    for words in (["help"], ["-h"], ["--help"]):
        said = host.octo(*words)
        assert said.endswith("  octo other:do         Do it.\n  octo redis:make NAME  Make one.\n")
        assert "config:set" in said
    assert "redis:make" not in host.octo("help", "config")


@pytest.mark.row("L39")
def test_a_key_over_ssh_runs_no_plugin(host: Host, add: Add) -> None:
    add("danger", "danger:do) echo done;;\nhelp) echo done;;")
    far = host.ssh("danger:do")
    assert (far.returncode, far.stdout) == (2, "") and "octo has no such command" in far.stderr
    assert "done" not in host.ssh("help").stdout


def test_a_caller_who_hangs_up_ends_the_plugin_and_all_that_it_started(host: Host, add: Add, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    add("slow", f"wait:here) echo begun; sleep 600 > {fifo} & sleep 600;;")
    client = subprocess.Popen(
        [CHECKOUT / "bin" / "octo", "wait:here"], env=host.env, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL
    )
    with fifo.open("rb") as held:
        assert client.stdout and client.stdout.readline() == b"begun\n"
        client.kill()
        client.communicate()
        assert held.read() == b""  # its last writer has gone


def test_what_a_plugin_leaves_running_is_not_waited_for(host: Host, add: Add) -> None:
    add("daemon", "daemon:start) sleep 600 & echo $!;;")
    pid = int(host.octo("daemon:start"))
    assert Path(f"/proc/{pid}").exists()
    os.kill(pid, 9)
