"""Limits of one app: their units, their bounds, and what a build gets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octo.errors import Usage
from octo.limits import KINDS, limit_name, limit_text, limit_value, limits_for, slug_limit
from octo.model import App, AppName
from octo.specs import GB, MB, Limits

HOST = Limits(1 * GB, 1.0, 512, 900)


def app(**limits: float) -> App:
    return App("0" * 12, AppName("shop"), 0.0, limits=limits)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("memory", "2G", 2 * GB),
        ("memory", "2g", 2 * GB),
        ("memory", "2 GB", 2 * GB),
        ("memory", "2GiB", 2 * GB),
        ("memory", "1.5G", 1536 * MB),
        ("disk", "512M", 512 * MB),
        ("output", "100K", 100 * 1024),
        ("cpus", "0.5", 0.5),
        ("cpus", "2", 2),
        ("seconds", "1800", 1800),
        ("seconds", "90s", 90),
        ("seconds", "30m", 1800),
        ("seconds", "1.5h", 5400),
        ("pids", "1024", 1024),
        ("slug", "500M", 500 * MB),
    ],
)
def test_a_limit_is_read_with_its_unit(name: str, text: str, value: float) -> None:
    assert limit_value(name, text) == value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("memory", "2"),  # of what?
        ("memory", "2048"),
        ("memory", "-2G"),
        ("memory", "2GG"),
        ("memory", "1e3M"),
        ("memory", ""),
        ("memory", "٢G"),
        ("memory", "1M"),  # no build would start
        ("memory", "99999T"),
        ("memory", "2G\n;x"),
        ("cpus", "0"),
        ("cpus", "nan"),
        ("cpus", "inf"),
        ("cpus", "-1"),
        ("pids", "1"),
        ("pids", "2.5"),
        ("seconds", "0"),
        ("seconds", "1d"),
        ("seconds", "99999999"),
    ],
)
def test_a_limit_without_sense_is_refused_with_its_form(name: str, text: str) -> None:
    with pytest.raises(Usage) as raised:
        limit_value(name, text)
    assert KINDS[name].example in raised.value.hint or "Give something from" in raised.value.hint


def test_an_unknown_limit_is_told_with_those_there_are() -> None:
    with pytest.raises(Usage) as raised:
        limit_name("swap")
    assert "memory, cpus, pids, seconds, disk" in raised.value.hint


SIZES = st.builds(lambda n, unit: f"{n}{unit}", st.integers(32, 9999), st.sampled_from("MG"))


@given(SIZES)
def test_a_size_is_written_as_it_is_read(text: str) -> None:
    value = limit_value("disk", text)
    assert limit_value("disk", limit_text("disk", value)) == value


@pytest.mark.parametrize("name", KINDS)
def test_every_limit_reads_its_bounds_and_its_example(name: str) -> None:
    kind = KINDS[name]
    for text in (kind.write(kind.least), kind.write(kind.most), kind.example.partition("=")[2]):
        assert kind.least <= limit_value(name, text) <= kind.most


@pytest.mark.row("C4")
def test_an_app_of_its_own_limits_has_those_and_else_the_hosts() -> None:
    found = limits_for(HOST, app(memory=2 * GB, seconds=90.5, slug=500 * MB))
    assert found == Limits(2 * GB, 1.0, 512, 90.5)
    assert limits_for(HOST, app()) == HOST
    assert isinstance(found.memory, int)


def test_a_slug_has_a_limit_of_its_own() -> None:
    assert (slug_limit(200 * MB, app()), slug_limit(200 * MB, app(slug=500 * MB))) == (200 * MB, 500 * MB)


def test_a_limit_of_another_version_of_octo_does_no_harm() -> None:
    assert limits_for(HOST, app(gpus=2)) == HOST
