"""What the classic builder does when the engine loses a layer under it: shown on an engine that loses one."""

import http.server
import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from octo.adapters.builder_docker import DockerBuilder
from octo.engine import Engine
from octo.errors import BuildFailed
from octo.ports import BuildSpec, Limits
from octo.sandbox.cgroups import Cgroups
from octo.specs import GB
from tests.contract.docker_parts import WORKER, tar

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
        if not self.path.startswith("/build"):
            self._say([{}])
            return
        data = b""
        while size := int(self.rfile.readline(), 16):
            data += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        self.server.contexts.append(data)
        lost = len(self.server.contexts) <= self.server.losses
        self._say([{"error": LOST, "errorDetail": {"message": LOST}}] if lost else [{"aux": {"ID": IMAGE}}])

    def do_GET(self) -> None:
        if self.path.startswith("/images/json"):
            self._say([[]])
        elif self.path.startswith("/images/"):
            self._say([{"Id": IMAGE, "RepoTags": ["x"], "Config": {}, "RootFS": {"Layers": []}}])
        else:
            self._say([{"Driver": "vfs", "DockerRootDir": "/nonexistent"}])

    def do_DELETE(self) -> None:
        self._say([{}])

    def _say(self, documents: list[Any]) -> None:
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


def build(engine: Losing, folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, bytes]:
    said: list[bytes] = []
    api = Engine(Path(str(engine.server_address)))

    def warm(_: object) -> threading.Thread:
        made = threading.Thread()
        made.start()
        return made

    @contextmanager
    def use() -> Iterator[Engine]:
        yield api

    cgroups = Cgroups(f"octo-t{WORKER}-lost")
    place = SimpleNamespace(engine=api, use=use, prewarm=warm, folder=folder, cgroups=cgroups)
    place.free, place.room = lambda: 9 * GB, lambda: (9 * GB, 1_000_000)
    place.store, place.root = lambda: None, lambda: Path("/")
    builder = DockerBuilder(api, place, instance="octo-t", mode="classic")  # type: ignore[arg-type]
    monkeypatch.setattr("octo.adapters.builder_docker.caches.Caches.own", lambda *_: {})
    monkeypatch.setattr("octo.adapters.builder_docker.hand_over", lambda image, *_: image)
    spec = BuildSpec("b0", "a0", "octo-t/a0:b0", Limits(1 << 30, 1.0, 64, 60, output=1 << 20))
    files = tar({"Dockerfile": b"FROM x\n", "one": b"1" * 300_000})
    try:
        image = builder.build(spec, iter([files[:3000], files[3000:]]), said.append, lambda: False)
    finally:
        cgroups.remove()
    return image, b"".join(said)


def test_a_lost_layer_is_built_again_from_the_same_files(
    engine: Losing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, said = build(engine, tmp_path, monkeypatch)
    assert image == IMAGE and b"building again" in said
    assert len(engine.contexts) == 2 and len(set(engine.contexts)) == 1 and len(engine.contexts[0]) > 300_000


def test_a_layer_that_is_lost_again_and_again_fails_in_the_end(
    engine: Losing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.losses = 99
    with pytest.raises(BuildFailed, match="unknown parent"):
        build(engine, tmp_path, monkeypatch)
    assert len(engine.contexts) == 3
