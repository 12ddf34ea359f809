"""What every API handler is given and gives: one request, parsed, with the caller's rights checked."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from octo.assembly import Octo
from octo.daemon.access import Actor, Verb, allowed
from octo.errors import Usage
from octo.model import App
from octo.ports import Console

Json = Any


@dataclass(frozen=True)
class Ask:
    octo: Octo
    actor: Actor
    console: Console  # where a handler that deploys tells its steps
    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    body: Json = None
    found: App | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def app(self) -> App:
        if self.found is None:
            raise AssertionError("BUG: a route without {app} asks for its app")
        return self.found

    def may_read(self, app: App) -> bool:
        """Whether who asks may know of that app."""
        return allowed(self.actor, Verb.READ, app)

    def text(self, name: str) -> str:
        """A field of the body that must be there as text."""
        value = self.body.get(name) if isinstance(self.body, dict) else None
        if not isinstance(value, str):
            raise Usage(f'cannot read the request: "{name}" must be a string')
        return value

    def given(self, name: str, default: Any) -> Any:
        """A field of the body that may be absent; it has the default's type."""
        value = self.body.get(name, default) if isinstance(self.body, dict) else default
        if not isinstance(value, type(default)):
            raise Usage(f'cannot read the request: "{name}" must be a {type(default).__name__}')
        return value


@dataclass(frozen=True)
class Download:
    """What a handler returns to be answered as bytes, for a file."""

    name: str  # of the file: letters, digits and ._-
    size: int  # bytes
    chunks: Iterable[bytes]

    @property
    def headers(self) -> Mapping[str, str]:
        name = f'attachment; filename="{self.name}"'
        return {"Content-Type": "application/gzip", "Content-Length": str(self.size), "Content-Disposition": name}


Handler = Callable[[Ask], Json]


@dataclass(frozen=True)
class Resource:
    """One line of the API's table."""

    method: str
    path: str
    may: Verb
    handle: Handler
    deploys: bool = False  # takes seconds: tells its steps to who accepts application/x-ndjson
    text: bool = False  # the handler returns an iterable of bytes
    status: int = 200


def iso(seconds: float | None) -> str | None:
    """Seconds since the epoch as Heroku writes times."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
