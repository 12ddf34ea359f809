"""A real git server by HTTPS, with a certificate of its own making; it serves files and redirections too."""

import http.server
import socketserver
import ssl
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from tests.unit.octo.guest.git_parts import GIT


def certificate(folder: Path, address: str) -> Path:
    """A key and a certificate for the address in one file; who trusts the file trusts the server."""
    file = folder / "server.pem"
    words = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=octo-test"
    named = ["-addext", f"subjectAltName=IP:{address}", "-keyout", str(folder / "key"), "-out", str(folder / "cert")]
    subprocess.run([*words.split(), *named], check=True, capture_output=True)
    file.write_bytes((folder / "cert").read_bytes() + (folder / "key").read_bytes())
    return folder / "cert"


class Server(http.server.ThreadingHTTPServer):
    """asked: the paths, in their order. folder: with repositories, and files whose names end in .tgz."""

    daemon_threads = True

    def __init__(self, at: tuple[str, int], folder: Path) -> None:
        super().__init__(at, _Handler)
        self.folder = folder
        self.asked: list[str] = []

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)  # without asking a name server for its own name

    def handle_error(self, *_: object) -> None:
        """Who does not trust the certificate hangs up."""


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        if self.path.startswith("/to/"):
            self._answer(302, {"Location": unquote(self.path.removeprefix("/to/"))}, b"")
        elif self.path.endswith(".tgz"):
            self._answer(200, {}, (self.server.folder / self.path.lstrip("/")).read_bytes())
        else:
            self._git(b"")

    def do_POST(self) -> None:
        self._git(self.rfile.read(int(self.headers["Content-Length"])))

    def _git(self, body: bytes) -> None:
        path, _, query = self.path.partition("?")
        given = {
            **GIT,
            "GIT_PROJECT_ROOT": str(self.server.folder),
            "GIT_HTTP_EXPORT_ALL": "1",
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }
        said = subprocess.run(["git", "http-backend"], env=given, input=body, capture_output=True, check=False).stdout
        head, _, rest = said.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().splitlines())
        self._answer(int(fields.pop("Status", "200").split(maxsplit=1)[0]), fields, rest)

    def _answer(self, status: int, fields: Mapping[str, str], content: bytes) -> None:
        self.send_response(status)
        for name, value in {**fields, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def https_server(folder: Path, at: tuple[str, int] = ("127.0.0.1", 0), space: Any = None) -> Iterator[Server]:
    """Serve the folder with its server.pem. space: the network namespace it listens in."""
    with space.inside() if space else nullcontext():
        server = Server(at, folder)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(folder / "server.pem")
    server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
