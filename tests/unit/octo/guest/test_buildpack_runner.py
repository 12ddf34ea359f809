"""The buildpack runner, run for real as an unprivileged user: detection, compile, what it leaves and prints."""

import json
import os
import re
from pathlib import Path

import pytest

from tests.unit.octo.guest.runner_parts import USER, Place

DEFAULT = "printf -- '---\\ndefault_process_types:\\n  web: ./serve\\n'"


@pytest.mark.row("E2", "E4", "E6", "E9", "E11")
def test_a_push_is_detected_compiled_and_stored_as_a_slug(here: Place) -> None:
    here.buildpack(
        "python", detect="echo Snake; test -f snake", compile='echo hi; echo made >"$1/made"', release=DEFAULT
    )
    built = here.build({"snake": b"sss", "run": ("#!/bin/sh", 0o775)})
    assert built.code == 0, built.said
    assert built.said.startswith("-----> Snake app detected\n       hi\n")
    assert re.search(r"-----> Compiled slug size is \d+\.\dKB \(\d+\.\d s\)\n", built.said)
    assert built.result["buildpack"] == "Snake"
    assert built.result["processes"] == {"web": "./serve"}
    assert built.result["slug"] == {"bytes": len(built.slug), "unpacked": 17, "files": 4}
    assert set(built.result["took"]) >= {"unpack", "compile", "slug"}
    members = built.members()
    assert set(members) == {"app", "app/snake", "app/run", "app/made"}
    assert {(m.uid, m.gid) for m in members.values()} == {(59205, 59205)}
    assert (members["app/run"].mode, members["app/snake"].mode) == (0o755, 0o644)


@pytest.mark.row("E2")
def test_the_first_that_detects_in_the_order_python_nodejs_static_procfile_is_taken(here: Place) -> None:
    for name in ("procfile", "aaa", "static", "nodejs", "python"):
        here.buildpack(name, detect=f'echo {name} >>"$TMPDIR/asked"; test -f "$1/{name}"', compile=":", release=DEFAULT)
    assert here.build({"static": b"", "procfile": b""}).result["buildpacks"] == ["static"]
    assert (here.root / "work/tmp/asked").read_text().split() == ["python", "nodejs", "static"]
    assert here.build({"aaa": b""}).result["buildpacks"] == ["aaa"]


@pytest.mark.row("E3")
def test_an_app_that_no_buildpack_knows_is_refused_with_what_was_looked_for(own_ones: Place) -> None:
    built = own_ones.build({"main.rs": b""})
    assert built.code == 1
    assert "-----> Unable to select a buildpack\n" in built.said
    assert " !     nodejs: looked for package.json\n" in built.said
    assert "BUILDPACK_URL" in built.said
    assert not built.slug and not built.out


def test_a_commit_without_files_is_refused(own_ones: Place) -> None:
    built = own_ones.build({})
    assert (built.code, built.said) == (1, " !     nothing to build: the commit has no files\n")


@pytest.mark.parametrize("bad", ["sleep 1000", "yes", "yes >&2", "exit 1", "kill -9 $$"])
def test_a_detect_that_hangs_floods_or_fails_only_leaves_its_buildpack_out(here: Place, bad: str) -> None:
    here.buildpack("python", detect=bad, compile="echo no")
    here.buildpack("procfile", detect="echo Other", compile="echo yes", release=DEFAULT)
    built = here.build({"a": b""}, detect_seconds=0.3 if "sleep" in bad else 15)
    assert built.code == 0, built.said
    assert "-----> Other app detected\n       yes\n" in built.said
    assert len(built.said) < 1000


@pytest.mark.row("E4", "B12")
def test_output_is_indented_and_whole(here: Place) -> None:
    here.buildpack(
        "python",
        detect="echo X",
        compile="""
        echo '-----> a step'; echo plain; echo ' !     an error' >&2; echo '       indented'; echo
        printf '\\033[1G-----> old style\\n'; head -c 20000 /dev/zero | tr '\\0' l; echo; printf 'no end'""",
        release=DEFAULT,
    )
    said = here.build({"a": b""}).said
    start = said.index("-----> a step")
    expected = "-----> a step\n       plain\n !     an error\n       indented\n\n\033[1G-----> old style\n       "
    assert said[start:].startswith(expected + "l" * 20000 + "\n       no end\n")


@pytest.mark.row("E4")
def test_nothing_is_lost_of_two_outputs_at_once(here: Place) -> None:
    loop = "i=0; while [ $i -lt 20000 ]; do echo {0} $i; i=$((i+1)); done"
    here.buildpack(
        "python", detect="echo X", compile=f"({loop.format('out')}) & ({loop.format('err')}) >&2; wait", release=DEFAULT
    )
    lines = here.build({"a": b""}).said.splitlines()
    for kind in ("out", "err"):
        assert [line for line in lines if line.startswith(f"       {kind} ")] == [
            f"       {kind} {i}" for i in range(20000)
        ]


@pytest.mark.row("E4")
@pytest.mark.parametrize(("how", "why"), [("exit 3", "ended with 3"), ("kill -9 $$", "was ended by signal 9")])
def test_the_exit_status_of_compile_is_honoured(here: Place, how: str, why: str) -> None:
    here.buildpack("python", detect="echo X", compile=f"echo trying\n{how}", release=DEFAULT)
    built = here.build({"a": b""})
    assert built.code == 1
    assert f"       trying\n !     Push rejected, failed to compile X app: bin/compile {why}.\n" in built.said
    assert not built.out
    assert [call for call, _ in here.octod.calls] == ["GET cache"]  # nothing stored is overwritten


@pytest.mark.row("E13")
def test_a_compile_that_does_not_end_is_ended_by_its_limit_which_is_named(here: Place) -> None:
    here.buildpack("python", detect="echo X", compile="echo on; setsid sleep 1000 & sleep 1000", release=DEFAULT)
    built = here.build({"a": b""}, compile_seconds=1)
    assert built.code == 1
    assert "it must compile in 1 s" in built.said
    assert "octo limits:set shop seconds=2" in built.said


def test_processes_that_compile_leaves_behind_are_ended_before_the_slug_is_packed(here: Place) -> None:
    daemon = 'setsid sh -c \'(echo $$ >"$0/pid"; trap "" TERM HUP; exec sleep 1000) &\' "$TMPDIR" >/dev/null 2>&1'
    holder = '(sleep 1000; echo late) & echo $! >"$TMPDIR/other"'  # it keeps the output open
    wait = 'while ! [ -s "$TMPDIR/pid" ]; do sleep 0.01; done'
    here.buildpack("python", detect="echo X", compile=f"{daemon}\n{holder}\n{wait}", release=DEFAULT)
    built = here.build({"a": b""})
    assert built.code == 0, built.said
    for name in ("pid", "other"):
        pid = (here.root / "work/tmp" / name).read_text().strip()
        assert pid and not Path("/proc", pid).exists()


@pytest.mark.row("E4", "C9")
def test_config_reaches_compile_by_the_env_dir_alone(here: Place) -> None:
    here.buildpack(
        "python", detect="echo X",
        compile='env -0 >"$1/env"; ls "$3" >"$1/names"; cp "$3/KEY" "$1/key"; stat -c %a "$3"',
        release=DEFAULT,
    )  # fmt: skip
    value = "two\nlines é -rf $(id)"
    config = {"KEY": value, "OTHER": "", "../x": "no", "A B": "no"}
    built = here.build({"a": b""}, config=config, commit="c" * 40, stack="octo-1", env={"REQUEST_ID": "r", "X": "y"})
    assert built.text("app/key") == value
    assert built.text("app/names").split() == ["KEY", "OTHER"]
    assert "       700\n" in built.said
    seen = dict(e.split("=", 1) for e in built.text("app/env").split("\0") if e)
    known = {"PATH", "HOME", "LANG", "STACK", "REQUEST_ID", "SOURCE_VERSION", "TMPDIR", "PWD", "SHLVL", "_", "OLDPWD"}
    assert set(seen) <= known
    assert (seen["STACK"], seen["SOURCE_VERSION"], seen["REQUEST_ID"]) == ("octo-1", "c" * 40, "r")
    assert seen["HOME"] == f"{here.root}/app"


def test_a_buildpack_is_a_private_copy_that_it_may_write(here: Place) -> None:
    folder = here.buildpack("python", detect="echo X", compile='echo x >"$(dirname "$0")/../export"', release=DEFAULT)
    assert here.build({"a": b""}).code == 0
    assert not (folder / "export").exists()


def test_names_that_look_like_options_or_have_newlines_are_only_names(here: Place) -> None:
    here.buildpack("python", detect="echo X", compile='ls -A "$1" | wc -l', release=DEFAULT)
    names = ["--upload-pack=touch x", "-rf", "a\nb", "\033[2J", "--checkpoint-action=exec=touch hit", "é", " "]
    built = here.build({n: n.encode() for n in names})
    assert built.code == 0, built.said
    assert set(built.members()) == {"app", *(f"app/{n}" for n in names)}


def test_set_uid_bits_and_hard_links_do_not_reach_the_slug(here: Place) -> None:
    here.buildpack(
        "python", detect="echo X", release=DEFAULT,
        compile='cd "$1"; cp /bin/true suid; chmod 6755 suid; ln suid linked;'
        "mkdir shut; echo x >shut/in; chmod 0 shut/in shut",
    )  # fmt: skip
    built = here.build({"abs": "/etc/passwd", "up": "../../..", "loop": "loop"})
    assert built.code == 0, built.said
    members = built.members()
    assert not [m.name for m in members.values() if m.mode & 0o6000 or m.islnk()]
    assert members["app/suid"].size == members["app/linked"].size > 0
    assert "app/shut/in" in members
    assert [members[f"app/{n}"].linkname for n in ("abs", "up", "loop")] == ["/etc/passwd", "../../..", "loop"]


def test_folders_deeper_than_a_path_may_be_long_reach_the_slug(here: Place) -> None:
    deep = 'cd "$1"; python3 -c \'import os\nfor i in range(5000): os.mkdir("d"); os.chdir("d")\''
    here.buildpack("python", detect="echo X", compile=deep, release=DEFAULT)
    built = here.build({"a": b""})
    assert built.code == 0, built.said
    assert max(name.count("/d") for name in built.members()) == 5000


def test_a_header_that_is_none_is_octos_own_fault(here: Place) -> None:
    built = here.build({"a": b""}, mode="nonsense")
    assert built.code == 70
    assert "not the app's fault" in built.said


def test_the_runner_works_without_rights(here: Place) -> None:
    here.buildpack("python", detect="echo X", compile='id -u >"$1/id"', release=DEFAULT)
    built = here.build({"a": b""})
    assert built.text("app/id").strip() == str(USER if os.geteuid() == 0 else os.getuid())
    assert json.loads(built.out)["cache"] == {"fetched": 0, "stored": False, "why": "unchanged"}
