"""Procfile and bin/release: what is read, what is refused with its line, what wins."""

import string
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from octo import procfile
from octo.errors import BuildFailed
from octo.guest.buildpack import declared
from octo.guest.buildpack.job import Refused
from tests.unit.octo.guest.runner_parts import Place

DEFAULT = "printf -- '---\\ndefault_process_types:\\n  web: ./default\\n  clock: ./tick\\n'"


def ready(here: Place, release: str = DEFAULT) -> Place:
    here.buildpack("python", detect="echo X", compile=":", release=release)
    return here


@pytest.mark.row("E7")
def test_a_procfile_is_used_instead_of_the_defaults(here: Place) -> None:
    built = ready(here).build({"Procfile": b"\xef\xbb\xbfweb: ./mine --port $PORT\r\n\n# x\r\nworker: a: b\r\n"})
    assert built.result["processes"] == {"web": "./mine --port $PORT", "worker": "a: b"}
    assert "-----> Discovering process types\n       Procfile declares types -> web, worker\n" in built.said


@pytest.mark.row("E6", "E7")
def test_without_a_procfile_the_defaults_of_the_buildpack_count(here: Place) -> None:
    built = ready(here).build({"a": b""})
    assert built.result["processes"] == {"web": "./default", "clock": "./tick"}
    assert "-----> Discovering process types\n       Default types for X -> web, clock\n" in built.said


def test_a_procfile_that_compile_writes_counts(here: Place) -> None:
    here.buildpack("python", detect="echo X", compile='echo "web: made" >"$1/Procfile"', release=DEFAULT)
    assert here.build({"a": b""}).result["processes"] == {"web": "made"}


@pytest.mark.row("E7")
@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("/etc/passwd", "it is not a regular file"),
        (b"\x7fELF\xff\x00", "it is not a text file of at most 64 KB"),
        (b"web: x\0\n", "it is not a text file"),
        (b"# " + b"x" * (1 << 20), "it is not a text file of at most 64 KB"),
        (b"web: a\nweb:\n", "line 2 is not `type: command`"),
        (b"\n../x: a\n", "line 2 is not"),
        (b"WEB: a\n", "line 1 is not"),
        (b"a b: c\n", "line 1 is not"),
        (b"web: a\nweb: b\n", 'line 2 declares "web" a second time'),
        (b"# nothing\n", "the Procfile declares no process type"),
    ],
)
def test_a_malformed_procfile_is_refused_with_its_line(here: Place, content: bytes | str, why: str) -> None:
    built = ready(here).build({"a": b"", "Procfile": content})
    assert built.code == 1
    assert why in built.said
    assert not built.slug


def test_a_procfile_that_is_a_folder_is_refused_before_anything_is_compiled(here: Place) -> None:
    here.buildpack("python", detect="echo X", compile="echo compiling", release=DEFAULT)
    built = here.build({"Procfile/x": b""})
    assert (built.code, built.said) == (1, " !     cannot read Procfile: it is not a regular file\n")


def test_an_app_with_nothing_to_run_is_asked_for_a_procfile(here: Place) -> None:
    built = ready(here, "echo '--- {}'").build({"a": b""})
    assert built.code == 1
    assert "there is no Procfile, and X has no default for this app" in built.said
    assert ready(here, "echo '--- {}'").build({"a": b""}, procfile_required=False).result["processes"] == {}


def test_a_buildpack_needs_no_bin_release(here: Place) -> None:
    here.buildpack("python", detect="echo X", compile=":")
    assert here.build({"Procfile": b"web: x\n"}).code == 0


@pytest.mark.row("E6")
@pytest.mark.parametrize(
    ("release", "why"),
    [
        ("echo '&a web: [x]'", "line 1"),
        ("yes", "it printed more than 64 KB"),
        ("echo broken; exit 3", "it ended with 3"),
        ("printf '\\377'", "cannot read what bin/release of X printed"),
        ("printf 'default_process_types:\\n  web: !!python/object/apply:os.system [id]\\n'", "line 2: tags"),
        ("printf 'default_process_types:\\n  Web Site: x\\n'", "is no process type"),
    ],
)
def test_a_release_that_cannot_be_read_is_refused(here: Place, release: str, why: str) -> None:
    built = ready(here, release).build({"a": b""})
    assert built.code == 1 and why in built.said
    assert not built.slug


@pytest.mark.row("E6")
def test_release_is_read_in_the_forms_that_buildpacks_print() -> None:
    text = """---
# of old
addons:
  - heroku-postgresql:hobby-dev   # the small one
  - 'redis'
config_vars:
  LANG: en_US.UTF-8
  "QUOTED": "a \\"b\\"\\n: #c"
  SINGLE: 'it''s'
  EMPTY:
  PATH: bin:/usr/bin
default_process_types:
    web:  bundle exec "rails s" -p $PORT # not this
    console: bin/rails console
"""
    found = declared.release(text)
    assert found.addons == ["heroku-postgresql:hobby-dev", "redis"]
    assert found.config == {
        "LANG": "en_US.UTF-8", "QUOTED": 'a "b"\n: #c', "SINGLE": "it's", "EMPTY": "", "PATH": "bin:/usr/bin",
    }  # fmt: skip
    assert found.processes == {"web": 'bundle exec "rails s" -p $PORT', "console": "bin/rails console"}


@pytest.mark.parametrize(
    "text", ["", "---\n", "--- {}", "{}", "---\n{}\n...\n", "addons: []\nconfig_vars: {}\n", "other:\n  x: y"]
)
def test_release_may_say_nothing(text: str) -> None:
    assert declared.release(text) == ({}, {}, [])


def test_release_may_be_json() -> None:
    assert declared.release('{"default_process_types": {"web": "x"}}').processes == {"web": "x"}


BOMB = "a: &a\n  - lol\nb: &b\n  - *a\n  - *a\n"
BAD = [
    BOMB, "config_vars: *a", "config_vars:\n  A: &x y", "config_vars:\n  A: *x", "config_vars:\n  A: !!str x",
    "config_vars:\n  <<: *base", "config_vars:\n  A: |\n    text", "config_vars:\n  A: >-\n    text",
    "config_vars:\n  A: {b: c}",
    "config_vars:\n  A: [b]", "config_vars:\n  A: 'open", 'config_vars:\n  A: "a" b', "config_vars:\n  A: b\n    C: d",
    "config_vars:\n  - a\n  b: c", "  A: b", "config_vars: text", "just text",
    "%TAG ! x", "config_vars:\n\tA: b\n  B: c",
    "? a\n: b", "config_vars:\n  A: `x", "default_process_types:\n  ../x: y", "default_process_types:\n  web:",
    "[" * 60_000, "{" * 60_000, '{"config_vars": {"A": {"b": {}}}}', "config_vars:\n  " + "a" * 20_000,
]  # fmt: skip


@pytest.mark.parametrize("text", BAD, ids=lambda t: repr(t[:30]))
def test_yaml_beyond_the_plain_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"line \d+|is no process type|more in it"):
        declared.release(text)


@settings(max_examples=300)
@given(st.text(alphabet=string.ascii_letters + ":-#&*!|>{}[]'\"\\\n\t @%,?~", max_size=200))
def test_any_text_is_either_read_or_refused(text: str) -> None:
    try:
        found = declared.release(text)
    except ValueError:
        return
    assert all(isinstance(v, str) for v in [*found.processes.values(), *found.config.values(), *found.addons])


@settings(max_examples=300)
@given(
    st.lists(
        st.sampled_from(
            ["web: a", "web:", "worker: b c", "# x", "", "W: x", "a-b:c", "\ufeffx: y", " z: q", "\x0b", "r\r"]
        )
    )
)
def test_a_procfile_is_read_as_octod_reads_it(lines: list[str]) -> None:
    text = "\n".join(lines)
    try:
        expected: dict[str, str] | str = procfile.parse(text)
    except BuildFailed as error:
        expected = error.message
    try:
        found: dict[str, str] | str = declared.procfile(text)
    except Refused as refusal:
        found = refusal.lines[0]
    assert found == expected


def test_a_text_file_is_never_read_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/passwd")
    with pytest.raises(Refused, match="not a regular file"):
        declared.text_of(str(tmp_path / "link"), "x")
    assert declared.text_of(str(tmp_path / "none"), "x") is None
