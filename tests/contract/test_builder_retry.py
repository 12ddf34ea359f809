"""What the classic builder does when the engine loses a layer under it: shown on an engine that loses one."""

import http.server
import json
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from octo.adapters.builder_docker import DockerBuilder
from octo.engine import Engine
from octo.errors import BuildFailed
from octo.ports import BuildSpec, Limits

LOST = "failed to export image: failed to set parent sha256:aa: unknown parent image ID sha256:aa"
IMAGE = "sha256:" + "ab" * 32


class Losing(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True

    def __init__(self, path: str, *, losses: int) -> None:
        self.losses = losses
        self.contexts: list[bytes] = []
        super().__init__(path, Answer)

    def get_request(self) -> tuple[object, tuple[str, int]]:  # type: ignore[override]
        return super().get_request()[0], ("engine", 0)


class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Losing

    def do_POST(self) -> None:
        data = b""
        while size := int(self.rfile.readline(), 16):
            data += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        self.server.contexts.append(data)
        lost = len(self.server.contexts) <= self.server.losses
        self._say([{"error": LOST, "errorDetail": {"message": LOST}}] if lost else [{"aux": {"ID": IMAGE}}])

    def do_GET(self) -> None:
        self._say([{"CgroupDriver": "cgroupfs"} if self.path == "/info" else []])

    def _say(self, documents: list[object]) -> None:
        body = b"".join(json.dumps(d).encode() + b"\n" for d in documents)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Losing]:
    server = Losing(str(tmp_path / "engine.sock"), losses=1)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def build(engine: Losing) -> tuple[str, bytes]:
    said: list[bytes] = []
    spec = BuildSpec("b0", "a0", "octo-t/a0:b0", Limits(1 << 30, 1.0, 64, 60), 1 << 20)
    builder = DockerBuilder(Engine(Path(str(engine.server_address))), instance="octo-t", mode="classic")
    image = builder.build(spec, iter([b"one" * 1000, b"two" * 100_000]), said.append, lambda: False)
    return image, b"".join(said)


def test_a_lost_layer_is_built_again_from_the_same_files(engine: Losing) -> None:
    image, said = build(engine)
    assert image == IMAGE and b"building again" in said
    assert len(engine.contexts) == 2 and len(set(engine.contexts)) == 1 and len(engine.contexts[0]) == 303_000


def test_a_layer_that_is_lost_again_and_again_fails_in_the_end(engine: Losing) -> None:
    engine.losses = 99
    with pytest.raises(BuildFailed, match="unknown parent"):
        build(engine)
    assert len(engine.contexts) == 3
