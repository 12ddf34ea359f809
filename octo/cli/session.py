"""Who runs this command, and which app it is about."""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import click

from octo.cli.client import Api
from octo.errors import Usage
from octo.model import AppName, app_name
from octo.settings import Settings

HOW = "Name it with -a APP, as the first word, or run octo in a git folder that has a remote of this octo."


@dataclass(frozen=True)
class Session:
    api: Api
    actor: str = ""  # the caller's name, for messages
    remote: bool = False  # came in by SSH: no terminal is seen, yet one may be at the other end
    remotes: Sequence[tuple[str, str]] = ()  # the git remotes of the caller's folder: name, URL
    settings: Settings | None = None  # only in place, without octod
    problem: Usage | None = None  # why the settings could not be read

    @property
    def guarded(self) -> bool:
        """A terminal may show what is written: what would steer it must not get there."""
        return self.remote or sys.stdout.isatty()

    def app(self, named: str) -> AppName:
        """The app that was named, else the one that the git remotes name. Raises Usage."""
        return app_name(named or from_remotes(self.remotes))


def session() -> Session:
    """The one that `main` was given."""
    found = click.get_current_context().obj
    assert isinstance(found, Session)
    return found


def api() -> Api:
    return session().api


def read_remotes(lines: Iterable[str]) -> Sequence[tuple[str, str]]:
    """From the lines name=url that the thin client sends."""
    pairs = (line.partition("=") for line in lines)
    return tuple((name, url) for name, equals, url in pairs if name and equals)


def from_remotes(remotes: Iterable[tuple[str, str]]) -> str:
    """The app that a git folder belongs to. The remote named octo wins; several others must agree."""
    found = {name: app for name, url in remotes if (app := _app_of(url, strict=name != "octo"))}
    if "octo" in found:
        return found["octo"]
    if len(set(found.values())) > 1:
        shown = ", ".join(f"{app} (remote {name})" for name, app in sorted(found.items()))
        raise Usage(f"cannot tell which app: the git remotes name several: {shown}", hint="Choose one with -a APP.")
    if not found:
        raise Usage("cannot tell which app: none is named", hint=HOW)
    return next(iter(found.values()))


def _app_of(url: str, *, strict: bool) -> str:
    """The app that a remote's URL names, "" for none.

    strict: the path must be the app alone, as octo's URLs are; me/shop.git at a code host is no app.
    """
    _, scheme, rest = url.partition("://")
    _, mark, path = rest.partition("/") if scheme else url.partition(":")
    parts = [part for part in path.split("/") if part] if mark else []
    if not parts or (strict and len(parts) > 1):
        return ""
    try:
        return app_name(parts[-1].removesuffix(".git"))
    except Usage:
        return ""
