"""A Dockerfile as lines and words, as the engine reads it; where engines may differ, it is refused.

Source: moby's and BuildKit's frontend/dockerfile/parser.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from octo.errors import BuildFailed
from octo.model import shown

KEYWORDS = frozenset(
    "ADD ARG CMD COPY ENTRYPOINT ENV EXPOSE FROM HEALTHCHECK LABEL MAINTAINER ONBUILD RUN SHELL STOPSIGNAL USER "
    "VOLUME WORKDIR".split()
)
_OFFICIAL = re.compile(r"(docker\.io/)?docker/dockerfile(-upstream)?(:[\w.-]+)?(@sha256:[0-9a-f]{64})?")
_DIRECTIVE = re.compile(r"#[ \t]*([a-zA-Z][a-zA-Z0-9]*)[ \t]*=[ \t]*(.+?)[ \t]*")
_HEREDOC = re.compile(r"(?:^|\s)\d*<<(-?)([\"']?)([A-Za-z_][^\s<\"']*)\2")


@dataclass
class Line:
    """One instruction."""

    number: int  # of its first line, from 1
    keyword: str
    rest: str
    first: int  # index of its first line
    last: int  # and behind its last
    heredoc: str = ""  # name of the first one


@dataclass
class Text:
    lines: list[str]
    escape: str = "\\"

    @classmethod
    def of(cls, data: bytes) -> "Text":
        """Raises BuildFailed for a foreign syntax. What is left at the top means the same to every engine."""
        text = cls(data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape").split("\n"))
        text._directives()
        return text

    def _directives(self) -> None:
        """Make comments that mean something plain ones, but for `escape`, which is or becomes the first line."""
        counts, first = True, self.lines[0]  # until the first line that is no directive
        for index, line in enumerate(self.lines):
            line = line.strip()
            if line and not line.startswith("#"):
                break
            found = _DIRECTIVE.fullmatch(line)
            counts = counts and bool(found or line.startswith("#!"))
            if not found and not line.startswith("#!"):
                continue
            if found and counts:
                self._directive(found[1].lower(), found[2])
            self.lines[index] = "#"
        if first in (f"# escape={self.escape}", f"#escape={self.escape}"):
            self.lines[0] = first
        elif self.escape != "\\":
            self.lines[0] = f"# escape={self.escape}"

    def _directive(self, name: str, value: str) -> None:
        if name == "syntax" and not _OFFICIAL.fullmatch(value):
            raise refused(
                f"its syntax line asks for a foreign reader of Dockerfiles ({shown(value[:80])}), and none is fetched",
                "Remove the line: the engine's own reader is used.",
            )
        if name == "escape":
            if value not in ("\\", "`"):
                raise refused(f"its escape character {shown(value[:80])} is none")
            self.escape = value

    def instructions(self) -> Iterator[Line]:
        index, lines = 0, self.lines
        while index < len(lines):
            first, text = index, lines[index].lstrip()
            index += 1
            if not text or text.startswith("#"):
                continue
            keyword = text.split(None, 1)[0]
            if keyword.upper() not in KEYWORDS or not keyword.isascii():
                raise refused(f"line {first + 1} begins with {shown(keyword[:40])}, which is no instruction")
            text, more = self._continued(text, first)
            while more and index < len(lines):
                line = lines[index]
                index += 1
                if line.strip() and not line.lstrip().startswith("#"):
                    line, more = self._continued(line, index - 1)
                    text += line
            found = _HEREDOC.findall(text) if keyword.upper() in ("RUN", "COPY", "ADD") else []
            index = self._past(found, index)
            name = found[0][2] if found else ""
            yield Line(first + 1, keyword.upper(), text.strip()[len(keyword) :].strip(), first, index, name)

    def _continued(self, line: str, index: int) -> tuple[str, bool]:
        line = line.removesuffix("\r")
        bare = line.rstrip(" \t")
        if not bare.endswith(self.escape):
            return line, False
        if bare.endswith(self.escape * 2):  # engines differ on whether the next line belongs to it
            raise refused(f"line {index + 1} ends in two escape characters", "Write one, or put something behind them.")
        return bare[:-1], True

    def _past(self, heredocs: list[tuple[str, str, str]], index: int) -> int:
        for dash, _, name in heredocs:
            while index < len(self.lines):
                line = self.lines[index].removesuffix("\r")
                index += 1
                if (line.lstrip("\t") if dash else line) == name:
                    break
        return index

    def replace(self, line: Line, text: str) -> None:
        """Another text for an instruction. The number of lines stays, and with it what the engine says of them."""
        new = text.split("\n")
        self.lines[line.first : line.last] = new + [""] * (line.last - line.first - len(new))


def flags(rest: str, escape: str) -> Mapping[str, list[str]]:
    """The "--name=value" words at the beginning; quotes and escapes among them are taken off as the engine does."""
    found: dict[str, list[str]] = {}
    for word in words(rest, escape):
        if not word.startswith("--") or word == "--":
            break
        name, _, value = word[2:].partition("=")
        found.setdefault(name.lower(), []).append(value)
    return found


def words(rest: str, escape: str) -> Iterator[str]:
    word, quote, kept, skip = "", "", False, False
    for char in rest:
        if skip:
            word, skip = word + char, False
        elif char == escape:
            skip = True
        elif quote:
            word, quote = (word, "") if char == quote else (word + char, quote)
        elif char in "\"'":
            quote, kept = char, True
        elif char.isspace():
            if word or kept:
                yield word
            word, kept = "", False
        else:
            word += char
    if word or kept:
        yield word


def refused(why: str, hint: str = "Mend the Dockerfile and push again.") -> BuildFailed:
    return BuildFailed(f"cannot build the image: {why}", hint=hint)
