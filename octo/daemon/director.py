"""Opens a receiver for a push, and the sandbox of its build: their values, their own Unix sockets, what answers behind.

Names and order of a receiver's ten values are those of row G5. Each URL works once, for one push, over that push's
socket, and only for a process in that push's sandbox.
"""

import asyncio
import secrets
import shutil
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from octo.daemon import http
from octo.daemon.blobs import BlobDoor
from octo.daemon.callbacks import Calls
from octo.daemon.exchange import Message, Receive, Send
from octo.limits import slug_limit
from octo.model import App
from octo.pipeline.attend import Session
from octo.pipeline.build import Order
from octo.pipeline.plan import cache_blob, repository_blob, slug_blob
from octo.pipeline.receive import Push, Receiver
from octo.pipeline.source import Source
from octo.ports import Blobs, Console, Sandbox

VALUES = (
    "CALLBACK_URL",
    "BUILD_CALLBACK_URL",
    "BUILD_PUT_URL",
    "CACHE_GET_URL",
    "CACHE_PUT_URL",
    "PRIVATE_KEY",
    "ROUTE_URL",
    "REPO_GET_URL",
    "REPO_PUT_URL",
    "REQUEST_ID",
)
GET_SECONDS, PUT_SECONDS = 600.0, 3600.0  # that a signed URL is good for
MOUNTED = "file:///app/repo.git"  # the repository, as it lies in the sandbox
Asgi = Callable[[Message, Receive, Send], Awaitable[None]]
SPARE = 4  # times the limit on slugs: the sandbox refuses first, with the figure


class Director:
    """bundles: whether repositories are archives among the blobs; else they are mounted where they lie."""

    def __init__(
        self,
        receiver: Receiver,
        sandbox: Sandbox,
        blobs: Blobs,
        loop: asyncio.AbstractEventLoop,
        folder: Path,
        console: Callable[[Callable[[bytes], object]], Console],
        *,
        sizes: Mapping[str, int],
        bundles: bool = False,
    ) -> None:
        self._receiver, self._sandbox, self._blobs, self._loop = receiver, sandbox, blobs, loop
        self._folder, self._console, self._sizes, self._bundles = folder, console, sizes, bundles
        self._door = BlobDoor(blobs)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700, parents=True)

    def open(self, push: Push) -> Session:
        """Make the ten values and the socket of a receiver; called in the thread of the push."""
        tokens = {name: secrets.token_urlsafe(32) for name in VALUES}
        by_token = {tokens[n]: n for n in VALUES}
        calls = Calls(push, self._receiver, self._console, self._loop, by_token, lambda s: self._order(push, s))
        env = {n: f"http+unix://octo/{n.lower()}/{tokens[n]}" for n in VALUES}
        env |= {"PRIVATE_KEY": tokens["PRIVATE_KEY"], "REQUEST_ID": push.id}
        env |= self._cache(push.app.id) | self._repository(push.app.id)
        # A build that is being cancelled still writes its record: closing waits for the calls.
        return self._session(push.id, env, self._either(calls, self._blobs_of(env)), calls.wait)

    def _order(self, push: Push, source: Source) -> Order:
        def session(id: str) -> Session:
            """What the sandbox of the push's build is given: its cache, and where its slug goes."""
            most = SPARE * slug_limit(self._sizes["slug"], push.to)
            slug = self._url("PUT", slug_blob(id), most)
            env = {**self._cache(push.to.id), "SLUG_PUT_URL": slug, "REQUEST_ID": push.id}
            return self._session(id, env, self._blobs_of(env), lambda: None)

        def reading(id: str, app: App) -> Session:
            env = {"REPO_GET_URL": self._url("GET", repository_blob(app.id))} if self._bundles else {}
            return self._session(id, env, self._blobs_of(env), lambda: None)

        return Order(push.to, source, push.user, session, reading, push.may_read, lambda: push.gone, push.ref)

    @contextmanager
    def folder(self, id: str) -> Iterator[str]:
        """A folder for the sockets of one sandbox, open to root and to that sandbox alone."""
        folder = self._folder / id
        folder.mkdir(mode=0o711)
        try:
            yield str(folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _session(self, id: str, env: Mapping[str, str], app: Asgi, ended: Callable[[], None]) -> Session:
        around = self.folder(id)
        folder = around.__enter__()
        server = asyncio.run_coroutine_threadsafe(self._serve(id, Path(folder, "octo.sock"), app), self._loop).result()

        def close() -> None:
            self._loop.call_soon_threadsafe(server.close)
            ended()
            around.__exit__(None, None, None)

        return Session(env, folder, close)

    async def _serve(self, id: str, path: Path, app: Asgi) -> asyncio.Server:
        # The folder around it is open to root and to this one sandbox alone.
        return await http.serve(app, path, mode=0o666, admit=lambda peer: self._sandbox.owns(id, peer.pid))

    def _either(self, calls: Calls, blobs: Asgi) -> Asgi:
        async def serve(scope: Message, receive: Receive, send: Send) -> None:
            blob = scope["type"] == "http" and scope["path"].startswith("/blobs/")
            await (blobs if blob else calls)(scope, receive, send)

        return serve

    def _blobs_of(self, env: Mapping[str, str]) -> Asgi:
        """The URLs that this sandbox was given, and no others: one that leaked is worth nothing over another socket."""
        return self._door.only(url for url in env.values() if "/blobs/" in url)

    def _cache(self, app: str) -> dict[str, str]:
        name = cache_blob(app)
        return {"CACHE_GET_URL": self._url("GET", name), "CACHE_PUT_URL": self._url("PUT", name, self._sizes["cache"])}

    def _repository(self, app: str) -> dict[str, str]:
        if not self._bundles:
            return {"REPO_GET_URL": MOUNTED, "REPO_PUT_URL": MOUNTED}
        name = repository_blob(app)
        return {
            "REPO_GET_URL": self._url("GET", name),
            "REPO_PUT_URL": self._url("PUT", name, self._sizes["repository"]),
        }

    def _url(self, method: str, name: str, most: int = 0) -> str:
        seconds = GET_SECONDS if method == "GET" else PUT_SECONDS
        return "http+unix://octo" + self._blobs.sign(method, name, seconds=seconds, most=most)
