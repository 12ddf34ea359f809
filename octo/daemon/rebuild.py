"""octohost's `restart`: the last pushed revision of an app, built and deployed again from its repository."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from octo.errors import DeployFailed, NotFound
from octo.model import App, UserName
from octo.pipeline.attend import Session
from octo.pipeline.receive import Push, Receiver, new_push
from octo.pipeline.refs import HEADS
from octo.ports import Console, Streams

CHUNK = 64 * 1024  # bytes


class Rebuilder:
    def __init__(self, receiver: Receiver, open_session: Callable[[Push], Session]) -> None:
        self._receiver, self._open = receiver, open_session

    def rebuild(self, app: App, *, user: UserName | None, may_read: Callable[[App], bool], console: Console) -> None:
        """Build and deploy what serves now; where nothing does, what lies on the branch that deploys.

        What serves and not the branch, should they differ: a rollback is not undone. Raises DeployFailed.
        """
        catalog = self._receiver.catalog
        home = catalog.by_id(app.parent) if app.parent else app
        if home is None:
            raise NotFound(f'cannot restart "{app.name}": the app whose branch it is has gone')
        push = new_push(home, user)
        push.target, push.may_read = app, may_read
        live = catalog.live(app)
        push.rebuild = live.commit if live else ""
        with _joined(console) as streams:
            code = self._receiver.again(push, self._refs(app), streams, self._open, console)
        if code:
            raise DeployFailed(f'cannot restart "{app.name}": see above', hint="What served before serves on.")

    def _refs(self, app: App) -> tuple[str, ...]:
        return (app.branch,) if app.parent else tuple(HEADS + name for name in self._receiver.branches.rules.main)


@contextmanager
def _joined(console: Console) -> Iterator[Streams]:
    """Streams of a program that reads nothing, and whose lines go to the console as they come."""
    reader, writer = os.pipe()
    nothing = os.open(os.devnull, os.O_RDONLY)

    def copy() -> None:
        with open(reader, "rb", buffering=0) as said:
            while data := said.read(CHUNK):
                console.formatted(data)

    thread = threading.Thread(target=copy, name="rebuild")
    thread.start()
    try:
        yield Streams(nothing, writer, writer)
    finally:
        os.close(nothing)
        os.close(writer)
        thread.join()
