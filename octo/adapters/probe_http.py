"""Probe by one GET over a plain socket: only the status line is read, so nothing that an app answers can hurt."""

import re
import socket
import time
from urllib.parse import quote

LINE = 1024  # bytes in which the status line must end
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: [^\r\n]*)?\r?\n")
_PATH = "/%?#&=+:@,;~!$'()*[]"


class HttpProbe:
    """An app that takes the connection and says nothing in time counts as open (0): it listens, and is not ready."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout  # seconds, of the whole probe

    def http(self, address: str, port: int, path: str, host: str) -> int | None:
        deadline = time.monotonic() + self._timeout
        try:
            sock = socket.create_connection((address, port), self._timeout)
        except OSError:
            return None
        with sock:
            try:
                sock.sendall(_request(path, host))
                line = _first_line(sock, deadline)
            except OSError:
                return 0
        found = _STATUS.match(line)
        return int(found[1]) if found else 0


def _request(path: str, host: str) -> bytes:
    """The path is quoted and the host stripped, so that neither can bring a header of its own."""
    name = "".join(c for c in host if c.isascii() and c.isprintable() and c != " ")
    lines = (
        f"GET {quote(path, safe=_PATH)} HTTP/1.1",
        f"Host: {name}",
        "User-Agent: octo-probe",
        "Accept: */*",
        "Connection: close",
    )
    return "\r\n".join((*lines, "", "")).encode()


def _first_line(sock: socket.socket, deadline: float) -> bytes:
    data = b""
    while b"\n" not in data and len(data) < LINE:
        left = deadline - time.monotonic()
        if left <= 0:
            break
        sock.settimeout(left)
        part = sock.recv(LINE - len(data))
        if not part:
            break
        data += part
    return data
