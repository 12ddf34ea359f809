"""/octo/forwarding: which logs go to a syslog elsewhere. The operator's alone."""

from dataclasses import asdict, replace
from pathlib import Path

from octo.daemon.access import Verb
from octo.daemon.api import Ask, Json, Resource
from octo.daemon.forwarding import Forwarder, with_file
from octo.errors import Usage
from octo.model import shown

NOTHING = "cannot ship that: say octologs, logspout or file"


def shape(forwarder: Forwarder) -> Json:
    return asdict(forwarder.wanted())


def show(ask: Ask) -> Json:
    return shape(ask.extra["forwarder"])


def change(ask: Ask) -> Json:
    """`what`: octologs, logspout or file; `on`; of a file its `file` and the `name` that its lines go by."""
    forwarder: Forwarder = ask.extra["forwarder"]
    what, on = ask.text("what"), ask.given("on", True)
    if what == "octologs":
        if on:
            forwarder.remote_syslog()
        forwarder.change(replace(forwarder.wanted(), octologs=on))
    elif what == "logspout":
        if on:
            forwarder.logspout()
        forwarder.change(replace(forwarder.wanted(), logspout=on))
    elif what == "file":
        if on:
            forwarder.remote_syslog()
        path = _path(ask.text("file"), on=on)
        forwarder.change(with_file(forwarder.wanted(), path, ask.text("name") if on else None))
    else:
        raise Usage(NOTHING)
    return shape(forwarder)


def _path(text: str, *, on: bool) -> str:
    path = Path(text)
    if not path.is_absolute() or "\0" in text or (on and not path.is_file()):
        raise Usage(f"cannot ship {shown(text)}: it is no file of this machine", hint="Give its whole path.")
    return str(path)


RESOURCES = (
    Resource("GET", "/octo/forwarding", Verb.MANAGE, show),
    Resource("POST", "/octo/forwarding", Verb.MANAGE, change),
)
