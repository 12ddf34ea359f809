"""Shared by all tests."""

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "row(id): the behaviour of the seed systems, in docs/compatibility.md, that this shows"
    )
