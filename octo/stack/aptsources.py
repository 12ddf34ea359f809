"""Which archive a stack is made from: the host's own, read from what `apt-get indextargets` prints. Pure.

apt itself is asked, not the files: it knows its two formats, its folders and its own configuration best.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from octo.errors import Usage

FORMAT = "$(CREATED_BY) $(REPO_URI) $(RELEASE) $(COMPONENT) $(ORIGIN)"  # one line per index; apt puts the values in
UNKNOWN = "$(ORIGIN)"  # what stands there for lists that were never downloaded

_DISTRIBUTIONS = {"Debian", "Ubuntu", "Raspbian"}
_LIKELY = re.compile(r"debian|ubuntu|raspbian", re.IGNORECASE)
_COMPONENTS = ("main", "universe")
_ALIASES = {"oldstable", "stable", "testing", "unstable", "sid", "devel"}
_SUITE = re.compile(r"[a-z0-9][a-z0-9.-]{0,63}")
_MIRROR = re.compile(r"https?://[^\s\"'`$\\]+")
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]{0,126}[a-z0-9+]")  # deb-control(5); "name-" is an order to apt-get


@dataclass(frozen=True)
class Source:
    uri: str
    suite: str
    component: str

    @property
    def line(self) -> str:
        """As sources.list(5) has it."""
        return f"deb {self.uri} {self.suite} {self.component}"


@dataclass(frozen=True)
class Archive:
    suite: str
    mirror: str
    sources: tuple[Source, ...]  # of the stack: the suite, its updates and its security updates


def own(with_origin: str, without: str, mirrors: Mapping[str, str]) -> tuple[Source, ...]:
    """The distribution's own sources of the two listings that apt gives: of downloaded lists alone, and of all.

    A list that was never downloaded has no origin: then the URI has to look right. mirrors: what is behind
    `mirror+file:` URIs, of which cloud images are fond.
    """
    known = {(uri, suite): origin for uri, suite, _, origin in _lines(with_origin)}
    found: dict[Source, None] = {}
    for uri, suite, component, _ in [*_lines(with_origin), *_lines(without)]:
        origin = known.get((uri, suite), UNKNOWN)
        ours = origin in _DISTRIBUTIONS or (origin == UNKNOWN and _LIKELY.search(uri))
        if ours and component in _COMPONENTS:
            found[Source(mirrors.get(uri, uri), suite, component)] = None
    return tuple(found)


def _lines(listing: str) -> Iterator[tuple[str, str, str, str]]:
    for words in map(str.split, listing.splitlines()):
        if len(words) >= 4 and words[0] == "Packages":
            yield words[1], words[2], words[3], " ".join(words[4:]) or UNKNOWN


def choose(
    sources: Sequence[Source], codename: str, *, suite: str = "", mirror: str = "", universe: bool = False
) -> Archive:
    """What a stack is made of. suite, mirror: what the operator has set; "" is the host's own.

    A mirror of the operator's stands for the suite itself; its updates come from where the host has them.
    universe: whether a suite that the host does not have is Ubuntu's.
    Raises Usage when nothing is left to make it from.
    """
    suite = _matching("suite", _SUITE, suite) or pick_suite(sources, codename)
    later = [s for s in sources if s.suite in (f"{suite}-updates", f"{suite}-security")]
    main = [s for s in sources if s.suite == suite]
    if mirror:
        components = sorted({s.component for s in main}) or _COMPONENTS[: 1 + universe]
        main = [Source(_matching("mirror", _MIRROR, mirror), suite, c) for c in components]
    first = next((s.uri for s in main if s.component == "main"), "")
    if not suite or not _MIRROR.fullmatch(first):
        raise Usage(
            f'cannot find a mirror for "{suite or codename}" in the host\'s apt sources',
            hint="Set OCTO_MIRROR to its URL (http or https) and OCTO_SUITE to its suite.",
        )
    return Archive(suite, first, tuple(s for s in (*main, *later) if _MIRROR.fullmatch(s.uri)))


def pick_suite(sources: Sequence[Source], codename: str) -> str:
    """The host's codename, else the alias that it follows."""
    names = [s.suite for s in sources]
    return codename if codename in names else next((n for n in names if n in _ALIASES), "")


def package_names(text: str) -> tuple[str, ...]:
    """Names with commas or spaces between them. Raises Usage."""
    return tuple(_matching("package", _PACKAGE, word) for word in re.split(r"[,\s]+", text.strip()) if word)


def _matching(what: str, form: re.Pattern[str], text: str) -> str:
    if text and not form.fullmatch(text):
        raise Usage(f'cannot use "{text[:60]}" as a {what} of a stack', hint="See: octo help stack:build")
    return text
