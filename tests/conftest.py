"""Shared by all tests."""

from collections.abc import Iterator

import pytest

from tests.consul_agent import ConsulAgent, running


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "row(id): the behaviour of the seed systems, in docs/compatibility.md, that this shows"
    )


@pytest.fixture(scope="session")
def consul() -> Iterator[ConsulAgent]:
    """One agent for all tests of a worker; each keeps to keys and services of its own."""
    with running() as agent:
        yield agent
