"""Values survive the way to JSON and back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from octo import codec
from octo.model import Release, ReleaseStatus


class Colour(Enum):
    RED = "red"


@dataclass(frozen=True)
class Inner:
    name: str
    colour: Colour = Colour.RED


@dataclass(frozen=True)
class Outer:
    inner: Inner
    many: tuple[Inner, ...] = ()
    maybe: Inner | None = None
    numbers: Mapping[str, float] = field(default_factory=dict)
    texts: Mapping[str, str | None] = field(default_factory=dict)


def test_nested_values_come_back_equal() -> None:
    value = Outer(Inner("a"), (Inner("b"), Inner("ü\n\0")), Inner("c"), {"x": 1.5}, {"web": None, "w": "run"})
    assert codec.loads(Outer, codec.dumps(value)) == value


def test_a_release_comes_back_equal() -> None:
    release = Release(
        "a", 1, "i", 1.5, config={"K": "v"}, processes={"web": None}, status=ReleaseStatus.LIVE, took={"build": 0.1}
    )
    assert codec.loads(Release, codec.dumps(release)) == release


def test_unknown_fields_are_dropped_and_absent_ones_take_their_defaults() -> None:
    assert codec.loads(Inner, b'{"name": "a", "later": 1}') == Inner("a")


def test_equal_values_have_equal_bytes() -> None:
    assert codec.dumps({"b": 1, "a": 2}) == codec.dumps({"a": 2, "b": 1}) == b'{"a":2,"b":1}'
