"""What the router's tests are made with: small apps, a client, a private nginx on a free port."""

import http.client
import json
import random
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from octo.adapters.router_nginx import NginxRouter
from octo.adapters.router_nginx.master import wait_until
from octo.ports import Route

NOBODY = "127.0.0.1:1"  # a target where no one listens
TEMPLATES = Path(__file__).resolve().parents[2] / "templates" / "nginx"
UID = 59202


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def echo(self) -> Any:
        return json.loads(self.body)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: "_Server"

    def do_GET(self) -> None:
        if self.headers.get("Upgrade") == "websocket":
            self._websocket()
        elif self.path == "/events":
            self._events()
        else:
            self._echo()

    def do_POST(self) -> None:
        self._echo()

    def _echo(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/wait":
            self.server.gate.wait(20)
        status = int(self.path[1:]) if self.path[1:].isdigit() else 200
        seen = [(k, v) for k, v in self.headers.items()]
        told = {"app": self.server.says, "path": self.path, "headers": seen, "method": self.command, "size": len(body)}
        self._answer(status, json.dumps(told).encode())

    def _answer(self, status: int, data: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("X-Accel-Redirect", "/.octo-pages/idle.html")
        self.end_headers()
        self.wfile.write(data)

    def _websocket(self) -> None:
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.end_headers()
        while line := self.rfile.readline():
            self.wfile.write(b"echo " + line)
        self.close_connection = True

    def _events(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("X-Accel-Buffering", "no")
        self.end_headers()
        self.wfile.write(b"data: first\n\n")
        self.server.gate.wait(20)
        self.wfile.write(b"data: second\n\n")
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, says: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.says = says
        self.gate = threading.Event()


@dataclass
class Bench:
    """A router and the apps behind it."""

    router: NginxRouter
    prefix: Path
    port: int
    apps: list[_Server] = field(default_factory=list)

    def app(self, says: str) -> tuple[str, threading.Event]:
        """Start an app that echoes requests; its "address:port", and the gate that `/wait` waits for."""
        server = _Server(says)
        self.apps.append(server)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return f"127.0.0.1:{server.server_port}", server.gate

    def other(self, **changes: Any) -> NginxRouter:
        """Another NginxRouter over the same prefix, as after a restart of octod with other settings."""
        return nginx(self.prefix, **{"port": self.port, **changes})

    def get(self, host: str, path: str = "/", *, method: str = "GET", **more: str) -> Answer:
        headers = {"Host": host, **{k.replace("_", "-"): v for k, v in more.items()}}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, headers=headers)
            answer = connection.getresponse()
            return Answer(answer.status, dict(answer.getheaders()), answer.read())
        finally:
            connection.close()

    def raw(self, data: bytes = b"") -> socket.socket:
        """A connection to the router on which `data` was sent."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        connection.sendall(data)
        return connection

    def status_of(self, data: bytes) -> int:
        with self.raw(data) as connection:
            return int(connection.recv(65536).split()[1])


@dataclass
class Load:
    """Clients with one connection each request, and clients that keep theirs."""

    made: Bench
    done: threading.Event = field(default_factory=threading.Event)
    seen: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def fresh(self, method: str) -> None:
        while not self.done.is_set() and len(self.seen) < 20_000:
            try:
                answer = self.made.get("shop.localhost", method=method)
                self.note(answer.status, answer.echo["app"])
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(f"{method}: {error!r}")

    def kept(self) -> None:
        connection, used = http.client.HTTPConnection("127.0.0.1", self.made.port, timeout=20), False
        while not self.done.is_set() and len(self.seen) < 20_000:
            try:
                connection.request("GET", "/", headers={"Host": "shop.localhost"})
                answer = connection.getresponse()
                answer.read()
                self.note(answer.status, "")
                used = not answer.will_close
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                # An idle connection may close as it is used; a client asks again, once (RFC 9110, 9.2.2).
                if not used:
                    self.failures.append(repr(error))
                used = False
        connection.close()

    def note(self, status: int, app: str) -> None:
        self.seen.append(app)
        if status != 200:
            self.failures.append(str(status))


def nginx(prefix: Path, *, port: int, **changes: Any) -> NginxRouter:
    given = {"listen": "127.0.0.1", "templates": TEMPLATES, "user": UID, "drain": 5.0, **changes}
    return NginxRouter(prefix, port=port, **given)


@contextmanager
def bench(**changes: Any) -> Iterator[Bench]:
    folder = Path(tempfile.mkdtemp(prefix="octo-router-"))
    folder.chmod(0o755)  # nginx's uid must come through
    port = changes.pop("port", None) or free_port()
    made = Bench(nginx(folder / "nginx", port=port, **changes), folder / "nginx", port)
    try:
        yield made
    finally:
        for app in made.apps:
            app.gate.set()
        made.router.stop()
        for app in made.apps:
            app.shutdown()
            app.server_close()
        shutil.rmtree(folder)


def free_port() -> int:
    """A port below the ones that the kernel hands out to clients."""
    while True:
        port = random.randrange(15_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def route(app: str, *targets: str, hosts: tuple[str, ...] | None = None, release: int = 1) -> Route:
    hosts = hosts if hosts is not None else (f"{app}.localhost",)
    return Route(app, app.encode().hex()[:12], hosts, targets, release)


def eventually(true: Callable[[], bool]) -> bool:
    return wait_until(true, 20)
