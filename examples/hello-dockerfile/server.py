"""A page with a greeting, on $PORT; ends cleanly on SIGTERM."""

import os
import signal
import threading
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from string import Template

values = {"greeting": Path("greeting.txt").read_text().strip()}
values |= {"release": os.environ.get("OCTO_RELEASE", "v0"), "dyno": os.environ.get("DYNO", "web.1")}
page = Template(Path("page.html").read_text()).substitute({k: escape(v) for k, v in values.items()}).encode()


class Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(page)

    do_HEAD = do_GET


server = ThreadingHTTPServer(("", int(os.environ.get("PORT", "5000"))), Page)
server.daemon_threads = False  # what is being answered is answered before we go
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
server.serve_forever()
server.server_close()
