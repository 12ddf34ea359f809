"""Applications of octod on real Unix sockets, in a loop of their own."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from octo.daemon import http


@contextmanager
def serving(
    apps: Mapping[Path, Any], admit: Callable[[http.Peer], bool] = lambda _: True
) -> Iterator[asyncio.AbstractEventLoop]:
    """Serve each at its path for the body of a `with`. At its end every client must have hung up."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        opened = (http.serve(app, path, mode=0o600, admit=admit) for path, app in apps.items())
        servers = [asyncio.run_coroutine_threadsafe(one, loop).result() for one in opened]
        yield loop
        asyncio.run_coroutine_threadsafe(_close(servers), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def answered(loop: asyncio.AbstractEventLoop) -> None:
    """Wait until nothing is under way in the loop."""
    asyncio.run_coroutine_threadsafe(_idle(), loop).result()


async def _idle() -> None:
    own = asyncio.current_task()
    while others := [t for t in asyncio.all_tasks() if t is not own]:
        await asyncio.wait(others)


async def _close(servers: list[Any]) -> None:
    for server in servers:
        server.close()
    await _idle()
    while any(server._active_count for server in servers):  # noqa: ASYNC110 - asyncio tells nobody
        await asyncio.sleep(0)
