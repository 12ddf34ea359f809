"""The server of static sites, run as in an app's container: what visitors get, and what they never get."""

import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

SERVER = Path(__file__).resolve().parents[3] / "buildpacks/static/lib/static_server.py"
BIG = os.urandom(8 << 20)


@dataclass
class Site:
    port: int
    program: subprocess.Popen[str]

    def ask(
        self, path: str, method: str = "GET", headers: Mapping[str, str] | None = None
    ) -> tuple[int, bytes, http.client.HTTPMessage]:
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        link.putrequest(method, path, skip_accept_encoding=True)
        for name, value in (headers or {}).items():
            link.putheader(name, value)
        link.endheaders()
        answer = link.getresponse()
        content = answer.read()
        link.close()
        return answer.status, content, answer.headers


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    app = tmp_path_factory.mktemp("app")
    (app / ".octo").mkdir()
    shutil.copy(SERVER, app / ".octo")
    (app / ".octo/static-root").write_text("dist")
    files: dict[str, bytes] = {
        "secret": b"outside", "dist/index.html": b"home", "dist/style.css": b"css", "dist/app.mjs": b"js",
        "dist/a b/index.html": b"blank",
        "dist/empty/x.txt": b"x", "dist/.env": b"outside", "dist/.git/config": b"outside",
        "dist/.well-known/acme": b"token",
        "dist/big.bin": BIG, "dist/404.html": b"my own 404", "dist/\xe9.txt".encode(): b"utf", "dist/..odd": b"outside",
    }  # type: ignore[dict-item] # fmt: skip
    for name, content in files.items():
        file = app / os.fsdecode(name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    (app / "dist/out").symlink_to("../secret")
    (app / "dist/outside").symlink_to("..")
    (app / "dist/passwd").symlink_to("/etc/passwd")
    (app / "dist/dotted").symlink_to(".env")
    (app / "dist/inside").symlink_to("style.css")
    (app / "dist/loop").symlink_to("loop")
    os.mkfifo(app / "dist/pipe")
    return app


@pytest.fixture
def site(folder: Path) -> Iterator[Site]:
    argv = [sys.executable, "-I", ".octo/static_server.py"]
    with subprocess.Popen(argv, cwd=folder, env={"PORT": "0"}, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout
        yield Site(int(program.stdout.readline().split()[-1]), program)
        program.terminate()
        assert program.wait(20) == 0


@pytest.mark.parametrize(
    ("path", "content", "kind"),
    [
        ("/", b"home", "text/html; charset=utf-8"),
        ("/index.html", b"home", "text/html; charset=utf-8"),
        ("//style.css?v=1", b"css", "text/css; charset=utf-8"),
        ("/app.mjs", b"js", "text/javascript; charset=utf-8"),
        ("/a%20b/", b"blank", "text/html; charset=utf-8"),
        ("/%C3%A9.txt", b"utf", "text/plain; charset=utf-8"),
        ("/inside", b"css", "text/css; charset=utf-8"),
        ("/.well-known/acme", b"token", "application/octet-stream"),
        ("/big.bin", BIG, "application/octet-stream"),
    ],
)
def test_files_are_served_with_their_kind(site: Site, path: str, content: bytes, kind: str) -> None:
    status, body, head = site.ask(path)
    assert (status, head["Content-Type"], head["Content-Length"]) == (200, kind, str(len(content)))
    assert body == content
    status, body, again = site.ask(path, "HEAD")
    assert (status, body, again["Content-Length"]) == (200, b"", str(len(content)))


@pytest.mark.parametrize(
    "path",
    ["/none", "/empty/", "/.env", "/.git/config", "/../secret", "/%2e%2e/secret", "/..%2fsecret", "/a%20b/../../secret",
     "/out", "/outside/secret", "/outside/", "/passwd", "/dotted", "/loop", "/pipe", "/..odd", "/%00",
     "/style.css%00.html",
     "/style.css/x", "/" + "x" * 5000, "/" + "x/" * 5000, "/.octo/static-root", "/%2e/.env", "/.well-known/../.env"],
)  # fmt: skip
def test_what_is_not_for_visitors_is_not_there(site: Site, path: str) -> None:
    status, body, _ = site.ask(path)
    assert (status, body) == (404, b"my own 404")


def test_a_folder_is_redirected_to_itself_and_nowhere_else(site: Site) -> None:
    status, _, head = site.ask("/a%20b?x=1")
    assert (status, head["Location"]) == (301, "/a%20b/?x=1")
    status, _, head = site.ask("//empty")
    assert (status, head["Location"]) == (301, "/empty/")


def test_a_file_that_the_visitor_has_is_not_sent_again(site: Site) -> None:
    _, _, head = site.ask("/style.css")
    for name, value in (("If-None-Match", head["ETag"]), ("If-None-Match", f'"x", W/{head["ETag"]}'),
                        ("If-None-Match", "*"), ("If-Modified-Since", head["Last-Modified"])):  # fmt: skip
        status, body, again = site.ask("/style.css", headers={name: value})
        assert (status, body, again["ETag"]) == (304, b"", head["ETag"])
    for name, value in (("If-None-Match", '"x"'), ("If-Modified-Since", "Thu, 01 Jan 1970 00:00:00 GMT"),
                        ("If-Modified-Since", "yesterday")):  # fmt: skip
        assert site.ask("/style.css", headers={name: value})[:2] == (200, b"css")


def test_a_connection_serves_many_requests_in_order(site: Site) -> None:
    with socket.create_connection(("127.0.0.1", site.port), timeout=20) as link:
        link.sendall(
            b"GET /style.css HTTP/1.1\r\nHost: x\r\n\r\n" * 3
            + b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        said = b""
        while part := link.recv(65536):
            said += part
    assert said.count(b"HTTP/1.1 200 OK") == 4
    assert said.count(b"\r\n\r\ncss") == 3
    assert said.endswith(b"home")


def test_a_body_is_not_taken_for_a_request(site: Site) -> None:
    smuggled = b"GET /style.css HTTP/1.1\r\nHost: x\r\n\r\n"
    with socket.create_connection(("127.0.0.1", site.port), timeout=20) as link:
        link.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(smuggled) + smuggled)
        said = b""
        while part := _received(link):
            said += part
    assert said.count(b"HTTP/1.1") == 1
    assert said.endswith(b"home")


def _received(link: socket.socket) -> bytes:
    try:
        return link.recv(65536)
    except ConnectionResetError:  # it closed with our body unread
        return b""


def test_other_methods_are_refused(site: Site) -> None:
    assert site.ask("/", "POST")[0] == 501
    assert site.ask("/")[0] == 200


def test_silent_visitors_keep_nobody_waiting(site: Site) -> None:
    silent = [socket.create_connection(("127.0.0.1", site.port)) for _ in range(200)]
    assert site.ask("/")[:2] == (200, b"home")
    for link in silent:
        link.close()


def test_an_answer_under_way_is_finished_before_it_ends(site: Site) -> None:
    with socket.create_connection(("127.0.0.1", site.port), timeout=20) as link:
        link.sendall(b"GET /big.bin HTTP/1.1\r\nHost: x\r\n\r\n")
        said = bytearray(link.recv(1024))
        site.program.send_signal(signal.SIGTERM)
        while part := link.recv(65536):
            said += part
    assert said.partition(b"\r\n\r\n")[2] == BIG
    assert site.program.wait(20) == 0


def test_without_a_404_page_it_says_so_in_plain_text(folder: Path, tmp_path: Path) -> None:
    app = tmp_path / "app"
    shutil.copytree(folder / ".octo", app / ".octo")
    (app / ".octo/static-root").write_text("")
    argv = [sys.executable, "-I", ".octo/static_server.py"]
    with subprocess.Popen(argv, cwd=app, env={"PORT": "0"}, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout
        here = Site(int(program.stdout.readline().split()[-1]), program)
        status, body, head = here.ask("/")
        assert (status, body, head["Content-Type"]) == (
            404,
            b"There is no such page here.\n",
            "text/plain; charset=utf-8",
        )
        program.terminate()
