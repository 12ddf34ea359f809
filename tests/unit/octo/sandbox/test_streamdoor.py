"""How a sandbox ended, decided from what was counted."""

import pytest

from octo.ports import Ended, Strike
from octo.sandbox.cgroups import Events
from octo.sandbox.streamdoor import verdict

NOTHING = Events(0, 0, False)


@pytest.mark.parametrize(
    ("code", "events", "full", "ended"),
    [
        (0, NOTHING, None, Ended(0)),
        (0, Events(1, 1, True), Strike.DISK, Ended(0)),  # it met limits and made do
        (3, NOTHING, None, Ended(3)),
        (137, Events(1, 0, True), None, Ended(137, Strike.MEMORY)),
        (2, Events(1, 7, True), Strike.DISK, Ended(2, Strike.MEMORY)),
        (1, Events(0, 7, True), Strike.FILES, Ended(1, Strike.PIDS)),
        (1, Events(0, 0, True), Strike.DISK, Ended(1, Strike.DISK)),
        (1, NOTHING, Strike.FILES, Ended(1, Strike.FILES)),
        (1, Events(0, 0, True), None, Ended(1)),  # page cache fills memory too
        (None, Events(0, 0, True), None, Ended(137, Strike.MEMORY)),  # it took the first process with it
        (None, NOTHING, None, Ended(137)),
    ],
)
def test_the_limit_that_struck_is_named(code: int | None, events: Events, full: Strike | None, ended: Ended) -> None:
    assert verdict(code, events, full=full) == ended
