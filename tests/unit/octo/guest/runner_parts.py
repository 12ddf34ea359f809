"""A place for buildpack_runner.py to work in, as an unprivileged user, with an octod that keeps what it is sent."""

import gzip
import io
import json
import os
import shutil
import socketserver
import subprocess
import tarfile
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[4]
USER = 59204
PYTHON = "/usr/bin/python3"  # the system's, which every user may run
URLS = {
    "CACHE_GET_URL": "http+unix://octo/blobs/cache?s=1",
    "CACHE_PUT_URL": "http+unix://octo/blobs/cache?s=2",
    "SLUG_PUT_URL": "http+unix://octo/blobs/slug?s=3",
}
Files = Mapping[str, bytes | str | tuple[str, int]]


class Octod(socketserver.ThreadingUnixStreamServer):
    """Keeps what is PUT, whole only; answers the next calls with `answers` when there are any."""

    daemon_threads = True

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), _Handler)
        path.chmod(0o666)
        self.blobs: dict[str, bytes] = {}
        self.answers: list[int] = []
        self.calls: list[tuple[str, int]] = []  # method and path, bytes that came
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, *_: object) -> None:
        """Who breaks off does so on purpose here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Octod

    def address_string(self) -> str:
        return "socket"

    def log_message(self, *_: object) -> None:
        pass

    def do_PUT(self) -> None:
        content = bytearray()
        while size := int(self.rfile.readline() or b"0", 16):
            content += self.rfile.read(size)
            self.rfile.readline()
        whole = self.rfile.readline() == b"\r\n"
        name = self.path.partition("?")[0].rpartition("/")[2]
        self.server.calls.append((f"PUT {name}", len(content)))
        status = self.server.answers.pop(0) if self.server.answers else 201
        if status < 300 and whole:
            self.server.blobs[name] = bytes(content)
        self._end(status)

    def do_GET(self) -> None:
        name = self.path.partition("?")[0].rpartition("/")[2]
        self.server.calls.append((f"GET {name}", 0))
        content = self.server.blobs.get(name)
        self._end(200 if content is not None else 404, content or b"")

    def _end(self, status: int, content: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if content:
            self.wfile.write(content)


@dataclass
class Built:
    """How a run ended."""

    code: int
    said: str
    out: bytes
    slug: bytes

    @property
    def result(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.out)
        return found

    def members(self) -> dict[str, tarfile.TarInfo]:
        with tarfile.open(fileobj=io.BytesIO(gzip.decompress(self.slug))) as archive:
            return {m.name: m for m in archive}

    def text(self, name: str) -> str:
        with tarfile.open(fileobj=io.BytesIO(gzip.decompress(self.slug))) as archive:
            file = archive.extractfile(name)
            assert file
            return file.read().decode()


@dataclass
class Place:
    """A root with /app, /work, /octo, /octo-buildpacks and octod's socket; each build starts with empty folders."""

    root: Path
    octod: Octod
    header: dict[str, Any] = field(default_factory=dict)

    def build(self, files: Files | bytes, *, env: Mapping[str, str] | None = None, **header: Any) -> Built:
        self.clean()
        head = {"mode": "buildpack", "app": "shop", "root": str(self.root), **self.header, **header}
        sources = files if isinstance(files, bytes) else tar(files)
        self.octod.blobs.pop("slug", None)
        done = subprocess.run(
            [PYTHON, "-I", "-S", str(self.root / "octo/buildpack_runner.py")],
            input=json.dumps(head).encode() + b"\n" + sources,
            env={"PATH": "/usr/bin:/bin:/usr/sbin", **URLS, **(env or {})},
            capture_output=True,
            check=False,
            timeout=120,
            **as_user(),
        )
        said = done.stderr.decode("utf-8", "replace")
        return Built(done.returncode, said, done.stdout, self.octod.blobs.get("slug", b""))

    def clean(self) -> None:
        for name in ("app", "work"):
            # By rm: what a build left may be too deep for Python.
            subprocess.run(["rm", "-rf", str(self.root / name)], check=True)
            (self.root / name).mkdir()
            own(self.root / name)

    def buildpack(self, name: str, **programs: str) -> Path:
        """Put a built-in buildpack there; a program is the text of a shell script."""
        folder = self.root / "octo-buildpacks" / name
        write_buildpack(folder, programs)
        return folder


def write_buildpack(folder: Path, programs: Mapping[str, str]) -> None:
    (folder / "bin").mkdir(parents=True, exist_ok=True)
    for program, text in programs.items():
        file = folder / "bin" / program
        file.write_text(text if text.startswith("#!") else f"#!/bin/sh\n{text}\n")
        file.chmod(0o755)


@contextmanager
def place(buildpacks: Path | None = None) -> Iterator[Place]:
    """A fresh place; buildpacks: the folder that is copied to be the built-in ones, none when None."""
    root = Path(tempfile.mkdtemp(prefix="octo-runner-"))
    root.chmod(0o755)
    (root / "run/octo").mkdir(parents=True)
    shutil.copytree(CHECKOUT / "octo/guest", root / "octo", ignore=shutil.ignore_patterns("__pycache__"))
    if buildpacks:
        shutil.copytree(buildpacks, root / "octo-buildpacks")
    else:
        (root / "octo-buildpacks").mkdir()
    octod = Octod(root / "run/octo/octo.sock")
    try:
        yield Place(root, octod)
    finally:
        octod.shutdown()
        octod.server_close()
        subprocess.run(["rm", "-rf", str(root)], check=True)


def as_user() -> dict[str, Any]:
    return {"user": USER, "group": USER, "extra_groups": ()} if os.geteuid() == 0 else {}


def own(path: Path) -> None:
    if os.geteuid() == 0:
        os.chown(path, USER, USER)


def tar(files: Files) -> bytes:
    """A tar as `git archive` writes it: bytes are files, text a symlink's target, (text, mode) a file with a mode."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.mode = 0o664
            if isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
                archive.addfile(member)
                continue
            data = content if isinstance(content, bytes) else content[0].encode()
            member.mode = 0o664 if isinstance(content, bytes) else content[1]
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return target.getvalue()


def patiently(ready: Callable[[], bool]) -> None:
    """Wait until it is so."""
    gate = threading.Event()
    while not ready():
        gate.wait(0.01)
