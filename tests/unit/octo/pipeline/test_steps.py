"""How containers are stopped, and what is said of it."""

import pytest

from octo.model import Slot
from octo.pipeline.effects import at_once, stopping
from tests.fakes import FakeConsole
from tests.unit.octo.pipeline.parts import ports


@pytest.mark.row("C12")
def test_a_process_that_had_to_be_killed_is_told_as_r12() -> None:
    given, console = ports(), FakeConsole()
    given.runtime.stubborn.add("octo-shop-v1-web.1")
    slots = [Slot("a0", 1, "web", n, f"octo-shop-v1-web.{n}", "10.0.0.9") for n in (1, 2)]
    at_once(stopping(given.ports, slots, 10, console))
    assert console.lines == [
        " !     web.1: Error R12 (Exit timeout) -> At least one process failed to exit within 10 seconds of SIGTERM"
    ]
    at_once(stopping(given.ports, slots, 0, console))
    assert len(console.lines) == 1
