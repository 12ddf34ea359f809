"""Typer 0.21 uses what click 8.5 calls deprecated; their versions are locked, so that is no failure of ours."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import octo.cli
    from octo.cli.client import Api
    from octo.cli.session import Session


class Stage(Protocol):
    """The real API, and who is served by it."""

    path: Path
    token: str  # of a user


@pytest.fixture
def run(stage: Stage, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs a command on a module's own `stage`, as the operator or as a user; gives exit code and outputs."""

    def run(*words: str, user: bool = False) -> tuple[int, str, str]:
        code = octo.cli.main(words, Session(Api(stage.path, stage.token if user else "")))
        said = capsys.readouterr()
        return code, said.out, said.err

    return run
