"""Serve a folder of files over HTTP on $PORT: what a site needs, and nothing that is not meant for visitors.

GET and HEAD; index.html for folders, 404.html for what is not there; ETag and Last-Modified; connections kept open.
Never served: names that begin with a dot (but /.well-known/), what links lead out of the folder to, lists of files.
The folder's name is in `static-root` beside this file, as seen from the folder above. Standard library only.
"""

import http.server
import os
import signal
import stat
import sys
import threading
from email.utils import formatdate, parsedate_to_datetime
from http import HTTPStatus
from urllib.parse import quote, unquote_to_bytes, urlsplit

IDLE = 75.0  # seconds that a connection may be silent
GRACE = 8.0  # seconds for answers under way when it is told to end
TEXT = "; charset=utf-8"
# By hand and not by `mimetypes`: that one depends on files of the system, and lacks half of these.
TYPES = {
    "html htm": "text/html" + TEXT, "css": "text/css" + TEXT, "js mjs": "text/javascript" + TEXT,
    "json map": "application/json", "webmanifest": "application/manifest+json", "txt log": "text/plain" + TEXT,
    "md": "text/markdown" + TEXT, "csv": "text/csv" + TEXT, "xml": "application/xml", "xhtml": "application/xhtml+xml",
    "rss": "application/rss+xml", "atom": "application/atom+xml", "svg": "image/svg+xml", "png apng": "image/png",
    "jpg jpeg": "image/jpeg", "gif": "image/gif", "webp": "image/webp", "avif": "image/avif", "bmp": "image/bmp",
    "ico": "image/vnd.microsoft.icon", "woff": "font/woff", "woff2": "font/woff2", "ttf": "font/ttf",
    "otf": "font/otf", "wasm": "application/wasm", "pdf": "application/pdf", "zip": "application/zip",
    "gz tgz": "application/gzip", "mp3": "audio/mpeg", "ogg": "audio/ogg", "wav": "audio/wav", "m4a": "audio/mp4",
    "mp4": "video/mp4", "webm": "video/webm", "ics": "text/calendar" + TEXT, "vtt": "text/vtt" + TEXT,
}  # fmt: skip
BY_END = {end: kind for ends, kind in TYPES.items() for end in ends.split()}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "octo-static", ""
    timeout = IDLE
    disable_nagle_algorithm = True  # head and body are two writes
    server: "Server"

    def do_GET(self) -> None:
        with self.server.answering():
            self.answer()

    do_HEAD = do_GET

    def answer(self) -> None:
        self.close_after_body()
        target = urlsplit(self.path)
        path = unquote_to_bytes(target.path)
        found = self.server.find(path)
        if found and os.path.isdir(found):
            if not path.endswith(b"/"):
                there = "/" + quote(path.strip(b"/")) + "/"  # one slash: two would lead to another host
                self.redirect(there + ("?" + target.query if target.query else ""))
                return
            found = self.server.find(path + b"index.html")
        if found and self.send(found, HTTPStatus.OK):
            return
        missing = self.server.find(b"/404.html")
        if not (missing and self.send(missing, HTTPStatus.NOT_FOUND)):
            self.say(HTTPStatus.NOT_FOUND, "There is no such page here.\n")

    def close_after_body(self) -> None:
        """A body, which nobody needs here, would be taken for the next request."""
        if self.headers.get("Content-Length", "0").strip() != "0" or "Transfer-Encoding" in self.headers:
            self.close_connection = True

    def send(self, path: bytes, status: HTTPStatus) -> bool:
        """Answer with the file; False when it cannot be opened."""
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return False
        with open(descriptor, "rb") as file:
            about = os.fstat(descriptor)
            if not stat.S_ISREG(about.st_mode):
                return False
            tag = f'"{about.st_mtime_ns:x}-{about.st_size:x}"'
            if status == HTTPStatus.OK and self.has_it(tag, about.st_mtime):
                self.begin(HTTPStatus.NOT_MODIFIED, about, tag)
                return True
            self.begin(status, about, tag, kind=kind_of(path))
            if self.command != "HEAD":
                self.connection.sendfile(file, 0, about.st_size)
        return True

    def has_it(self, tag: str, changed: float) -> bool:
        """Whether the visitor has this version of the file already."""
        tags = self.headers.get("If-None-Match")
        if tags is not None:
            return tags.strip() == "*" or tag in [t.strip().removeprefix("W/") for t in tags.split(",")]
        try:
            since = parsedate_to_datetime(self.headers.get("If-Modified-Since", ""))
            return int(changed) <= since.timestamp()
        except (TypeError, ValueError, IndexError, OverflowError):
            return False

    def begin(self, status: HTTPStatus, about: os.stat_result, tag: str, *, kind: str = "") -> None:
        self.send_response(status)
        if kind:
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(about.st_size))
        self.send_header("ETag", tag)
        self.send_header("Last-Modified", formatdate(about.st_mtime, usegmt=True))
        self.send_header("Cache-Control", "no-cache")  # which means: ask whether it has changed
        self.finish_head()

    def redirect(self, where: str) -> None:
        self.send_response(HTTPStatus.MOVED_PERMANENTLY)
        self.send_header("Location", where)
        self.send_header("Content-Length", "0")
        self.finish_head()

    def say(self, status: HTTPStatus, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "text/plain" + TEXT)
        self.send_header("Content-Length", str(len(text)))
        self.finish_head()
        if self.command != "HEAD":
            self.wfile.write(text.encode())

    def finish_head(self) -> None:
        self.send_header("X-Content-Type-Options", "nosniff")
        if self.close_connection or self.server.ending:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the router in front keeps the log."""


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 512
    daemon_threads = True

    def __init__(self, port: int, root: str, host: str = "") -> None:
        self.root = os.path.realpath(os.fsencode(root))
        self.ending = False
        self.busy = 0
        self.idle = threading.Condition()
        super().__init__((host, port), Handler)

    def find(self, path: bytes) -> "bytes | None":
        """The file or folder that a path means, inside the root after all links; None when there is none."""
        parts = [p for p in path.split(b"/") if p]
        if b"\0" in path or any(p.startswith(b".") and p != b".well-known" for p in parts):
            return None
        found = os.path.realpath(b"/".join([self.root, *parts]))
        if found != self.root and not found.startswith(self.root.rstrip(b"/") + b"/"):
            return None
        hidden = any(p.startswith(b".") and p != b".well-known" for p in found[len(self.root) :].split(b"/"))
        return found if not hidden and os.path.exists(found) else None

    def answering(self) -> "Busy":
        return Busy(self)

    def end(self) -> None:
        """Take no more connections, and let the answers under way come to their end."""
        self.ending = True
        self.shutdown()

    def handle_error(self, request: object, client_address: object) -> None:
        """Visitors hang up; anything else is worth a line."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            print(f"static_server: {type(error).__name__}: {error}", file=sys.stderr, flush=True)


class Busy:
    """Counts one answer while it is under way."""

    def __init__(self, server: Server) -> None:
        self.server = server

    def __enter__(self) -> None:
        with self.server.idle:
            self.server.busy += 1

    def __exit__(self, *_: object) -> None:
        with self.server.idle:
            self.server.busy -= 1
            self.server.idle.notify_all()


def kind_of(path: bytes) -> str:
    return BY_END.get(os.fsdecode(path).rpartition(".")[2].lower(), "application/octet-stream")


def main() -> int:
    here = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(here, "static-root"), encoding="utf-8") as file:
        root = os.path.join(os.path.dirname(here), file.read())
    server = Server(int(os.environ.get("PORT", "5000")), root)
    for number in (signal.SIGTERM, signal.SIGINT):  # the first process of a container has no default for them
        signal.signal(number, lambda *_: threading.Thread(target=server.end).start())
    print(f"serving {os.path.normpath(root)} on port {server.server_address[1]}", flush=True)
    server.serve_forever()
    server.socket.close()
    with server.idle:
        server.idle.wait_for(lambda: server.busy == 0, GRACE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
