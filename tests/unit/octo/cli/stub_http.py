"""How the stand-in for octod's API answers: JSON, chunks, steps, and a process that takes the caller's streams."""

import json
import socketserver
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

from gitreceive import wire

Json = Any
STEPS = "application/x-ndjson"


class Refused(Exception):
    def __init__(self, status: int, id: str, message: str, code: int = 1, hint: str = "Do the right thing.") -> None:
        super().__init__(message)
        self.status = status
        self.document = {"id": id, "message": message, "hint": hint, "exit": code}


class Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def address_string(self) -> str:
        return "unix"

    def log_message(self, *_: object) -> None:
        pass

    def json(self, document: Json, status: int = 200) -> None:
        data = json.dumps(document).encode()
        self.head(status, "application/json", len(data))
        self.wfile.write(data)

    def head(self, status: int, kind: str, length: int | None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        if length is not None:
            self.send_header("Content-Length", str(length))
        else:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def chunks(self, kind: str, parts: "list[bytes]") -> None:
        self.head(200, kind, None)
        for part in parts:
            self.chunk(part)
        self.chunk(b"")

    def deployed(self, result: Json, *console: tuple[str, str]) -> None:
        """As octod answers a request that deploys: steps when they are accepted, else the result alone."""
        if STEPS not in self.headers.get("accept", ""):
            self.json(result)
            return
        lines = [{"console": list(line)} for line in console] + [{"result": result}]
        self.chunks(STEPS, [json.dumps(line).encode() + b"\n" for line in lines])


def attacher(attach: Callable[[list[int]], str]) -> type[socketserver.BaseRequestHandler]:
    class Attached(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            body, streams = wire.receive(self.request)
            try:
                kind, fields, _ = wire.unpack(body)
                right = (kind, fields) == ("attach", {"secret": "s3cret"})
                answer = attach(streams) if right else "exit 99"
            finally:
                wire.close(streams)
            self.request.sendall(answer.encode() + b"\n")

    return Attached
