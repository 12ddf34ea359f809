"""Nothing that comes from outside steers the terminal that shows it."""

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octo.cli import text
from octo.errors import OctoError

HOSTILE = [
    "\x1b[2J", "\x1b[1;1H", "\x1b[6n", "\x1b[?1049h", "\x1b]0;title\x07", "\x1b]52;c;ZXZpbA==\x1b\\", "\x1bPq\x1b\\",
    "\x1b_x\x1b\\", "\x1b^x\x07", "\x1bX\x1b\\", "\x1bc", "\x1b7", "\x1b(0", "\x1b#8", "\x9b2J", "\x9d0;x\x9c", "\x08",
    "\x7f", "\r", "\x00", "\x0e", "\x1b", "\x1b[", "\x1b[31", "\u202e", "\u2028",
]  # fmt: skip


@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_hostile_sequence_is_dropped(hostile: str) -> None:
    assert text.clean(f"a{hostile}").rstrip("J") in ("a", "a2", "a31", "a0;x")
    assert not set(text.clean(hostile)) & set("\x1b\x9b\x9d\x08\x7f\r\x00\x0e\u202e\u2028")


@given(st.text(alphabet="a[]0;mJ\\\x1b\x07\x9b\r\n\t(?"))
def test_only_colours_keep_their_escape(anything: str) -> None:
    left = re.sub(r"\x1b\[[0-9;]*m", "", text.clean(anything))
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", left)


def test_colours_tabs_and_line_ends_are_kept() -> None:
    assert text.clean("\x1b[31mred\x1b[0m\tx\r\ny\n") == "\x1b[31mred\x1b[0m\tx\ny\n"


def test_a_cell_of_a_table_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    text.table(("A", "LONG"), [("x\ny", "1"), ("\x1b[31mz", None)], empty="none")
    assert capsys.readouterr().out == "A     LONG\nx\\ny  1\nz\n"


def test_an_empty_list_says_so_beside_the_result(capsys: pytest.CaptureFixture[str]) -> None:
    text.table(("A",), [], empty="There are none.")
    assert capsys.readouterr() == ("", "There are none.\n")


def test_steps_look_like_those_of_a_push(capsys: pytest.CaptureFixture[str]) -> None:
    out = io.StringIO()
    steps = text.Steps(out)
    for kind, said in [("step", "Build"), ("detail", "a\nb"), ("raw", "c\n"), ("error", "no"), ("result", "done")]:
        steps.tell(kind, said)
    assert out.getvalue() == "-----> Build\n       a\n       b\n       c\n=====> done\n"
    assert capsys.readouterr().err == " !     no\n"


def test_an_error_has_its_hint_below(capsys: pytest.CaptureFixture[str]) -> None:
    text.complain(OctoError("cannot x: y\x1b[2J", hint="Do z."), as_json=False)
    assert capsys.readouterr().err == " !     cannot x: y\n       Do z.\n"


def test_json_cannot_steer_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    text.show_json({"a": "\x1b\x7f\x9b\u202e"})
    assert capsys.readouterr().out.isascii()
    text.show_json("\x7f")
    assert "\x7f" not in capsys.readouterr().out
