"""Foreign repositories become apps: pushed into octo by the operator, from a sandbox of their own.

octod runs no git on them and unpacks nothing: `guest/sender.py` does, and at the other end of a socket the usual
receiver takes the push. The code is kept also where it cannot be deployed.
"""

import os
import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from octo.assembly import Octo
from octo.daemon.bare import opened, write_tar
from octo.daemon.director import Director
from octo.errors import NoSuchApp, OctoError
from octo.figures import push_limits
from octo.model import App, AppName
from octo.pipeline.branches import refuse_direct
from octo.pipeline.receive import new_push
from octo.ports import Console, SandboxSpec, Streams

SENDER = "/octo/sender.py"  # octo/guest, mounted into the sandbox


class Importer:
    def __init__(self, octo: Octo, director: Director) -> None:
        self._octo, self._director = octo, director

    def folder(self, path: Path, name: AppName, console: Console) -> App:
        """Bring all branches and tags of a bare repository on this host into the app, which is made if need be.

        Returns the app as it is then. Raises OctoError when git would not take them.
        """
        with opened(path) as top:
            return self.stream(name, lambda writer: write_tar(top, writer), console)

    def stream(self, name: AppName, source: Callable[[int], None], console: Console) -> App:
        """As `folder`, of a tar of a bare repository, which `source` writes to a descriptor that it closes."""
        with self._app(name, console) as app:
            reader, writer = os.pipe()
            feeder = threading.Thread(target=source, args=[writer], name="import")
            feeder.start()
            try:
                code = self._push(app, reader, console)
            finally:
                os.close(reader)
                feeder.join()
            if code:
                raise OctoError(f'cannot import "{name}": see above', hint="What was taken before stays; try again.")
        return self._told(app, console)

    @contextmanager
    def _app(self, name: AppName, console: Console) -> Iterator[App]:
        """The app, made for the body when there is none, and taken back when nothing of it came so far as a build."""
        try:
            app, made = self._octo.catalog.app(name), False
        except NoSuchApp:
            app, made = self._octo.create(name, None), True
            console.step(f"Made the app {name}")
        refuse_direct(self._octo.catalog, app, reading=False)
        try:
            yield app
        except OctoError:
            if made and not self._octo.catalog.builds(app):
                self._octo.changes.destroy(app, user=None, keep_config=True, keep_branches=True)  # as before
            raise

    def _push(self, app: App, tar: int, console: Console) -> int:
        """Join the sender to a receiver; the sender's exit code."""
        push = new_push(app, None)
        push.keeps, push.may_read = True, lambda other: True
        ours, theirs = socket.socketpair()
        with _told_to(console) as said, ours, self._sender(app, Streams(tar, theirs.fileno(), said), theirs) as codes:
            streams = Streams(ours.fileno(), ours.fileno(), said)
            self._octo.receiver.push(push, streams, console, self._director.open)
            ours.close()
        return codes[0]

    @contextmanager
    def _sender(self, app: App, streams: Streams, theirs: socket.socket) -> Iterator[list[int]]:
        """Run it beside the body; its exit code is there afterwards."""
        octo, id = self._octo, secrets.token_hex(6)
        codes: list[int] = []
        failed: list[BaseException] = []

        def run() -> None:
            try:
                with self._director.folder(id) as folder, theirs:
                    limits = push_limits(octo.settings)
                    argv = (SENDER, app.name)
                    spec = SandboxSpec(id, app.id, argv, {}, folder, limits, mounted=False, reads=True)
                    codes.append(octo.ports.sandbox.run(spec, streams).code)
            except BaseException as error:  # the thread that waits raises it
                failed.append(error)

        thread = threading.Thread(target=run, name="sender")
        thread.start()
        with ExitStack() as held:
            held.callback(thread.join)
            stop = held.enter_context(ExitStack())
            stop.callback(octo.ports.sandbox.stop, id)
            yield codes
            stop.pop_all()  # all went well: it ends by itself
        if failed:
            raise failed[0]

    def _told(self, app: App, console: Console) -> App:
        now = self._octo.catalog.by_id(app.id) or app
        if now.live:
            console.result(f"{now.name}: v{now.live} is live at {self._octo.url(now)}")
        else:
            console.result(f"{now.name}: its code is here, and nothing of it is deployed")
            console.detail(f"Deploy it once it can be: octo restart {now.name}")
        return now


@contextmanager
def _told_to(console: Console) -> Iterator[int]:
    """A descriptor whose lines go to the console, without git's mark of what the other side says."""
    reader, writer = os.pipe()

    def copy() -> None:
        with open(reader, "rb") as said:
            for line in said:
                console.formatted(line.removeprefix(b"remote: ").rstrip() + b"\n")

    thread = threading.Thread(target=copy, name="import's words")
    thread.start()
    try:
        yield writer
    finally:
        os.close(writer)
        thread.join()
