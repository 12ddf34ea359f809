"""Procfile text to process types."""

import pytest

from octo import procfile
from octo.errors import BuildFailed


@pytest.mark.row("E7")
def test_types_and_commands_are_read() -> None:
    text = "\ufeffweb: python3 app.py --port $PORT\r\n\n# later\nworker:   sh -c 'a: b'\nrelease: ./migrate\n"
    assert procfile.parse(text) == {
        "web": "python3 app.py --port $PORT",
        "worker": "sh -c 'a: b'",
        "release": "./migrate",
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("web:\n", "line 1"),
        ("web: a\n<<<<<<< HEAD\n", "line 2"),
        ("../x: a", "line 1"),
        ("WEB: a", "line 1"),
        ("a b: c", "line 1"),
        ("web: a\nweb: b", 'declares "web" a second time'),
        ("x" * 70_000, "64 KB"),
        ("web: a\0", "text file"),
    ],
    ids=lambda t: repr(t[:20]),
)
def test_a_malformed_one_is_refused_with_its_line(text: str, said: str) -> None:
    with pytest.raises(BuildFailed, match=said.replace("(", r"\(")):
        procfile.parse(text)


def test_too_many_process_types_are_refused() -> None:
    with pytest.raises(BuildFailed, match="31 process types"):
        procfile.parse("".join(f"w{n}: x\n" for n in range(31)))
