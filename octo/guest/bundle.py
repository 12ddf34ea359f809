#!/usr/bin/python3 -IS
"""The repository as one archive behind a signed URL: fetched before git starts, stored when the refs have moved.

Used where REPO_GET_URL and REPO_PUT_URL are no file:// URLs. The archive is a git bundle of all refs. Absent or broken
means an empty repository. Copied into the sandbox; standard library only.
"""

import _socket
import os
import sys

TYPE_CHECKING = False  # `typing` costs 5 ms to import
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SOCKET = "/run/octo/octo.sock"
GIT = "/usr/bin/git"
CHUNK = 256 * 1024  # bytes


class Answer:
    """One HTTP answer over the receiver's socket: its status, then its body."""

    def __init__(self, method: str, url: str, body: "Iterable[bytes]" = ()) -> None:
        self._octod = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        self._buffer, self._left, self._chunked = b"", -1, False
        try:
            self._ask(method, url, body)
        except BaseException:
            self._octod.close()
            raise

    def _ask(self, method: str, url: str, body: "Iterable[bytes]") -> None:
        self._octod.connect(SOCKET)
        path = "/" + url.split("://", 1)[1].split("/", 1)[1]
        head = f"{method} {path} HTTP/1.1\r\nHost: octo\r\nConnection: close\r\n"
        self._octod.sendall((head + ("Transfer-Encoding: chunked\r\n\r\n" if method == "PUT" else "\r\n")).encode())
        if method == "PUT":
            try:
                for chunk in body:
                    self._octod.sendall(b"%x\r\n%s\r\n" % (len(chunk), chunk))
                self._octod.sendall(b"0\r\n\r\n")
            except BrokenPipeError:
                pass  # octod has answered already
        status = self._line()
        self.status = int(status.split(b" ")[1])
        while line := self._line():
            name, _, value = line.lower().partition(b":")
            if name == b"content-length":
                self._left = int(value)
            self._chunked |= name == b"transfer-encoding" and b"chunked" in value

    def __enter__(self) -> "Answer":  # noqa: PYI034 - `typing` costs 5 ms to import
        return self

    def __exit__(self, *_: object) -> None:
        self._octod.close()

    def chunks(self) -> "Iterator[bytes]":
        """The body. Raises EOFError when it breaks off."""
        if not self._chunked:
            yield from self._exactly(max(self._left, 0))
            return
        while size := int(self._line(), 16):
            yield from self._exactly(size)
            self._line()

    def _exactly(self, size: int) -> "Iterator[bytes]":
        while size:
            if not self._buffer:
                self._more()
            part, self._buffer = self._buffer[:size], self._buffer[size:]
            size -= len(part)
            yield part

    def _line(self) -> bytes:
        while b"\r\n" not in self._buffer:
            self._more()
        line, _, self._buffer = self._buffer.partition(b"\r\n")
        return line

    def _more(self) -> None:
        data = self._octod.recv(CHUNK)
        if not data:
            raise EOFError("the connection to octod broke")
        self._buffer += data


def fetch(url: str, repository: str) -> str:
    """Fill an empty bare repository. Returns what is wrong with what is stored, "" when nothing is.

    Raises OSError when it did not come: what is stored may be sound then, and must not be replaced.
    """
    file = f"{repository}/incoming.bundle"
    try:
        with Answer("GET", url) as answer, open(file, "w+b") as target:
            if answer.status == 404:
                return ""
            if answer.status != 200:
                raise OSError(f"octod answered {answer.status}")
            target.writelines(answer.chunks())
        return unbundle(file, repository)
    except EOFError as error:
        raise OSError(str(error)) from None
    finally:
        if os.path.lexists(file):
            os.unlink(file)


def unbundle(file: str, repository: str) -> str:
    refs = run([GIT, "-C", repository, "bundle", "unbundle", file])
    if refs is None:
        return "it is broken, and taken for empty"
    lines = [line.split(b" ", 1) for line in refs.splitlines() if b" refs/" in line]
    with open(file, "w+b") as updates:
        updates.writelines(b"create %s %s\n" % (ref, commit) for commit, ref in lines)
        updates.seek(0)
        done = run([GIT, "-C", repository, "update-ref", "--stdin"], updates.fileno())
    return "its refs are broken" if done is None else ""


def store(url: str, repository: str) -> str:
    """Put all refs into the archive; an empty repository is left as it is stored. Returns what went wrong."""
    if not run([GIT, "-C", repository, "for-each-ref", "--count=1"]):
        return ""
    try:
        with Answer("PUT", url, bundled(repository)) as answer:
            return "" if answer.status in (200, 201, 204) else f"octod answered {answer.status}"
    except EOFError as error:
        return str(error)


def bundled(repository: str) -> "Iterator[bytes]":
    reader, child = start([GIT, "-C", repository, "bundle", "create", "-q", "-", "--all"], None)
    with open(reader, "rb", buffering=0) as pipe:
        while chunk := pipe.read(CHUNK):
            yield chunk
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
        raise EOFError("git bundle failed")  # before the last chunk: octod stores nothing of it


def run(argv: "list[str]", given: "int | None" = None) -> "bytes | None":
    """What a program prints; None when it failed."""
    reader, child = start(argv, given)
    with open(reader, "rb") as pipe:
        said = pipe.read()
    return said if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0 else None


def start(argv: "list[str]", given: "int | None") -> "tuple[int, int]":
    """Start a program; returns the reading end of its output, and its number."""
    reader, writer = os.pipe()
    actions = [(os.POSIX_SPAWN_DUP2, writer, 1)]
    if given is not None:
        actions.append((os.POSIX_SPAWN_DUP2, given, 0))
    child = os.posix_spawn(argv[0], argv, os.environ, file_actions=actions)
    os.close(writer)
    return reader, child


def post_receive() -> int:
    wrong = store(os.environ["REPO_PUT_URL"], os.getcwd())
    if wrong:
        print(f" !     cannot store the repository: {wrong}. What was deployed serves; push again.", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(post_receive())
