"""octod's API as the commands call it: JSON over its Unix socket, with the caller's token."""

import contextlib
import http.client
import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from octo.errors import OctoError, Unavailable

Json = Any
Tell = Callable[[str, str], None]  # kind (step, detail, error, result, raw) and text

STEPS = "application/x-ndjson"
PATIENCE = 120.0  # seconds without a sign that a question may take
LONGEST_LINE = 64 * 1024  # characters of a log line that are kept together
_CODES = (1, 2, 20)


class ApiError(OctoError):
    """What octod refused, in its own words."""

    def __init__(self, document: Json, status: int) -> None:
        told = document if isinstance(document, dict) else {}
        message = told.get("message") or f"cannot read octod's answer: HTTP status {status}"
        super().__init__(str(message), hint=str(told.get("hint") or ""))
        self.id = str(told.get("id") or "internal_error")
        self.status = status
        self.exit_code = told["exit"] if told.get("exit") in _CODES else 1


class Unreachable(Unavailable):
    """There is no octod at the socket, or it does not let us in."""


def url(*parts: str) -> str:
    return "".join("/" + quote(part, safe="") for part in parts)


class UnixConnection(http.client.HTTPConnection):
    """Raises Unreachable when nobody listens at `path`."""

    def __init__(self, path: Path, timeout: float | None) -> None:
        super().__init__("octod", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        try:
            self.sock.connect(str(self._path))
        except OSError as error:
            raise _unreachable(error, self._path) from None


def _unreachable(error: OSError, path: Path) -> Unreachable:
    if isinstance(error, PermissionError):
        return Unreachable(f'cannot reach octod: you may not use "{path}"', hint="Run it with sudo.")
    return Unreachable(f'cannot reach octod: nobody answers at "{path}"', hint="Start it with: sudo ./setup demo")


class Api:
    def __init__(self, path: Path, token: str) -> None:
        self._path = path
        self._token = token

    def get(self, path: str) -> Json:
        return self._ask("GET", path, timeout=PATIENCE)

    def post(self, path: str, body: Json = None) -> Json:
        return self._ask("POST", path, body)

    def put(self, path: str, body: Json) -> Json:
        return self._ask("PUT", path, body)

    def patch(self, path: str, body: Json) -> Json:
        return self._ask("PATCH", path, body)

    def delete(self, path: str) -> Json:
        return self._ask("DELETE", path)

    def stream(self, method: str, path: str, body: Json, tell: Tell) -> Json:
        """Ask for something that takes a while; `tell` hears the steps as they happen. Returns the result."""
        with self._open(method, path, body, accept=f"{STEPS}, application/json", timeout=None) as answer:
            if not answer.headers.get("content-type", "").startswith(STEPS):
                return _read(answer)
            for line in _lines(answer):
                document = json.loads(line)
                if "console" in document:
                    tell(*document["console"])
                elif "error" in document:
                    raise ApiError(document["error"], 422)
                else:
                    return document.get("result")
        raise _broke()

    def text(self, path: str) -> Iterator[str]:
        """The lines of a plain text, with their ends, as they arrive."""
        with self._open("GET", path, None, accept="text/plain", timeout=None) as answer:
            for line in _lines(answer):
                yield line.decode("utf-8", "replace")

    def fetch(self, path: str) -> Iterator[bytes]:
        """The bytes of a file as they arrive. Raises Unavailable when they end before its length."""
        with self._open("GET", path, None, accept="application/gzip", timeout=None) as answer:
            left = int(answer.headers.get("content-length") or 0)
            while part := _part(answer):
                left -= len(part)
                yield part
        if left:
            raise Unavailable("cannot fetch the rest: octod hung up in the middle", hint="Fetch it again.")

    def _ask(self, method: str, path: str, body: Json = None, *, timeout: float | None = None) -> Json:
        with self._open(method, path, body, accept="application/json", timeout=timeout) as answer:
            return _read(answer)

    @contextlib.contextmanager
    def _open(
        self, method: str, path: str, body: Json, *, accept: str, timeout: float | None
    ) -> Iterator[http.client.HTTPResponse]:
        connection = UnixConnection(self._path, timeout)
        headers = {"Accept": accept}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        try:
            with _told():
                connection.request(method, path, data, headers)
                answer = connection.getresponse()
                if answer.status >= 400:
                    raise ApiError(_document(answer.read()), answer.status)
            yield answer
        finally:
            connection.close()


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Around each exchange with octod, and around nothing else: the caller's own pipes break too."""
    try:
        yield
    except TimeoutError:
        raise Unavailable("cannot wait for octod any longer: it does not answer", hint="Run: octo doctor") from None
    except (http.client.HTTPException, ConnectionError, json.JSONDecodeError):
        raise _broke() from None


def _broke() -> Unavailable:
    return Unavailable(
        "cannot tell how it ended: octod hung up before its answer",
        hint="Look whether it was done before you repeat it.",
    )


def _read(answer: http.client.HTTPResponse) -> Json:
    with _told():
        data = answer.read()
        return json.loads(data) if data else None


def _document(data: bytes) -> Json:
    try:
        return json.loads(data)
    except ValueError:
        return None


def _lines(answer: http.client.HTTPResponse) -> Iterator[bytes]:
    """Each line as soon as it is there; a very long one in pieces, unless it is JSON."""
    rest = b""
    json_lines = answer.headers.get("content-type", "").startswith(STEPS)
    while part := _part(answer):
        *whole, rest = (rest + part).split(b"\n")
        for line in whole:
            yield line + b"\n"
        if len(rest) > LONGEST_LINE and not json_lines:
            yield rest
            rest = b""
    if rest:
        yield rest


def _part(answer: http.client.HTTPResponse) -> bytes:
    with _told():
        return answer.read1(65536)
