"""Sample apps as dictionaries of file name -> text; `octo/stack` is their base, so that no registry is needed."""

SERVER = """
import http.server, os, signal, socketserver, sys, threading, time

signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
GREETING = open("greeting.txt").read().strip()


class Page(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet: two cost 40 ms of delayed acknowledgement

    def do_GET(self):
        if self.path.startswith("/slow"):
            time.sleep(float(self.path.rpartition("=")[2] or 1))
        if self.path == "/env":
            body = "\\n".join(f"{k}={v}" for k, v in sorted(os.environ.items()))
        elif self.path == "/headers":
            body = str(self.headers)
        else:
            body = f"{GREETING} {os.environ.get('OCTO_RELEASE')} {os.environ.get('WORD', '')}"
        data = body.encode()
        self.send_response(int(self.path[8:]) if self.path.startswith("/status/") else 200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, form, *words):
        print("request", form % words, flush=True)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


print("listening on", os.environ["PORT"], flush=True)
Server((os.environ.get("BIND", "0.0.0.0"), int(os.environ.get("LISTEN") or os.environ["PORT"])), Page).serve_forever()
"""

BASE = "FROM octo/stack\nWORKDIR /srv\n"


def web(greeting: str = "hello", *, more: str = "EXPOSE 5000\n") -> dict[str, str]:
    """Answers every path with its greeting, its release and $WORD."""
    dockerfile = f'{BASE}COPY server.py ./\nCOPY greeting.txt ./\n{more}CMD ["python3", "server.py"]\n'
    return {"Dockerfile": dockerfile, "server.py": SERVER, "greeting.txt": greeting + "\n"}


def command(line: str, *, more: str = "") -> dict[str, str]:
    """Runs one shell line."""
    return {"Dockerfile": f"{BASE}{more}CMD {line}\n"}


def failing(step: str) -> dict[str, str]:
    """A build whose step fails, hangs or floods."""
    return {"Dockerfile": f"{BASE}{step}\nEXPOSE 5000\n"}
