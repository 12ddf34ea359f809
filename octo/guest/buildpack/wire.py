"""GET and PUT of whole files over octod's Unix socket, in chunks: http.client alone would take 25 ms to import."""

import socket
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import BinaryIO

from .job import Job
from .program import CHUNK

_PATIENCE = 120.0  # seconds without a byte


def put(job: Job, url: str, chunks: Iterable[bytes]) -> int:
    """Send the chunks; the status of the answer. Raises OSError; what `chunks` raises ends the call unfinished."""
    with _call(job, "PUT", url, "Transfer-Encoding: chunked\r\nContent-Type: application/gzip\r\n") as octod:
        with suppress(BrokenPipeError, ConnectionResetError):  # octod has answered already
            for chunk in chunks:
                if chunk:
                    octod.sendall(b"%x\r\n" % len(chunk))
                    octod.sendall(chunk)
                    octod.sendall(b"\r\n")
            octod.sendall(b"0\r\n\r\n")
        with octod.makefile("rb") as answer:
            return _head(answer)[0]


def get(job: Job, url: str) -> Iterator[bytes]:
    """The content in chunks; none when there is no such thing. Raises OSError, also when it is cut off."""
    with _call(job, "GET", url) as octod, octod.makefile("rb") as answer:
        status, fields = _head(answer)
        if status == 404:
            return
        if status != 200:
            raise OSError(f"octod answered {status}")
        if fields.get(b"transfer-encoding") == b"chunked":
            while size := int(answer.readline().split(b";")[0], 16):
                yield from _exactly(answer, size)
                answer.readline()
        elif b"content-length" in fields:
            yield from _exactly(answer, int(fields[b"content-length"]))
        else:
            while chunk := answer.read(CHUNK):
                yield chunk


def _call(job: Job, method: str, url: str, fields: str = "") -> socket.socket:
    path = "/" + url.split("://", 1)[1].partition("/")[2]
    octod = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    octod.settimeout(_PATIENCE)
    try:
        octod.connect(job.socket)
        octod.sendall(f"{method} {path} HTTP/1.1\r\nHost: octo\r\nConnection: close\r\n{fields}\r\n".encode())
    except BaseException:
        octod.close()
        raise
    return octod


def _head(answer: BinaryIO) -> tuple[int, dict[bytes, bytes]]:
    words = answer.readline(65536).split()
    if len(words) < 2 or not words[1].isdigit():
        raise OSError("octod gave no answer")
    fields = {}
    while (line := answer.readline(65536).strip()) != b"":
        name, _, value = line.partition(b":")
        fields[name.strip().lower()] = value.strip().lower()
    return int(words[1]), fields


def _exactly(answer: BinaryIO, size: int) -> Iterator[bytes]:
    while size:
        chunk = answer.read(min(size, CHUNK))
        if not chunk:
            raise OSError("octod hung up in the middle")
        size -= len(chunk)
        yield chunk
