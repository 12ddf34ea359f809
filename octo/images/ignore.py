"""What a .dockerignore leaves out of a build. An engine that gets its files as a stream takes all of them: leaving out
is the work of the docker command, and here of octo.

Source: moby/patternmatcher; "**" inside a name is read as "*".
"""

import fnmatch
import posixpath
import re
from collections.abc import Iterator, Sequence

from octo.errors import BuildFailed

NAME = ".dockerignore"
MOST = 200  # patterns: each is held against each of many files
LONGEST = 4096  # characters of a name; no engine takes a longer one
_EVERY = ("**", "*")
_PLAIN = re.compile(r"[\w.+-]*\*?[\w.+-]*", re.ASCII)


class Ignored:
    """Names are as in a tar, "/" between folders, no "/" at either end. The last pattern that says something counts."""

    def __init__(self, text: bytes) -> None:
        lines = list(_lines(text))
        if len(lines) > MOST:
            raise BuildFailed(
                f"cannot build the image: its {NAME} has more than {MOST} patterns", hint="Say it with fewer."
            )
        self._keeps = [line.startswith("!") for line in lines]
        self._patterns = [_Pattern(line.removeprefix("!").strip()) for line in lines]
        self._last_keep = max((i for i, keep in enumerate(self._keeps) if keep), default=-1)
        self._folders: dict[str, int] = {}

    def __call__(self, name: str) -> bool:
        found, last = self._matches(name), False
        if self._last_keep < 0:
            return bool(found)
        for number, keep in enumerate(self._keeps):
            if found >> number & 1:
                last = not keep
        return last

    def free_name(self, taken: set[str]) -> str | None:
        """The name of a file at the top that would be left out, and that is none of these; None when there is none."""
        for pattern in self._patterns[self._last_keep + 1 :]:
            name = pattern.example()
            if name and name not in taken and self(name):
                return name
        return None

    def _matches(self, name: str) -> int:
        """Bits of the patterns that match it, or a folder that it is in."""
        if len(name) > LONGEST:
            return 0
        parts, found = name.split("/"), 0
        for depth in range(1, len(parts)):
            folder = "/".join(parts[:depth])
            if folder not in self._folders:
                self._folders[folder] = self._own(parts[:depth], found)
            found = self._folders[folder]
        return self._own(parts, found)

    def _own(self, parts: Sequence[str], found: int) -> int:
        """found: bits of the patterns that match the folder that it is in."""
        if found and self._last_keep < 0:  # one is enough
            return found
        for number, pattern in enumerate(self._patterns):
            if not found >> number & 1 and pattern.matches(parts):
                found |= 1 << number
        return found


class _Pattern:
    def __init__(self, text: str) -> None:
        parts = posixpath.normpath(text).lstrip("/").split("/")
        self._words = (*parts[:-1], *_EVERY) if parts[-1] == "**" else tuple(parts)
        self._tests = [None if word == "**" else _test(word) for word in self._words]

    def matches(self, parts: Sequence[str]) -> bool:
        """Each "**" first stands for nothing; when the rest does not fit, the last one takes a folder more."""
        at, test, behind, retry = 0, 0, -1, 0
        while at < len(parts):
            if test < len(self._tests) and self._tests[test] is None:
                behind, retry, test = test + 1, at, test + 1
            elif test < len(self._tests) and self._tests[test].fullmatch(parts[at]):  # type: ignore[union-attr]
                at, test = at + 1, test + 1
            elif behind < 0:
                return False
            else:
                retry += 1
                at, test = retry, behind
        return test == len(self._tests)

    def example(self) -> str:
        """A name that it matches; "" where none is easily found."""
        word = self._words[-1]
        plain = _PLAIN.fullmatch(word) and all(w == "**" for w in self._words[:-1])
        name = word.replace("*", "octo-recipe") if plain else ""
        return "" if name in (".", "..") else name


def _lines(text: bytes) -> Iterator[str]:
    for line in text.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape").split("\n"):
        if not line.startswith("#") and line.strip() and line.strip() != "!":
            yield line.strip()


def _test(word: str) -> "re.Pattern[str]":
    """fnmatch has no escapes, and another sign for "none of these"; its expressions never take long."""
    return re.compile(fnmatch.translate(re.sub(r"\\(.)", r"[\1]", word).replace("[^", "[!")))
