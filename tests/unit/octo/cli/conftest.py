"""Typer 0.21 uses what click 8.5 calls deprecated; their versions are locked, so that is no failure of ours."""

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import octo.cli  # noqa: F401
