"""Steps, their seconds, and the beat of a silent one."""

import threading

import pytest

from octo.pipeline import progress
from octo.pipeline.progress import Progress
from tests.fakes import FakeClock, FakeConsole


def test_a_step_says_what_it_is_and_how_long_it_took() -> None:
    console, clock = FakeConsole(), FakeClock()
    told = Progress(console, clock)
    with told.step("start", "Starting web.1", "started"):
        clock.sleep(1.25)
    assert console.lines == ["-----> Starting web.1", "       started in 1.2 s"]
    assert told.took == {"start": 1.25}


def test_a_silent_step_beats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "BEAT", 0.001)
    beaten = threading.Event()

    class Listening(FakeConsole):
        def detail(self, text: str) -> None:
            if text.startswith("... Building: "):
                beaten.set()

    with Progress(Listening(), FakeClock()).step("build", "Building"):
        assert beaten.wait(60)


def test_a_step_that_fails_stops_beating_and_has_no_time() -> None:
    told = Progress(FakeConsole(), FakeClock())
    with pytest.raises(ZeroDivisionError), told.step("build", "Building"):
        raise ZeroDivisionError
    assert told.took == {} and not [
        t for t in threading.enumerate() if t.name == "beat" and t.is_alive() and t.join(60)
    ]
