"""Submodules: those of the internet are fetched in the build's sandbox, those that are apps here come from them."""

import os
import secrets
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from octo.catalog import Catalog
from octo.errors import BuildFailed, NoSuchApp
from octo.model import App, shown
from octo.pipeline.attend import CHUNK, Job, Session
from octo.pipeline.compile import streamed
from octo.pipeline.source import DEPTH, Submodule, neighbour
from octo.ports import Console, Limits, Sandbox, SandboxSpec, Streams

if TYPE_CHECKING:
    from octo.pipeline.build import Order

RECEIVER = "/octo/receiver.py"  # octo/guest, mounted into the sandbox


class Submodules:
    """limits: of the sandbox that reads another app's repository."""

    def __init__(self, sandbox: Sandbox, catalog: Catalog, limits: Limits) -> None:
        self._sandbox, self._catalog, self._limits = sandbox, catalog, limits

    def listed(self, order: "Order") -> Sequence[Sequence[str | None]]:
        """Path, commit and URL of each; no URL: its files come behind the sources."""
        found = order.source.submodules
        if len(found) > DEPTH:
            raise BuildFailed(f"cannot build: the commit has {len(found)} submodules, more than {DEPTH}")
        return [(s.path, s.commit, s.url if neighbour(order.app.name, s.url) is None else None) for s in found]

    def beside(self, order: "Order", context: Iterable[bytes]) -> Iterator[bytes]:
        """The tar of the sources, and one tar behind it for each submodule that is an app here."""
        yield from context
        for each in order.source.submodules:
            name = neighbour(order.app.name, each.url)
            if name is None:
                continue
            try:
                app = self._catalog.app(name)
            except NoSuchApp:
                app = None
            if app is None or not order.may_read(app):  # one answer for both: a stranger learns nothing
                raise BuildFailed(f"cannot fetch the submodule {shown(each.url)}: there is no such app for you here")
            yield from self._archive(order, app, each)

    @contextmanager
    def whole(
        self, order: "Order", context: Iterable[bytes], job: Job | None, console: Console
    ) -> Iterator[Iterable[bytes]]:
        """The sources with their submodules as one tar, put together in a sandbox; as they are when there are none."""
        if job is None:
            yield context
            return
        session = order.session(job.id)
        try:
            with streamed(self._sandbox, job, self.beside(order, context), session, console, order.cancelled) as chunks:
                yield chunks
        finally:
            session.close()

    @contextmanager
    def _given(self, order: "Order", id: str, app: App) -> Iterator[Session]:
        session = order.reading(id, app)
        try:
            yield session
        finally:
            session.close()

    def _archive(self, order: "Order", app: App, submodule: Submodule) -> Iterator[bytes]:
        """The files of one commit of another app, below the submodule's path, as a tar."""
        id = secrets.token_hex(6)
        argv = (RECEIVER, "octo-archive", "", submodule.commit, submodule.path)
        with self._given(order, id, app) as session, _ends() as (reader, writer, nothing):
            mounted = "REPO_GET_URL" not in session.env
            folder = session.socket_dir
            spec = SandboxSpec(id, app.id, argv, session.env, folder, self._limits, mounted=mounted, reads=True)
            codes: list[int] = []
            errors: list[BaseException] = []

            def run() -> None:
                try:
                    codes.append(self._sandbox.run(spec, Streams(nothing, writer, nothing)).code)
                except BaseException as error:  # noqa: BLE001 - who reads raises it
                    errors.append(error)
                finally:
                    os.close(writer)

            thread = threading.Thread(target=run, name="archive")
            thread.start()
            try:
                while data := os.read(reader, CHUNK):
                    yield data
            finally:
                self._sandbox.stop(id)
                thread.join()
        if errors:
            raise errors[0]
        if codes != [0]:
            raise BuildFailed(
                f"cannot fetch the submodule {shown(submodule.url)}: the app has no commit {submodule.commit[:12]}",
                hint="Push that commit to it first.",
            )


@contextmanager
def _ends() -> Iterator[tuple[int, int, int]]:
    """A pipe's two ends, and what reads as nothing and keeps nothing; the writer is closed by who writes."""
    reader, writer = os.pipe()
    nothing = os.open(os.devnull, os.O_RDWR)
    try:
        yield reader, writer, nothing
    finally:
        os.close(reader)
        os.close(nothing)
