"""The Clock's promises, kept by the fake and by the machine's."""

import pytest

from octo.adapters.clock_system import SystemClock
from octo.ports import Clock
from tests.fakes import FakeClock


@pytest.fixture(params=["fake", "system"])
def clock(request: pytest.FixtureRequest) -> Clock:
    return FakeClock() if request.param == "fake" else SystemClock()


def test_time_goes_on_while_somebody_sleeps(clock: Clock) -> None:
    before, wall = clock.monotonic(), clock.now()
    clock.sleep(0.001)
    assert clock.monotonic() >= before + 0.001 and clock.now() >= wall
