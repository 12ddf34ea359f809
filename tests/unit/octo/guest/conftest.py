"""Places for the buildpack runner."""

from collections.abc import Iterator

import pytest

from tests.unit.octo.guest.runner_parts import CHECKOUT, Place, place


@pytest.fixture
def here() -> Iterator[Place]:
    """A place without any buildpack."""
    with place() as found:
        yield found


@pytest.fixture
def own_ones() -> Iterator[Place]:
    """A place with octo's own buildpacks."""
    with place(CHECKOUT / "buildpacks") as found:
        yield found
