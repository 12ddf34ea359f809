"""Real git servers on a local port: the git protocol, and plain HTTP for archives."""

import http.server
import os
import socketserver
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

GIT = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    **{f"GIT_{who}_{what}": "ann@octo.test" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
}


def git(where: Path, *words: str) -> str:
    argv = ["git", "-c", "protocol.file.allow=always", "-c", "safe.directory=*", *words]
    return subprocess.run(argv, cwd=where, env=GIT, check=True, capture_output=True, text=True).stdout.strip()


def repository(where: Path, files: Mapping[str, str]) -> str:
    """Make a repository with one commit; programs lie in bin/. Returns the commit."""
    where.mkdir(parents=True, exist_ok=True)
    git(where, "init", "-q", "-b", "main")
    return commit(where, files)


def commit(where: Path, files: Mapping[str, str]) -> str:
    for name, text in files.items():
        file = where / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        if "bin/" in name:
            file.chmod(0o755)
    git(where, "add", "-A")
    git(where, "commit", "-q", "-m", "one", "--allow-empty")
    return git(where, "rev-parse", "HEAD")


@contextmanager
def git_server(folder: Path) -> Iterator[str]:
    """Serve every repository in the folder; yields the URL that their names follow."""

    class Daemon(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            argv = ["git", "-c", "safe.directory=*", "daemon", "--inetd", "--export-all", f"--base-path={folder}"]
            subprocess.run(argv, env=GIT, stdin=self.request, stdout=self.request, check=False)

    with _serving(socketserver.ThreadingTCPServer(("127.0.0.1", 0), Daemon)) as port:
        yield f"git://127.0.0.1:{port}"


@contextmanager
def file_server(folder: Path) -> Iterator[str]:
    """Serve the folder's files over HTTP; yields the URL that their names follow."""

    class Files(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = partial(Files, directory=str(folder))
    with _serving(http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)) as port:
        yield f"http://127.0.0.1:{port}"


@contextmanager
def silent_server() -> Iterator[str]:
    """A server that takes every connection and never says a word; yields its address and port."""

    class Silent(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            while self.request.recv(65536):
                pass

    with _serving(socketserver.ThreadingTCPServer(("127.0.0.1", 0), Silent)) as port:
        yield f"127.0.0.1:{port}"


@contextmanager
def _serving(server: socketserver.ThreadingTCPServer) -> Iterator[int]:
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
