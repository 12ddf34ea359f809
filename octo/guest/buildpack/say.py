"""Words for the pusher, on stderr: steps, details, errors, and the output of programs, indented as it comes."""

import os
import re
import threading

_FLUSH = 8 * 1024  # bytes of a line without an end that are not kept back any longer
# Old buildpacks begin their lines with "to column one" or a colour.
_AS_IT_IS = re.compile(rb"(?:\x1b\[[0-9;]*[A-Za-z])*(?:----->|=====>| !| {7})")
_lock = threading.Lock()


def step(text: str) -> None:
    raw(f"-----> {text}\n".encode("utf-8", "replace"))


def detail(text: str) -> None:
    raw(f"       {text}\n".encode("utf-8", "replace"))


def error(text: str) -> None:
    raw(f" !     {text}\n".encode("utf-8", "replace"))


def raw(text: bytes) -> None:
    with _lock:
        while text:
            text = text[os.write(2, text) :]


def masked(text: str) -> str:
    """The text without the user names and passwords of URLs."""
    return re.sub(r"(//)[^/\s'\"]*@", r"\1***@", text)


def quoted(text: str, most: int = 200) -> str:
    """Text from outside, in double quotes and in one line."""
    shown = "".join(c if c.isprintable() else repr(c)[1:-1] for c in masked(text))
    return f'"{shown if len(shown) <= most else shown[:most] + "..."}"'


def size(amount: int) -> str:
    mb = amount / (1024 * 1024)
    return f"{mb:.1f}MB" if mb >= 0.1 else f"{amount / 1024:.1f}KB"


class Indented:
    """Pass the output of a program on: whole lines, seven spaces before those that have no mark of their own."""

    def __init__(self) -> None:
        self._rest = b""
        self._inside = False  # the begin of the line has been passed on already

    def feed(self, text: bytes) -> None:
        *lines, rest = (self._rest + text).split(b"\n")
        said = [self._line(line) + b"\n" for line in lines]
        if len(rest) > _FLUSH:
            said.append(self._line(rest))
            self._inside, rest = True, b""
        self._rest = rest
        if said:
            raw(b"".join(said))

    def end(self) -> None:
        if self._rest or self._inside:
            raw(self._line(self._rest) + b"\n")
        self._rest = b""

    def _line(self, line: bytes) -> bytes:
        inside, self._inside = self._inside, False
        if inside or not line.strip() or _AS_IT_IS.match(line):
            return line
        return b"       " + line


class Kept:
    """Keep the first bytes of a program's output, for a message or for what it says."""

    def __init__(self, most: int) -> None:
        self.most, self.text, self.over = most, bytearray(), False

    def feed(self, text: bytes) -> None:
        room = self.most - len(self.text)
        self.text += text[:room]
        self.over = self.over or len(text) > room

    def end(self) -> None:
        pass

    def first(self) -> str:
        """Its first line that is not empty."""
        return self._lines()[0]

    def last(self) -> str:
        return self._lines()[-1]

    def _lines(self) -> list[str]:
        lines = [masked(line.strip()) for line in self.text.decode("utf-8", "replace").splitlines() if line.strip()]
        return lines or ["it said nothing"]
