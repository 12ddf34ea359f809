"""A page that says hello. Nothing to install: the standard library of the stack's Python is enough."""

import http.server
import os
import pathlib

GREETING = os.environ.get("GREETING") or pathlib.Path("greeting.txt").read_text().strip()


class Page(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        release = os.environ.get("OCTO_RELEASE", "")
        body = f"<!doctype html><title>octo</title><h1>{GREETING}</h1><p>{release}\n".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


http.server.ThreadingHTTPServer(("0.0.0.0", int(os.environ["PORT"])), Page).serve_forever()  # noqa: S104 - the router asks it
