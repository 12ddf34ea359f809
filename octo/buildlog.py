"""A build as text: the context read as it passes, the classic builder's output, and in plain words what went wrong."""

import re
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from octo.errors import BuildFailed
from octo.model import shown
from octo.ports import Limits

MB = 1024 * 1024
READ_ABOVE = "Read the lines above, mend it and push again."

_STEP = re.compile(r"Step (\d+/\d+) : (.*)", re.DOTALL)
_IMAGE = re.compile(r" ---> ([0-9a-f]{12})\n")
_CONTAINER = re.compile(r" ---> Running in ([0-9a-f]{12})\n")
_NOTED = 10_000  # ids; a build can print lines that look like the builder's own


class Context:
    """Pass a tar stream on, and note on the way what lies at its root under the name Dockerfile.

    The engine's refusals differ by version and mode; this does not. Source of the format: tar(5).
    """

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self.dockerfile = ""  # the tar's type letter: "0" a file, "2" a symbolic link; "" none seen
        self._chunks = chunks
        self._head = b""
        self._skip = 0

    def __iter__(self) -> Iterator[bytes]:
        try:
            for chunk in self._chunks:
                if not self.dockerfile:
                    self._look(chunk)
                yield chunk
        except OSError as error:
            raise BuildFailed(
                f"cannot build the image: its files did not arrive whole: {error.strerror or error}",
                hint="Push again.",
            ) from None

    def _look(self, chunk: bytes) -> None:
        at = 0
        while at < len(chunk):
            step = min(self._skip, len(chunk) - at)
            self._skip, at = self._skip - step, at + step
            need = 512 - len(self._head)
            self._head, at = self._head + chunk[at : at + need], at + need
            if len(self._head) == 512:
                self._member(self._head)
                self._head = b""

    def _member(self, head: bytes) -> None:
        name, prefix = head[:100].rstrip(b"\0").removeprefix(b"./"), head[345:500].strip(b"\0")
        digits = head[124:136].strip(b" \0")
        size = int(digits, 8) if re.fullmatch(rb"[0-7]+", digits) else int.from_bytes(head[125:136])  # GNU: base 256
        self._skip = -(-size // 512) * 512
        if name == b"Dockerfile" and not prefix.strip(b"./"):
            self.dockerfile = chr(head[156] or 48)


class ClassicLog:
    """The answer of POST /build, message by message.

    Only `image`, `error` and `code` are the engine's word alone. The rest is read from lines that a build can fake,
    so it may serve for messages and to narrow a choice, never to make one.
    """

    def __init__(self) -> None:
        self.image = ""  # the finished image
        self.error = ""
        self.code: int | None = None  # exit code of the step that failed
        self.step = ""  # "2/7"
        self.instruction = ""  # "RUN make"
        self.stage = 0
        self.made: OrderedDict[str, int] = OrderedDict()  # short image id -> stage
        self.containers: OrderedDict[str, None] = OrderedDict()  # short ids
        self._found = False  # the next image id was there before
        self._layers: dict[str, str] = {}

    def read(self, message: Mapping[str, Any]) -> bytes:
        """Take a message in; return what people should see of it."""
        if "stream" in message:
            text = str(message["stream"])
            self._notice(text)
            return text.encode("utf-8", "surrogateescape")
        if "error" in message:
            self.error = str(message["error"])
            self.code = (message.get("errorDetail") or {}).get("code")
        elif "aux" in message:
            self.image = str(message["aux"].get("ID", self.image))
        elif "status" in message:
            return self._progress(str(message.get("id", "")), str(message["status"]))
        return b""

    def _progress(self, layer: str, status: str) -> bytes:
        """A pull reports each layer many times a second: show only what changed."""
        if self._layers.get(layer) == status:
            return b""
        self._layers[layer] = status
        return (f"{layer}: {status}\n" if layer else f"{status}\n").encode()

    def _notice(self, text: str) -> None:
        if found := _STEP.fullmatch(text):
            self.step, self.instruction = found[1], found[2].strip()
            self._found = self.instruction.upper().startswith("FROM ")  # its id is the base image's
            self.stage += self._found
        elif text == " ---> Using cache\n":
            self._found = True
        elif found := _CONTAINER.fullmatch(text):
            _note(self.containers, found[1], None)
        elif found := _IMAGE.fullmatch(text):
            if not self._found:
                _note(self.made, found[1], self.stage)
            self._found = False


def _note(into: "OrderedDict[str, Any]", key: str, value: int | None) -> None:
    into[key] = value
    if len(into) > _NOTED:
        into.popitem(last=False)


def classic_failure(log: ClassicLog, limits: Limits, *, starved: bool) -> BuildFailed:
    """Say why the classic builder failed. starved: the kernel killed something for want of memory."""
    step = f"step {log.step}, {shown(log.instruction)}," if log.step else "the build"
    memory = f"{limits.memory // MB} MB"
    if starved:
        return failed(f"{step} ran out of memory (limit {memory})", hint="Let it need less memory.")
    if log.code == 137:
        return failed(f"{step} was killed (exit code 137), as happens above the memory limit of {memory}")
    if log.code is not None:
        return failed(f"{step} failed with exit code {log.code}")
    if log.instruction.upper().startswith("FROM "):
        return failed(
            f"the base image of {shown(log.instruction)} cannot be had: {plain(log.error)}",
            hint="Check the name in FROM, and that this server reaches its registry.",
        )
    return failed(f"{step} failed: {plain(log.error)}")


def refused(context: Context, words: str) -> BuildFailed:
    """Say why the build did not even begin."""
    if not context.dockerfile:
        return failed("There is no Dockerfile present.", hint="Add a Dockerfile at the root of the repository.")
    if context.dockerfile == "2":
        return failed(
            f"its Dockerfile is a symbolic link that leads nowhere: {plain(words)}", hint="Put the file itself there."
        )
    return failed(plain(words), hint="Mend the Dockerfile and push again.")


def failed(why: str, *, hint: str = READ_ABOVE) -> BuildFailed:
    return BuildFailed(f"cannot build the image: {why}", hint=hint)


def plain(text: str) -> str:
    """Foreign words for a message: one printable line of at most 300 characters."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= 300 else line[:297] + "..."
