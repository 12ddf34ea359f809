"""The API as a table, and the one way every request goes: who asks, may they, do it, say how it went."""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from anyio import CapacityLimiter, to_thread
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from octo.assembly import Octo
from octo.daemon import (
    api_allowances,
    api_apps,
    api_builds,
    api_config,
    api_config_all,
    api_disk,
    api_domains,
    api_forwarding,
    api_images,
    api_imports,
    api_keys,
    api_limits,
    api_octo,
    api_octohost,
    api_plugins,
    api_ps,
    api_rebuild,
    api_releases,
    api_router,
    api_services,
    api_stacks,
    api_volumes,
)
from octo.daemon.access import NOBODY, OPERATOR, Access, Actor, Verb, require
from octo.daemon.api import Ask, Download, Json, Resource
from octo.errors import NotFound, OctoError, Usage
from octo.model import App, app_name
from octo.ports import Console

log = logging.getLogger(__name__)

TABLE: tuple[Resource, ...] = (
    *api_apps.RESOURCES,
    *api_config.RESOURCES,
    *api_config_all.RESOURCES,
    *api_domains.RESOURCES,
    *api_keys.RESOURCES,
    *api_ps.RESOURCES,
    *api_releases.RESOURCES,
    *api_builds.RESOURCES,
    *api_images.RESOURCES,
    *api_limits.RESOURCES,
    *api_disk.RESOURCES,
    *api_router.RESOURCES,
    *api_stacks.RESOURCES,
    *api_allowances.RESOURCES,
    *api_volumes.RESOURCES,
    *api_octo.RESOURCES,
    *api_rebuild.RESOURCES,
    *api_imports.RESOURCES,
    *api_services.RESOURCES,
    *api_forwarding.RESOURCES,
    *api_octohost.RESOURCES,
    *api_plugins.RESOURCES,
)
MAX_BODY = 8 * 1024 * 1024  # bytes
STREAM = "application/x-ndjson"
LEADS = {"step": "-----> ", "detail": "       ", "error": " !     ", "result": "=====> "}


def application(octo: Octo, access: Access, extra: Mapping[str, Any]) -> Starlette:
    """extra: what single resources need beyond Octo: "attach", "logs"."""
    doors = [_Endpoint(octo, access, extra, resource) for resource in TABLE]
    routes = [Route(d.resource.path, d, methods=[d.resource.method]) for d in doors]
    unknown = {404: _unknown, 405: _unknown}
    return Starlette(routes=routes, exception_handlers=unknown)


def _unknown(request: Request, error: Exception) -> Response:
    return _error(NotFound("cannot find that resource"))


class _Endpoint:
    """One line of the table as Starlette calls it."""

    def __init__(self, octo: Octo, access: Access, extra: Mapping[str, Any], resource: Resource) -> None:
        self._octo, self._access, self._extra, self.resource = octo, access, extra, resource

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        try:
            body = await _body(request)
            response = await self._respond(request, body)
        except OctoError as error:
            response = _error(error)
        except Exception:
            log.exception("a bug, in %s %s", self.resource.method, self.resource.path)
            response = _error(_Broken())
        await response(scope, receive, send)

    async def _respond(self, request: Request, body: Json) -> Response:
        resource = self.resource
        ask = await run_in_threadpool(self._ask, request, body, _Silent())
        if resource.deploys and STREAM in request.headers.get("accept", ""):
            return StreamingResponse(self._steps(ask), media_type=STREAM)
        result = await run_in_threadpool(resource.handle, ask)
        if resource.text:
            return StreamingResponse(_lines(result), media_type="text/plain; charset=utf-8")
        if isinstance(result, Download):
            return StreamingResponse(_lines(result.chunks), headers=result.headers)
        return JSONResponse(result, resource.status)

    def _ask(self, request: Request, body: Json, console: Console) -> Ask:
        """Decide on the rights before anything else is done."""
        actor = self._actor(request)
        app = None
        if "app" in request.path_params:
            require(actor, Verb.READ)  # a stranger does not learn which apps there are
            app = self._app(request.path_params["app"])
        require(actor, self.resource.may, app)
        return Ask(
            self._octo,
            actor,
            console,
            request.path_params,
            dict(request.query_params),
            body,
            app,
            self._extra,
        )

    def _actor(self, request: Request) -> Actor:
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            return self._access.by_token(token.strip())
        peer = request.scope.get("state", {}).get("peer")
        return OPERATOR if peer and peer.uid == 0 and not kind else NOBODY

    def _app(self, text: str) -> App:
        return self._octo.catalog.by_id(text) or self._octo.catalog.app(app_name(text))

    async def _steps(self, ask: Ask) -> AsyncIterator[bytes]:
        """The steps as they happen, a JSON document a line; the last is the result or the error."""
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[Json] = asyncio.Queue()

        def put(document: Json) -> None:
            loop.call_soon_threadsafe(queue.put_nowait, document)

        def work() -> None:
            try:
                told = replace(ask, console=_Lines(put))
                put({"result": self.resource.handle(told)})
            except OctoError as error:
                put({"error": _document(error)})
            except Exception:
                log.exception("a bug, in %s %s", self.resource.method, self.resource.path)
                put({"error": _document(_Broken())})

        task = loop.run_in_executor(None, work)
        while True:
            document = await queue.get()
            yield json.dumps(document).encode() + b"\n"
            if "console" not in document:
                break
        await task


class _Broken(OctoError):
    status = 500
    id = "internal_error"

    def __init__(self) -> None:
        super().__init__("something in octo is broken; the operator's log says what")


class _Lines:
    """A Console that becomes lines of the answer."""

    def __init__(self, put: Callable[[Json], None]) -> None:
        self._put = put
        self._part = b""

    def step(self, text: str) -> None:
        self._put({"console": ["step", text]})

    def detail(self, text: str) -> None:
        self._put({"console": ["detail", text]})

    def error(self, text: str) -> None:
        self._put({"console": ["error", text]})

    def result(self, text: str) -> None:
        self._put({"console": ["result", text]})

    def raw(self, data: bytes) -> None:
        self._put({"console": ["raw", data.decode("utf-8", "replace")]})

    def formatted(self, data: bytes) -> None:
        *lines, self._part = (self._part + data).split(b"\n")
        for line in lines:
            text = line.decode("utf-8", "replace")
            kind = next((kind for kind, lead in LEADS.items() if text.startswith(lead)), "raw")
            self._put({"console": [kind, text.removeprefix(LEADS.get(kind, ""))]})


class _Silent(_Lines):
    def __init__(self) -> None:
        super().__init__(lambda _: None)


async def _body(request: Request) -> Json:
    data = b""
    async for chunk in request.stream():
        data += chunk
        if len(data) > MAX_BODY:
            raise Usage("cannot read the request: it is longer than 8 MB")
    if not data:
        return None
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise Usage("cannot read the request: its body is not JSON") from None


async def _lines(source: Iterable[bytes]) -> AsyncIterator[bytes]:
    """Pull a blocking iterator from a thread; close it when the reader has gone, though nothing came since."""
    iterator = iter(source)
    own = CapacityLimiter(1)  # a silent app's log must not hold one of the 40 threads that all requests share
    try:
        while (
            chunk := await to_thread.run_sync(next, iterator, None, abandon_on_cancel=True, limiter=own)
        ) is not None:
            yield chunk
    finally:
        with contextlib.suppress(AttributeError, ValueError):
            iterator.close()  # type: ignore[attr-defined]


def _document(error: OctoError) -> Json:
    return {"id": error.id, "message": error.message, "hint": error.hint, "exit": error.exit_code}


def _error(error: OctoError) -> Response:
    return JSONResponse(_document(error), error.status)
