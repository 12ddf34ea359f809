"""The Docker engine's HTTP API over its Unix socket, with the standard library alone.

Not the SDK: it costs 24 MB of octod's 60, 240 ms of import and 47 ms more per build, and cannot half-close a stream,
which ends a build cleanly and tells a container that its stdin has ended. Paths carry no version, so the engine
takes its newest; callers use only fields that API 1.41 (engine 20.10) and 1.52 (engine 29) both have.
"""

import contextlib
import http.client
import json
import select
import socket
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from octo.errors import Conflict, NotFound, OctoError, Unavailable

TIMEOUT = 60.0  # seconds, of a plain call
CHUNK = 64 * 1024  # bytes
_JSON = {"Content-Type": "application/json"}
Query = Mapping[str, object]


class EngineError(OctoError):
    """The engine refused; the message is its own words."""

    status = 502

    def __init__(self, message: str, *, code: int = 0) -> None:
        super().__init__(message)
        self.code = code  # HTTP status of the engine's answer


class Engine:
    """One Docker engine. Safe for threads: plain calls keep one connection per thread.

    Path segments are quoted here. Every call raises Unavailable when the engine is away, NotFound for its 404,
    Conflict for its 409, EngineError for the rest.
    """

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self._mine = threading.local()

    def get(self, *path: str, query: Query | None = None) -> Any:
        return self._call("GET", path, query, None, TIMEOUT)

    def find(self, *path: str, query: Query | None = None) -> Any | None:
        """As `get`; None when there is no such thing."""
        try:
            return self.get(*path, query=query)
        except NotFound:
            return None

    def post(self, *path: str, body: object = None, query: Query | None = None, timeout: float | None = TIMEOUT) -> Any:
        return self._call("POST", path, query, body, timeout)

    def delete(self, *path: str, query: Query | None = None) -> bool:
        """Whether it was there."""
        try:
            self._call("DELETE", path, query, None, TIMEOUT)
        except NotFound:
            return False
        return True

    def remove_container(self, id: str) -> None:
        """Kill it if it runs, remove it with its volumes; it is gone when this returns. An unknown one is no error."""
        for last in (False, False, True):
            try:
                self.delete("containers", id, query={"force": True, "v": True})
                return
            except Conflict:  # somebody else is removing it: gone is gone only when they have ended
                with contextlib.suppress(NotFound):
                    self.post("containers", id, "wait", query={"condition": "removed"})
                return
            except EngineError as error:  # it ended between the engine's look and its kill
                if last or "is not running" not in error.message:
                    raise

    def version(self) -> tuple[int, ...]:
        """The engine's version, as (20, 10)."""
        numbers = str(self.get("version")["Version"]).split(".")[:2]
        return tuple(int("".join(c for c in n if c.isdigit()) or 0) for n in numbers)

    def stream(
        self, method: str, *path: str, query: Query | None = None, headers: Mapping[str, str] | None = None
    ) -> "Stream":
        """Make a call whose answer goes on; the caller closes it."""
        link = self._connect(None)
        stream = Stream(link)
        with _failing(link):
            link.request(method, _target(path, query), headers=headers or {})
        stream.answer()
        return stream

    def upload(
        self, *path: str, query: Query | None = None, kind: str = "application/x-tar", method: str = "POST"
    ) -> "Stream":
        """Begin a call with a streamed body: next come `send` and `answer`, in one thread or two."""
        link = self._connect(None)
        with _failing(link):
            link.putrequest(method, _target(path, query))
            link.putheader("Content-Type", kind)
            link.putheader("Transfer-Encoding", "chunked")
            link.endheaders()
        return Stream(link)

    def hijack(self, *path: str, query: Query | None = None) -> socket.socket:
        """POST, and take the connection over as a raw socket, as attach does it."""
        link = self._connect(None)
        with _failing(link):
            link.request("POST", _target(path, query), headers={"Connection": "Upgrade", "Upgrade": "tcp"})
            code, head = _head(link.sock)
        if code in (101, 200):
            sock, link.sock = link.sock, None
            return sock
        length = next((int(v) for k, v in head if k == "content-length"), 0)
        with contextlib.closing(link), _failing(link):
            raise _error(code, link.sock.recv(min(length, CHUNK), socket.MSG_WAITALL))

    def _call(
        self, method: str, path: tuple[str, ...], query: Query | None, body: object, timeout: float | None
    ) -> Any:
        link = self._kept()
        link.sock.settimeout(timeout)
        with _failing(link):
            payload = None if body is None else json.dumps(body).encode()
            link.request(method, _target(path, query), payload, _JSON if payload else {})
            answer = link.getresponse()
            text = answer.read()
        if answer.status >= 400:
            raise _error(answer.status, text)
        return json.loads(text) if text.strip() else None

    def _kept(self) -> "_Link":
        """This thread's connection, or a new one when the engine has hung up on it, as after its restart."""
        link: _Link | None = getattr(self._mine, "link", None)
        if link is None or link.stale():
            link = self._mine.link = self._connect(TIMEOUT)
        return link

    def _connect(self, timeout: float | None) -> "_Link":
        link = _Link(self.socket, timeout)
        with _failing(link):
            link.connect()
        return link


class Stream:
    """A call whose body or answer goes on for as long as it likes. `hang_up` and `close` work from any thread."""

    def __init__(self, link: "_Link") -> None:
        self._link = link
        self._socket = link.sock  # http.client drops its own reference early
        self._answer: http.client.HTTPResponse | None = None
        self._read = False

    def send(self, chunks: Iterable[bytes]) -> None:
        """Send the whole body. Raises OSError when the engine does not want more: its answer says why."""
        for chunk in chunks:
            if chunk:
                self._socket.sendall(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        self._socket.sendall(b"0\r\n\r\n")

    def answer(self) -> None:
        """Wait for the head of the answer; raise what a plain call would."""
        with _failing(self._link):
            self._answer = answer = self._link.getresponse()
            text = answer.read() if answer.status >= 400 else b""
        if answer.status >= 400:
            self.close()
            raise _error(answer.status, text)

    def chunks(self) -> Iterator[bytes]:
        """The answer as it comes, until the engine ends it or someone closes the stream."""
        self._read = True
        try:
            while self._answer and (data := self._next(self._answer)):
                yield data
        finally:
            self._link.close()

    def lines(self) -> Iterator[Any]:
        """The answer as JSON values, one per line."""
        rest = b""
        for chunk in self.chunks():
            *whole, rest = (rest + chunk).split(b"\n")
            yield from (json.loads(line) for line in whole if line.strip())
        if rest.strip():
            with contextlib.suppress(ValueError):  # cut off in the middle
                yield json.loads(rest)

    def hang_up(self) -> None:
        """Half-close: the engine gives the work up, and what it says while doing so can still be read."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes a reader in another thread; close alone does not
        if not self._read:  # else it is the reader who closes: the number may not be used again under its feet
            self._link.close()

    @staticmethod
    def _next(answer: http.client.HTTPResponse) -> bytes:
        try:
            return answer.read1(CHUNK)
        except (OSError, ValueError, AttributeError, http.client.HTTPException):  # closed meanwhile
            return b""


def demux(chunks: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """Take the frames of attach and logs apart: (1 stdout or 2 stderr, some bytes of it).

    Source: "Stream format" of ContainerAttach in the engine's API: kind, three zeros, length in 4 bytes big endian.
    """
    head, kind, left = b"", 0, 0
    for chunk in chunks:
        while chunk:
            if left:
                yield kind, chunk[:left]
                left, chunk = max(0, left - len(chunk)), chunk[left:]
                continue
            need = 8 - len(head)
            head, chunk = head + chunk[:need], chunk[need:]
            if len(head) == 8:
                kind, left, head = head[0], int.from_bytes(head[4:], "big"), b""


class _Link(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float | None) -> None:
        super().__init__("docker", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))

    def __del__(self) -> None:
        self.close()  # a thread's connection goes with its thread

    def stale(self) -> bool:
        """Whether the other side has closed: between two calls nothing else makes the socket readable."""
        if not self.sock:
            return True
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        return bool(poll.poll(0))


@contextlib.contextmanager
def _failing(link: _Link) -> Iterator[None]:
    """Close the connection on any failure, and say what failed in octo's words."""
    try:
        yield
    except TimeoutError:
        link.close()
        raise Unavailable("cannot wait for the Docker engine any longer: it did not answer in time") from None
    except (OSError, http.client.HTTPException) as error:
        link.close()
        why = error.strerror if isinstance(error, OSError) and error.strerror else "it hung up"
        raise Unavailable(f"cannot reach the Docker engine: {why}", hint="Start it: systemctl start docker") from None
    except BaseException:
        link.close()  # an answer half read must not be taken for that of the next call
        raise


def _target(path: tuple[str, ...], query: Query | None) -> str:
    words = {
        k: v if isinstance(v, str) else json.dumps(v) for k, v in (query or {}).items()
    }  # true, 5 and {"a": [..]} are what the engine expects
    return "/" + "/".join(quote(p, safe="") for p in path) + ("?" + urlencode(words) if words else "")


def _head(sock: socket.socket) -> tuple[int, list[tuple[str, str]]]:
    """Read exactly the head of an answer: what follows belongs to the raw stream."""
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        byte = sock.recv(1)
        if not byte or len(data) > CHUNK:
            raise ConnectionResetError
        data += byte
    status, *rest = data.decode("latin-1").split("\r\n")
    pairs = [(k.lower(), v.strip()) for k, _, v in (line.partition(":") for line in rest) if k]
    return int(status.split()[1]), pairs


def _error(code: int, text: bytes) -> OctoError:
    try:
        words = str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        words = text.decode("utf-8", "replace").strip() or f"the Docker engine answered {code}"
    if code == 404:
        return NotFound(words)
    return Conflict(words) if code == 409 else EngineError(words, code=code)
