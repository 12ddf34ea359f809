"""Which containers start and which stop."""

import pytest

from octo.formation import Present, Start, Stop, changes, wanted


def present(*places: str) -> list[Present]:
    return [Present(p.split(".")[0], int(p.split(".")[1]), p) for p in places]


@pytest.mark.row("I8")
@pytest.mark.parametrize(
    ("running", "want", "decided"),
    [
        ([], {"web": 2}, [Start("web", 1), Start("web", 2)]),
        (["web.1", "web.2", "web.3"], {"web": 1}, [Stop("web.3"), Stop("web.2")]),
        (["web.2"], {"web": 2}, [Start("web", 1)]),
        (["web.1"], {"web": 1}, []),
        (["web.1", "worker.1"], {"web": 1}, [Stop("worker.1")]),
        (["web.1"], {}, [Stop("web.1")]),
        (["web.1"], {"web": 1, "worker": 1}, [Start("worker", 1)]),
    ],
)
def test_the_difference_is_started_and_stopped(running: list[str], want: dict[str, int], decided: list[object]) -> None:
    assert list(changes(present(*running), want)) == decided


@pytest.mark.row("I3")
def test_one_web_and_no_other_is_the_default() -> None:
    assert wanted({"web": None, "worker": "w", "release": "r"}, {}) == {"web": 1, "worker": 0}


def test_an_app_without_web_gets_one_of_each() -> None:
    assert wanted({"clock": "c", "worker": "w"}, {}) == {"clock": 1, "worker": 1}


def test_what_was_scaled_wins_and_types_that_went_are_dropped() -> None:
    assert wanted({"web": None}, {"web": 3, "gone": 2}) == {"web": 3}
