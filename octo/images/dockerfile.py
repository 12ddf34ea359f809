"""What a Dockerfile takes from outside: base images, and what only BuildKit can do.

The classic builder finds an image by the beginning of its id too, and builds of many apps share one engine: `FROM a1`
could be somebody else's app. So every name is checked here, and written out where the builder would have to work it
out: what was checked is what it reads. BuildKit knows images by their names alone, and those of apps are secret: it
gets the text as it was pushed, but for lines that ask for another reader of Dockerfiles.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from octo.images.lines import KEYWORDS, Line, Text, flags, refused, words
from octo.model import shown

_IMAGE = re.compile(r"[a-zA-Z0-9][\w.:/-]*(@sha256:[0-9a-f]{64})?", re.ASCII)
_ID = re.compile(r"sha256:.*|[0-9a-f]{64}")
_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)(?:(:?[-+])([^${}]*))?\})", re.ASCII)
_MODERN = {
    "RUN": ("mount", "network", "security", "device"),
    "COPY": ("link", "chmod", "parents", "exclude"),
    "ADD": ("link", "chmod", "checksum", "keep-git-dir", "exclude", "unpack"),
}


@dataclass(frozen=True)
class Recipe:
    """images: what it takes from outside, with tag or digest, in order, each once; "scratch" is none.

    bases: those that stages begin from, "scratch" among them.
    """

    lines: Sequence[str]
    froms: Mapping[int, tuple[str, str, str]]  # index of a FROM line -> what stands before the image, it, and behind
    images: Sequence[str] = ()
    modern: str = ""  # the first thing in it that needs BuildKit; "" nothing
    plain: bytes = b""  # the text for BuildKit

    @property
    def bases(self) -> Sequence[str]:
        return tuple(dict.fromkeys(image for _, image, _ in self.froms.values()))

    def text(self, names: Mapping[str, str]) -> bytes:
        """What the classic builder gets. names: base -> what it is called there."""
        lines = list(self.lines)
        for index, (before, image, behind) in self.froms.items():
            lines[index] = f"{before}{names.get(image, image)}{behind}"
        return "\n".join(lines).encode("utf-8", "surrogateescape")


@dataclass
class _Reader:
    text: Text
    args: Mapping[str, str]
    values: dict[str, str] = field(default_factory=dict)  # of ARGs before the first FROM
    stages: list[str] = field(default_factory=list)  # "" one without a name
    images: list[str] = field(default_factory=list)
    froms: dict[int, tuple[str, str, str]] = field(default_factory=dict)
    modern: str = ""


def read(data: bytes, args: Mapping[str, str]) -> Recipe:
    """Check it. args: build-time variables. Raises BuildFailed for what is not taken."""
    reader = _Reader(Text.of(data), args)
    plain = "\n".join(reader.text.lines).encode("utf-8", "surrogateescape")
    for line in list(reader.text.instructions()):
        if line.heredoc:
            _needs(reader, line, f"<<{line.heredoc}")
        _check(reader, line, line.keyword, line.rest)
    return Recipe(reader.text.lines, reader.froms, tuple(dict.fromkeys(reader.images)), reader.modern, plain)


def check_triggers(triggers: Sequence[str], image: str) -> None:
    """The same for the ONBUILD lines of a base image: they may take files from no other image."""
    for trigger in triggers:
        keyword, *rest = trigger.split(None, 1)
        source = flags(rest[0] if rest else "", "\\").get("from", [""])[0]
        if keyword.upper() not in KEYWORDS or "\n" in trigger or "`" in trigger.partition("=")[0]:
            raise refused(f"its base image {shown(image)} has an ONBUILD line that is not taken: {shown(trigger[:80])}")
        if source and not source.isdigit():
            raise refused(f"its base image {shown(image)} takes files from another image: {shown(trigger[:80])}")


def repository(image: str) -> str:
    """The name without tag and digest, as people write it."""
    name, _, tag = image.partition("@")[0].rpartition(":")
    name = name if name and "/" not in tag else image.partition("@")[0]
    return name.removeprefix("index.").removeprefix("docker.io/").removeprefix("library/")


def _check(reader: _Reader, line: Line, keyword: str, rest: str) -> None:
    given = flags(rest, reader.text.escape) if keyword in _MODERN else {}
    for name in _MODERN.get(keyword, ()):
        if name in given:
            _needs(reader, line, f"{keyword} --{name}")
    if keyword == "ONBUILD":
        inner, _, more = rest.replace("\t", " ").partition(" ")
        _check(reader, line, inner.upper(), more.strip())
    elif keyword == "ARG" and not reader.stages:
        _arg(reader, rest)
    elif keyword == "FROM":
        _from(reader, line, rest)
    elif keyword == "RUN":
        _mounts(reader, given.get("mount", ()))
    elif "from" in given:
        _copy(reader, line, given["from"])


def _needs(reader: _Reader, line: Line, what: str) -> None:
    reader.modern = reader.modern or f"line {line.number} ({what})"


def _from(reader: _Reader, line: Line, rest: str) -> None:
    written = rest.split()
    options = [_expanded(reader, w, line.number) for w in written if w.startswith("--")]
    image, *more = [w for w in written if not w.startswith("--")] or [""]
    if more and (len(more) != 2 or more[0].lower() != "as"):
        raise refused(f"line {line.number}: FROM takes an image, or an image AS a name")
    image = _expanded(reader, image, line.number)
    stage = image.lower() in reader.stages and bool(image)
    if not stage and image.lower() != "scratch":
        image = _full(image, line.number)
        reader.images.append(image)
    before, behind = " ".join(["FROM", *options, ""]), "".join(f" {word}" for word in more)
    reader.text.replace(line, f"{before}{image}{behind}")
    if not stage:
        reader.froms[line.first] = (before, image, behind)
    reader.stages.append(more[1].lower() if more else "")


def _copy(reader: _Reader, line: Line, sources: Sequence[str]) -> None:
    whole = "\n".join(reader.text.lines[line.first : line.last])
    for source in sources:
        stage = source.lower() in reader.stages or (source.isdigit() and int(source) < len(reader.stages))
        full = source if stage else _full(source, line.number)
        found = re.compile(rf"(--from=){re.escape(source)}(?=\s)")
        if not found.search(whole):  # written with quotes, escapes or over two lines
            raise refused(f"line {line.number} names the image {shown(source)} in a way that is not taken")
        if not stage:
            reader.images.append(full)
            whole = found.sub(lambda m, full=full: m[1] + full, whole)  # type: ignore[misc]
    reader.text.replace(line, whole)


def _mounts(reader: _Reader, mounts: Sequence[str]) -> None:
    """BuildKit knows images by their names alone: these are noted only so that the engine has them."""
    for mount in mounts:
        for word in mount.split(","):
            name, _, source = word.partition("=")
            if name.lower() == "from" and _IMAGE.fullmatch(source) and source.lower() not in reader.stages:
                reader.images.append(_full(source, 0))


def _full(image: str, number: int) -> str:
    """With a tag or digest: then no engine takes it for an id."""
    if not _IMAGE.fullmatch(image) or _ID.fullmatch(image):
        raise refused(f"line {number} names the image {shown(image[:200])}", "Give an image by name and tag.")
    return image if "@" in image or ":" in image.rpartition("/")[2] else f"{image}:latest"


def _arg(reader: _Reader, rest: str) -> None:
    for word in words(rest, reader.text.escape):
        name, given, default = word.partition("=")
        if name in reader.args:
            reader.values[name] = reader.args[name]
        elif given:
            reader.values[name] = _with_values(reader, default)


def _expanded(reader: _Reader, text: str, number: int) -> str:
    if any(c in text for c in "\"'\\`"):
        raise refused(f"line {number} has quotes or escapes in {shown(text[:200])}", "Write it without.")
    done = _with_values(reader, text)
    if "$" in done:
        raise refused(f"line {number} has a variable that is not taken: {shown(text[:200])}", "Use ${NAME:-default}.")
    return done


def _with_values(reader: _Reader, text: str) -> str:
    def value(found: "re.Match[str]") -> str:
        name, how, word = found[1] or found[2], found[3] or "", found[4] or ""
        known = bool(reader.values.get(name)) if how.startswith(":") else name in reader.values
        if how.endswith("+"):
            return word if known else ""
        return reader.values.get(name, "") if known else word

    return _VARIABLE.sub(value, text)
