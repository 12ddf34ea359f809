"""What the pusher's terminal gets."""

import pytest

from octo.adapters.console_stream import StreamConsole, clean


def written(act: str, *given: object) -> bytes:
    out = bytearray()
    console = StreamConsole(out.extend)
    getattr(console, act)(*given)
    return bytes(out)


@pytest.mark.row("B12")
@pytest.mark.parametrize(
    ("act", "line"),
    [("step", b"-----> x\n"), ("detail", b"       x\n"), ("error", b" !     x\n"), ("result", b"=====> x\n")],
)
def test_each_kind_of_line_has_its_lead(act: str, line: bytes) -> None:
    assert written(act, "x") == line


@pytest.mark.parametrize(
    ("hostile", "safe"),
    [
        (b"\x1b[2J\x1b[Hgone", b"gone"),
        (b"\x1b]0;title\x07text", b"text"),
        (b"\x1b]52;c;cm0gLXJm\x1b\\text", b"text"),
        (b"\x1bP1$q\x1b\\x", b"x"),
        (b"\x1bcreset", b"reset"),
        (b"a\x9b2Jb", "a\ufffd2Jb".encode()),
        ("a\x9b2Jb".encode(), b"a2Jb"),
        (b"bell\x07 back\x08 nul\x00 vt\x0b del\x7f", b"bell back nul vt del"),
        (b"\x1b[31mred\x1b[0m", b"\x1b[31mred\x1b[0m"),
        (b"\x1b[31;1Hmoved", b"moved"),
        (b"tab\tkept", b"tab\tkept"),
        ("ünïcode ✓".encode(), "ünïcode ✓".encode()),
        (b"half \x1b", b"half "),
        (b"half \x1b[3", b"half 3"),
    ],
)
def test_only_text_and_colours_reach_the_terminal(hostile: bytes, safe: bytes) -> None:
    assert clean(hostile) == safe


def test_output_is_indented_line_by_line_however_it_is_cut() -> None:
    out = bytearray()
    console = StreamConsole(out.extend)
    for part in (b"one\ntw", b"o\n", b"three"):
        console.raw(part)
    console.step("next")
    assert out == b"       one\n       two\n       three\n-----> next\n"


def test_a_line_without_end_does_not_pile_up() -> None:
    out = bytearray()
    console = StreamConsole(out.extend)
    for _ in range(100):
        console.raw(b"x" * 1000)
    assert len(out) > 90_000


def test_a_reader_that_has_gone_does_not_stop_the_work() -> None:
    def gone(data: bytes) -> None:
        raise BrokenPipeError

    console = StreamConsole(gone)
    console.step("one")
    console.step("two")
