"""A stand-in for octod's API: the real paths over a real Unix socket, on a state in memory."""

import contextlib
import json
import os
import queue
import socketserver
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from tests.unit.octo.cli.stub_http import STEPS, Answers, Json, Refused, attacher

WHEN = "2026-11-20T21:56:00Z"


class State:
    """One account's apps. `seen` holds every request; `token` is the only one that is let in, "" lets all in."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "api.sock"
        self.attach = folder / "attach.sock"
        self.token = ""
        self.seen: list[tuple[str, str, Json]] = []
        self.config: dict[str, dict[str, str]] = {"shop": {}}
        self.domains: dict[str, list[str]] = {"shop": []}
        self.keys: list[dict[str, str]] = []
        self.formation = {"web": 1}
        self.faults: list[Json] = []  # of apps' templates
        self.findings: list[Json] = [{"check": "engine", "ok": True, "detail": "Docker 20.10.24", "hint": ""}]
        self.logs = [b"2026-11-20T21:56:00Z app[web.1]: hello\n"]
        self.output = [b"-----> Building\n"]
        self.slug = bytes(range(256)) * 4096
        self.slug_length = len(self.slug)
        self.tails: queue.Queue[str] = queue.Queue()  # "open" and "closed" of endless log streams

    def app(self, name: str) -> Json:
        if name not in self.config:
            raise Refused(404, "not_found", f'cannot find the app "{name}"', code=20)
        return {
            "name": name,
            "web_url": f"http://{name}.localhost:8080",
            "git_url": f"ssh://git@localhost:2222/{name}.git",
            "created_at": WHEN,
            "release": {"version": 2},
            "owner": {"email": "ann"},
        }

    def serve(self, attach: Callable[[list[int]], str] | None = None) -> "contextlib.AbstractContextManager[State]":
        return _serving(self, attach or (lambda streams: "exit 0"))


def release(version: int) -> Json:
    return {
        "version": version,
        "status": "succeeded",
        "current": version == 2,
        "description": f"Deploy {version}",
        "created_at": WHEN,
        "user": {"email": "ann"},
        "commit": "c0ffee00" * 5,
        "slug": {"id": "b1"},
        "took": {"start": 1.25},
        "processes": {"web": "", "worker": "work"},
    }


BUILD = {
    "id": "b1",
    "status": "succeeded",
    "created_at": WHEN,
    "ref": "main",
    "source_blob": {"version": "c0ffee00" * 5},
    "slug": {"id": "b1", "name": f"ann/shop/main/{'c0ffee00' * 5}", "size": 1024 * 1024},
    "release": {"version": 2},
    "user": {"email": "ann"},
    "took": 3.5,
}


class _Handler(Answers):
    server: "_Server"

    def handle_any(self) -> None:
        split = urlsplit(self.path)
        parts = [unquote(part) for part in split.path.split("/")[1:]]
        size = int(self.headers.get("content-length") or 0)
        body = json.loads(self.rfile.read(size)) if size else None
        state = self.server.state
        state.seen.append((self.command, self.path, body))
        self.close_connection = True
        try:
            if state.token and self.headers.get("authorization") != f"Bearer {state.token}":
                raise Refused(403, "forbidden", "not an authorized user")
            self.route(state, parts, parse_qs(split.query), body)
        except Refused as refused:
            self.json(refused.document, refused.status)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any  # noqa: N815 - http.server wants these names

    def route(self, state: State, parts: list[str], query: dict[str, list[str]], body: Json) -> None:
        match (self.command, *parts):
            case ("GET", "apps"):
                self.json([state.app(name) for name in state.config])
            case ("POST", "apps"):
                if body["name"] in state.config:
                    raise Refused(422, "invalid_params", f'cannot create "{body["name"]}": the name is taken')
                state.config[body["name"]] = {}
                self.json(state.app(body["name"]), 201)
            case (_, "apps", name, *rest):
                state.app(name)
                self.app(state, name, rest, query, body)
            case (_, "account", "keys", *rest):
                self.keys(state, rest, body)
            case ("POST", "octo", "imports" | "moves"):
                self.deployed({})
            case ("GET", "logs" | "octo", _) | ("POST", "octo", "router"):
                self.server_wide(state, parts)
            case _:
                raise Refused(404, "not_found", "cannot find that resource")

    def keys(self, state: State, rest: list[str], body: Json) -> None:
        match (self.command, *rest):
            case ("GET",):
                self.json(state.keys)
            case ("POST",):
                key = {"fingerprint": "SHA256:ab/c+", "created_at": WHEN, **body}
                state.keys.append(key)
                self.json(key, 201)
            case ("DELETE", needle):
                gone = [k for k in state.keys if needle in (k["user"], k["fingerprint"])]
                if not gone:
                    raise Refused(404, "not_found", "cannot remove that key: there is none")
                self.json(gone)

    def server_wide(self, state: State, parts: list[str]) -> None:
        match tuple(parts):
            case ("logs", "L1"):
                self.chunks("text/plain; charset=utf-8", state.logs)
            case ("logs", "endless"):
                self.endless(state)
            case ("octo", "status"):
                self.json([{"name": n, "status": "OK" if n == "shop" else "DOWN", "url": ""} for n in state.config])
            case ("octo", "doctor"):
                self.json(state.findings)
            case ("octo", "router"):
                self.json({"apps": len(state.config), "faults": state.faults})
            case ("octo", "version"):
                self.json({"octo": "0.1.0", "engine": "20.10.24", "store": "SQLite at /x", "consul": False})
            case _:
                raise Refused(404, "not_found", "cannot find that resource")

    def app(self, state: State, name: str, rest: list[str], query: dict[str, list[str]], body: Json) -> None:
        match (self.command, *rest):
            case ("GET",):
                self.json(state.app(name))
            case ("PATCH",):
                state.config[body["name"]] = state.config.pop(name)
                self.json(state.app(body["name"]))
            case ("DELETE",):
                self.json(state.app(name))
                del state.config[name]
            case ("GET", "branches"):
                self.json([])
            case ("GET", "config-vars"):
                self.json(state.config[name])
            case ("PATCH", "config-vars"):
                merged = {**state.config[name], **body}
                state.config[name] = {k: v for k, v in merged.items() if v is not None}
                steps = (
                    [] if query.get("restart") == ["0"] else [("step", "Deploying v3"), ("result", "shop v3 serves")]
                )
                self.deployed(state.config[name], *steps)
            case ("GET", "domains"):
                own = {"hostname": f"{name}.localhost", "kind": "heroku", "created_at": WHEN}
                added = [{"hostname": h, "kind": "custom", "created_at": WHEN} for h in state.domains[name]]
                self.json([own, *added])
            case ("POST", "domains"):
                state.domains[name].append(body["hostname"])
                self.json({"hostname": body["hostname"], "created_at": WHEN}, 201)
            case ("PUT", "domains"):
                state.domains[name] = body["hostnames"]
                self.json([])
            case ("POST", "router"):
                self.json({"app": name})
            case ("DELETE", "domains", host):
                state.domains[name].remove(host)
                self.json({"hostname": host})
            case _:
                self.processes(state, name, rest, body)

    def processes(self, state: State, name: str, rest: list[str], body: Json) -> None:
        match (self.command, *rest):
            case ("GET", "dynos"):
                dyno = {"name": "web.1", "type": "web", "state": "up", "command": "run\x1b[2J it", "updated_at": WHEN}
                self.json([{**dyno, "release": {"version": 2}, "address": "10.213.0.2"}])
            case ("POST", "dynos"):
                self.json({"name": "run.1", "attach_url": str(state.attach), "attach_secret": "s3cret"}, 201)
            case ("DELETE", "dynos", *_kind):
                self.deployed({}, ("step", f"Restarting {name}"), ("detail", "web.1"), ("raw", "a\nb\x1b[2J\n"))
            case ("POST", "actions", "start"):
                lines = [b'{"console": ["step", "Starting"]}\n', b'{"console": ["error", "web.1 died"]}\n']
                failed = {
                    "id": "invalid_params",
                    "message": "cannot start: it died",
                    "hint": "See octo logs.",
                    "exit": 1,
                }
                self.chunks(STEPS, [*lines, json.dumps({"error": failed}).encode()])
            case ("POST", "actions", "stop" | "rebuild"):
                self.deployed({})
            case ("GET", "formation"):
                self.json([{"type": t, "quantity": n, "command": "x"} for t, n in state.formation.items()])
            case ("PATCH", "formation"):
                state.formation |= {u["type"]: u["quantity"] for u in body["updates"]}
                self.deployed([], ("step", "Scaling"))
            case ("POST", "log-sessions"):
                self.json({"logplex_url": "/logs/endless" if body["tail"] else "/logs/L1"}, 201)
            case _:
                self.history(state, rest, body)

    def history(self, state: State, rest: list[str], body: Json) -> None:
        match (self.command, *rest):
            case ("GET", "releases"):
                self.json([release(1), release(2)])
            case ("GET", "releases", number):
                self.json(release(int(number)))
            case ("POST", "releases"):
                self.deployed(release(3), ("result", f"back to {body.get('release', 'the one before')}"))
            case ("GET", "builds"):
                self.json([BUILD])
            case ("GET", "builds", "b1"):
                self.json(BUILD)
            case ("GET", "builds", "b1", "output"):
                self.chunks("text/plain", state.output)
            case ("GET", "builds", "b1", "slug"):
                self.head(200, "application/gzip", state.slug_length)
                self.wfile.write(state.slug)
            case _:
                raise Refused(404, "not_found", "cannot find that resource")

    def endless(self, state: State) -> None:
        """One line, then nothing until the reader hangs up."""
        self.head(200, "text/plain; charset=utf-8", None)
        self.chunk(state.logs[0])
        state.tails.put("open")
        with contextlib.suppress(ConnectionError):  # it died with the line unread
            self.connection.recv(1)
        state.tails.put("closed")


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 64
    state: State

    def handle_error(self, request: object, client_address: object) -> None:
        """Readers of the tests hang up; that is no news."""


@contextlib.contextmanager
def _serving(state: State, attach: Callable[[list[int]], str]) -> Iterator[State]:
    server = _Server(str(state.path), _Handler)
    server.state = state
    rendezvous = socketserver.UnixStreamServer(str(state.attach), attacher(attach))
    for path in (state.path, state.attach):
        path.chmod(0o666)
    started = [threading.Thread(target=s.serve_forever, args=[0.02], daemon=True) for s in (server, rendezvous)]
    for thread in started:
        thread.start()
    try:
        yield state
    finally:
        for each in (server, rendezvous):
            each.shutdown()
            each.server_close()
        for thread in started:
            thread.join()


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))
