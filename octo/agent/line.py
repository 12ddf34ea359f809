"""Connections to a Consul agent, kept and shared, and py-consul's calls on them.

Not py-consul's own connections (requests): measured twice as slow, ten at most are kept, `txn` and `agent.members` are
sent without the token, paths with ".." are shortened on the way, and proxies and tokens of the environment get in.
"""

import contextlib
import http.client
import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from consul import base

from octo.errors import Unavailable, Usage

CONNECT = 3.0  # seconds
ANSWER = 10.0  # seconds beyond what a blocking query waits by itself
KEPT = 16  # idle connections; an agent allows 200 to one client


class Away(Unavailable):
    """The agent, or its cluster, did not answer. unknown: what was asked may have been done all the same."""

    def __init__(self, message: str, *, unknown: bool) -> None:
        super().__init__(message, hint="Apps keep serving. Start Consul, or see what ails it: consul monitor")
        self.unknown = unknown


class Denied(Unavailable):
    """Consul's access control refuses the token."""


class Api(base.Consul):  # type: ignore[misc]
    def __init__(self, line: "Line", datacenter: str) -> None:
        self._line = line
        super().__init__("", 0, dc=datacenter or None, verify=True, scheme="http")
        self.token = None  # CONSUL_HTTP_TOKEN may have got in; the line sends octo's own

    def http_connect(self, *_: object) -> "_Http":
        return _Http(self._line)


class _Http(base.HTTPClient):  # type: ignore[misc]
    """py-consul's calls, on our line."""

    def __init__(self, line: "Line") -> None:
        super().__init__()
        self._line = line

    def get(self, callback: Any, path: str, params: Any = None, headers: object = None, raw: bool = False) -> Any:
        return callback(self._line.call("GET", path, params, b""))

    def put(self, callback: Any, path: str, params: Any = None, data: Any = b"", headers: object = None) -> Any:
        return callback(self._line.call("PUT", path, params, data))

    def delete(self, callback: Any, path: str, params: Any = None, data: Any = b"", headers: object = None) -> Any:
        return callback(self._line.call("DELETE", path, params, data))

    def post(self, callback: Any, path: str, params: Any = None, data: Any = b"", headers: object = None) -> Any:
        return callback(self._line.call("POST", path, params, data))

    def close(self) -> None:
        self._line.close()


class Line:
    """Connections to one agent, kept and shared."""

    def __init__(self, url: str, token: str, ca: str) -> None:
        self._url = urlsplit(url)
        if self._url.scheme not in ("http", "https", "unix") or not (self._url.hostname or self._url.path):
            raise Usage(f'cannot use "{url}" as consul: it is no URL', hint="Set it as http://127.0.0.1:8500.")
        self._name = f"Consul at {url}"
        self._headers = {"X-Consul-Token": token} if token else {}
        try:
            self._tls = ssl.create_default_context(cafile=ca or None) if self._url.scheme == "https" else None
        except OSError as error:
            raise Usage(f'cannot use "{ca}" as consul_ca: {error}', hint="Set it to a PEM file.") from None
        self._idle: list[http.client.HTTPConnection] = []
        self._mutex = threading.Lock()

    def call(self, method: str, path: str, params: Sequence[tuple[str, object]] | None, data: Any) -> Any:
        target = quote(path, safe="/:") + ("?" + urlencode(params) if params else "")
        wait = dict(params or ()).get("wait") if dict(params or ()).get("index") else None
        seconds = float(str(wait).removesuffix("ms")) / 1000 if wait else 0
        body = data.encode() if isinstance(data, str) else data or b""
        link = self._take()
        with self._failing(link):
            link.sock.settimeout(ANSWER + seconds * 17 / 16)  # Consul adds up to a sixteenth
            link.request(method, target, body, self._headers)
            answer = link.getresponse()
            text = answer.read().decode("utf-8", "replace")
        self._give_back(link)
        if answer.status in (429, *range(500, 600)):  # no leader, or none any more
            raise Away(f"cannot use {self._name}: {text.strip()[:200]}", unknown=answer.status != 429)
        if answer.status == 403:
            raise Denied(
                f"cannot use {self._name}: it refuses octo's token ({text.strip()[:200]})",
                hint="Mend consul_token or its policy: see docs/consul.md.",
            )
        return base.Response(answer.status, answer.headers, text)

    def close(self) -> None:
        with self._mutex:
            links, self._idle = self._idle, []
        for link in links:
            link.close()

    def _take(self) -> http.client.HTTPConnection:
        with self._mutex:
            while self._idle:
                link = self._idle.pop()
                if not _stale(link):
                    return link
                link.close()
        link = self._new()
        try:
            link.connect()
        except ssl.SSLCertVerificationError as error:  # waiting does not mend that
            link.close()
            hint = "Set consul_ca to the PEM file of the authority that signed its certificate."
            raise Unavailable(f"cannot trust {self._name}: {error.verify_message}", hint=hint) from None
        except OSError as error:
            link.close()
            raise Away(f"cannot reach {self._name}: {_words(error)}", unknown=False) from None
        return link

    def _give_back(self, link: http.client.HTTPConnection) -> None:
        with self._mutex:
            if link.sock and len(self._idle) < KEPT:
                self._idle.append(link)
                return
        link.close()

    def _new(self) -> http.client.HTTPConnection:
        if self._url.scheme == "unix":
            return _UnixLink(self._url.path)
        host, port = self._url.hostname or "", self._url.port
        if self._tls:
            return http.client.HTTPSConnection(host, port or 8501, timeout=CONNECT, context=self._tls)
        return http.client.HTTPConnection(host, port or 8500, timeout=CONNECT)

    @contextlib.contextmanager
    def _failing(self, link: http.client.HTTPConnection) -> Iterator[None]:
        try:
            yield
        except (OSError, http.client.HTTPException) as error:
            link.close()
            raise Away(f"cannot go on with {self._name}: {_words(error)}", unknown=True) from None


class _UnixLink(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("consul", timeout=CONNECT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _stale(link: http.client.HTTPConnection) -> bool:
    """Whether the other side has hung up on an idle connection: then there is an end to be read."""
    try:
        link.sock.setblocking(False)
        link.sock.recv(1)
    except (BlockingIOError, ssl.SSLWantReadError):
        return False
    except OSError:
        return True
    return True  # an end, or bytes that nobody asked for


def _words(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
