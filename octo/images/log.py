"""A build as text: the classic builder's output, and in plain words what went wrong."""

import re
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from octo.errors import BuildFailed
from octo.limits import STRUCK, how_to_raise, size_words
from octo.model import shown
from octo.ports import BuildSpec, Strike

READ_ABOVE = "Read the lines above, mend it and push again."

_STEP = re.compile(r"Step (\d+/\d+) : (.*)", re.DOTALL)
_IMAGE = re.compile(r" ---> ([0-9a-f]{12})\n")
_CONTAINER = re.compile(r" ---> Running in ([0-9a-f]{12})\n")
_NOTED = 10_000  # ids; a build can print lines that look like the builder's own


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


def classic_failure(log: ClassicLog, spec: BuildSpec, strike: Strike | None) -> BuildFailed:
    """Say why the classic builder failed. strike: the limit that it ran into."""
    step = f"step {log.step}, {shown(log.instruction)}," if log.step else "the build"
    if strike:
        return struck(strike, spec, step)
    if log.code == 137:
        memory = size_words(spec.limits.memory)
        return failed(f"{step} was killed (exit code 137), as happens above the memory limit of {memory}")
    if log.code is not None:
        return failed(f"{step} failed with exit code {log.code}")
    if log.instruction.upper().startswith("FROM "):
        return no_base(log.instruction, log.error)
    return failed(f"{step} failed: {plain(log.error)}")


def no_base(wanted: str, why: str) -> BuildFailed:
    return failed(
        f"the base image of {shown(wanted)} cannot be had: {plain(why)}",
        hint="Check the name in FROM, and that builds reach its registry.",
    )


def refused(words: str) -> BuildFailed:
    """Say why the build did not even begin."""
    return failed(plain(words), hint="Mend the Dockerfile and push again.")


def struck(strike: Strike, spec: BuildSpec, what: str = "it") -> BuildFailed:
    """Which limit ended it, and how it is raised."""
    return failed(f"{what} {STRUCK[strike](spec.limits)}", hint=how_to_raise(strike, spec.name))


def failed(why: str, *, hint: str = READ_ABOVE) -> BuildFailed:
    return BuildFailed(f"cannot build the image: {why}", hint=hint)


def plain(text: str) -> str:
    """Foreign words for a message: one printable line of at most 300 characters."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= 300 else line[:297] + "..."
