"""The repository as an archive behind a URL, with real git and a real socket."""

import os
import socketserver
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from octo.guest import bundle

URL = "http+unix://octo/blobs/repos/a0.bundle?signature=x"
GIT = {
    "GIT_AUTHOR_NAME": "Ann",
    "GIT_AUTHOR_EMAIL": "ann@octo.test",
    "GIT_COMMITTER_NAME": "Ann",
    "GIT_COMMITTER_EMAIL": "ann@octo.test",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "PATH": os.environ["PATH"],
}


class Octod(socketserver.ThreadingUnixStreamServer):
    """Keeps one object."""

    daemon_threads = True
    stored: bytes | None = None
    status = 204

    def get_request(self) -> tuple[object, str]:  # type: ignore[override]
        return super().get_request()[0], "octo"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Octod

    def address_string(self) -> str:
        return "octo"

    def log_message(self, *words: object) -> None:
        pass

    def do_GET(self) -> None:
        stored = self.server.stored
        self.send_response(404 if stored is None else 200)
        if stored is None:
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for at in range(0, len(stored), 1000):
            part = stored[at : at + 1000]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
        self.wfile.write(b"0\r\n\r\n")

    def do_PUT(self) -> None:
        body = b""
        while size := int(self.rfile.readline() or b"0", 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        if self.server.status == 204:
            self.server.stored = body
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()


@pytest.fixture
def octod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Octod]:
    monkeypatch.setattr(bundle, "SOCKET", str(tmp_path / "octo.sock"))
    with Octod(str(tmp_path / "octo.sock"), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def git(where: Path, *words: str) -> str:
    return subprocess.run(
        ["git", "-C", str(where), *words], env=GIT, capture_output=True, text=True, check=True
    ).stdout.strip()


@pytest.fixture
def full(tmp_path: Path) -> Path:
    """A bare repository with two branches and a tag."""
    where = tmp_path / "full"
    where.mkdir()
    git(where, "init", "-q", "--bare", "-b", "main")
    tree = git(where, "hash-object", "-t", "tree", "-w", "/dev/null")
    first = git(where, "commit-tree", "-m", "one", tree)
    second = git(where, "commit-tree", "-m", "two", "-p", first, tree)
    git(where, "update-ref", "refs/heads/main", second)
    git(where, "update-ref", "refs/heads/side", first)
    git(where, "tag", "v1", first)
    return where


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    where = tmp_path / "empty"
    where.mkdir()
    git(where, "init", "-q", "--bare", "-b", "main")
    return where


@pytest.mark.row("B2")
@pytest.mark.row("B5")
def test_what_was_stored_is_fetched_again_with_every_ref(octod: Octod, full: Path, empty: Path) -> None:
    assert bundle.store(URL, str(full)) == ""
    assert octod.stored
    assert octod.stored.startswith(b"# v2 git bundle")
    assert bundle.fetch(URL, str(empty)) == ""
    assert git(empty, "for-each-ref") == git(full, "for-each-ref") != ""
    assert git(empty, "fsck", "--strict") == "" and not (empty / "incoming.bundle").exists()


@pytest.mark.row("B2")
def test_nothing_stored_is_an_empty_repository(octod: Octod, empty: Path) -> None:
    assert bundle.fetch(URL, str(empty)) == ""
    assert git(empty, "for-each-ref") == ""


@pytest.mark.row("B2")
@pytest.mark.parametrize("garbage", [b"", b"no bundle", b"# v2 git bundle\n0000 refs/heads/main\n\nPACK"])
def test_a_broken_archive_is_an_empty_repository_and_is_told(octod: Octod, empty: Path, garbage: bytes) -> None:
    octod.stored = garbage
    assert "broken" in bundle.fetch(URL, str(empty))
    assert git(empty, "for-each-ref") == "" and not (empty / "incoming.bundle").exists()


def test_an_empty_repository_overwrites_nothing(octod: Octod, empty: Path) -> None:
    octod.stored = b"kept"
    assert bundle.store(URL, str(empty)) == "" and octod.stored == b"kept"


@pytest.mark.row("B2")
def test_a_refusal_of_octod_is_told(octod: Octod, full: Path) -> None:
    octod.status = 403
    assert bundle.store(URL, str(full)) == "octod answered 403" and octod.stored is None
