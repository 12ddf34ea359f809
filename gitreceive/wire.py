"""The one message between octo's small programs and octod: words, and open file descriptors.

A Unix stream socket carries one message, then stays open as the sign that the caller lives:

    4 bytes  length of the rest, big endian
    words    joined by NUL: kind, the number of fields, key, value, ..., then the arguments

The first byte carries the descriptors (SCM_RIGHTS): stdin, stdout, stderr of the caller, in this order.
octod answers one line, "exit N\n", or for a question "yes TEXT\n" / "no\n". A caller that hangs up has gone.
`_socket` and not `socket`: the latter's imports cost 12 ms, more than the whole program; `array` costs 1 ms.
"""

import _socket
import sys

LIMIT = 4 * 1024 * 1024  # bytes of one message
INT = 4  # bytes of a descriptor in SCM_RIGHTS


class Malformed(Exception):
    """The other side sent something that is no message."""


class Gone(Exception):
    """Nobody reads the caller's output any more."""


def pack(kind: str, fields: "dict[str, str]", arguments: "list[str]") -> bytes:
    words = [kind, str(len(fields)), *(w for pair in fields.items() for w in pair), *arguments]
    body = b"\0".join(w.replace("\0", "").encode("utf-8", "surrogateescape") for w in words)
    return len(body).to_bytes(4, "big") + body


def unpack(body: bytes) -> "tuple[str, dict[str, str], list[str]]":
    words = [w.decode("utf-8", "surrogateescape") for w in body.split(b"\0")]
    try:
        kind, count, rest = words[0], int(words[1]), words[2:]
    except (IndexError, ValueError):
        raise Malformed("no kind or count") from None
    if not 0 <= 2 * count <= len(rest):
        raise Malformed("fewer words than the count says")
    pairs = rest[: 2 * count]
    return kind, dict(zip(pairs[::2], pairs[1::2], strict=True)), rest[2 * count :]


def send(sock: "_socket.socket", message: bytes, descriptors: "list[int]") -> None:
    packed = b"".join(number.to_bytes(INT, sys.byteorder) for number in descriptors)
    sent = sock.sendmsg([message], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, packed)] if packed else [])
    if sent < len(message):  # an empty send fails when octod has answered already
        sock.sendall(message[sent:])


def receive(sock: "_socket.socket", most: int = 3) -> "tuple[bytes, list[int]]":
    """Read one message's body and its descriptors (the caller closes them).

    Raises Malformed; descriptors that came are closed then.
    """
    held: list[int] = []
    data = b""
    need = 4
    try:
        while len(data) < need:
            part, rights, flags, _ = sock.recvmsg(65536, _socket.CMSG_SPACE(most * INT))
            for level, kind, payload in rights:
                if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS:
                    whole = range(0, len(payload) - len(payload) % INT, INT)
                    held += [int.from_bytes(payload[at : at + INT], sys.byteorder) for at in whole]
            data += part
            if not part or flags & _socket.MSG_CTRUNC:
                raise Malformed("cut short")
            if need == 4 and len(data) >= 4:
                need = 4 + int.from_bytes(data[:4], "big")
                if need > LIMIT:
                    raise Malformed("too long")
    except BaseException:
        close(held)
        raise
    return data[4:need], held


def close(descriptors: "list[int]") -> None:
    import os

    for number in descriptors:
        os.close(number)


def call(path: str, message: bytes, descriptors: "list[int]", reader: int = -1) -> str:
    """Ask octod at `path` and return its one-line answer; "" when it hung up without one. Raises OSError.

    reader: a descriptor of the caller's; when nobody reads from it any more, hang up and raise Gone.
    """
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        sock.connect(path)
        send(sock, message, descriptors)
        return answer(sock, reader)
    finally:
        sock.close()


def answer(sock: "_socket.socket", reader: int = -1) -> str:
    """Wait for octod's one line, as `call` does."""
    import select

    waiting = select.poll()
    waiting.register(sock.fileno(), select.POLLIN)
    if reader >= 0:
        waiting.register(reader, 0)  # POLLERR and POLLHUP come unasked
    line = b""
    while not line.endswith(b"\n"):
        if all(number != sock.fileno() for number, _ in waiting.poll()):
            raise Gone
        try:
            part = sock.recv(4096)
        except ConnectionResetError:  # octod died with our message unread
            part = b""
        if not part:
            return ""
        line += part
    return line[:-1].decode("utf-8", "surrogateescape")
