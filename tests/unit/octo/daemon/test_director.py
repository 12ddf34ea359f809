"""What a receiver says is text from outside."""

from typing import Any

import pytest

from octo.daemon.callbacks import _parsed
from octo.errors import Usage
from octo.pipeline.refs import RefUpdate
from octo.pipeline.source import Source

Updates = tuple[RefUpdate, ...]


def test_what_the_hook_sends_is_understood() -> None:
    assert _parsed(Updates, b'[{"old": "1", "new": "2", "ref": "r"}]') == (RefUpdate("1", "2", "r"),)
    assert _parsed(Source, b'{"commit": "c", "dockerfile": null, "procfile": "web: x"}') == Source("c", None, "web: x")


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (Updates, b"[1]"),
        (Updates, b"[{}]"),
        (Updates, b"x"),
        (Updates, b"\xff"),
        (Updates, b"[" * 100000),
        (Source, b"[]"),
        (Source, b'{"commit": 1}'),
        (Source, b""),
        (dict[str, object], b"[]"),
        (dict[str, object], b"null"),
    ],
)
def test_anything_else_is_refused_in_one_line(kind: Any, data: bytes) -> None:
    with pytest.raises(Usage, match="cannot read what the receiver sent"):
        _parsed(kind, data)
