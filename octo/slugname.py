"""How people name a slug: namespace/name/ref/version. Pure.

A name finds a build, and nothing is ever stored under it: slugs lie under ids of octo's own making, so that no text
that somebody chose becomes part of a path.
"""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from urllib.parse import quote, unquote

from octo.errors import Usage
from octo.model import App, Build, app_name, shown, user_name

OPERATOR = "operator"  # the namespace of the apps that nobody owns
LONGEST_REF = 244  # bytes, as the largest code hosts have it
LONGEST = 1024  # characters of a whole name, of which each byte of the ref may take three
BUILD_TIME = 8  # digits in front of a build's id, which say when; builds of one hour share most of them

_KINDS = ("heads/", "tags/")
# What git refuses in a ref. Source: git-check-ref-format(1).
_UNFIT = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|/\.|\.lock(/|$)|[./]$")
_RELEASE = re.compile(r"v[1-9][0-9]{0,7}")
_COMMIT = re.compile(r"[0-9a-f]{4,64}")
_BUILD = re.compile(r"[0-9a-f]{4,14}")


@dataclass(frozen=True)
class SlugName:
    """As text each part is percent-encoded: a ref's own slash is %2F, and the name has three slashes."""

    namespace: str  # the app's owner
    name: str  # AppName
    ref: str  # as in Build.ref
    version: str  # a commit or a beginning of it; a release as v3

    def __str__(self) -> str:
        parts = (self.namespace, self.name, short(self.ref), self.version)
        return "/".join(quote(part, safe="@") for part in parts)


@dataclass(frozen=True)
class Wanted:
    """Which of an app's builds are meant; what is empty is left open."""

    namespace: str = ""
    ref: str = ""  # as in Build.ref
    version: str = ""
    build: str = ""  # a beginning of Build.id

    def query(self) -> dict[str, str]:
        return {key: value for key, value in asdict(self).items() if value}


def namespace(app: App) -> str:
    return app.owner or OPERATOR


def name_of(app: App, build: Build) -> SlugName | None:
    """None for a build from before refs were kept."""
    return SlugName(namespace(app), app.name, build.ref, build.commit) if build.ref else None


def file_name(app: App, build: Build) -> str:
    """What the slug is called where it is fetched to: letters, digits and ._- alone."""
    parts = [app.name, short(build.ref), build.commit[:8]]
    return re.sub(r"[^A-Za-z0-9._-]+", "-", "-".join(part for part in parts if part)) + ".tgz"


def short(ref: str) -> str:
    """The shortest spelling that `git_ref` reads back: main, tags/v1; heads/tags/v1 for a branch of such a name."""
    branch = ref.removeprefix("refs/heads/")
    if branch != ref and not branch.startswith(("refs/", *_KINDS)):
        return branch
    return ref.removeprefix("refs/")


# --- parsing ----------------------------------------------------------------------------------------------------------


def git_ref(text: str) -> str:
    """A branch or a tag in full: main is refs/heads/main, tags/v1 is refs/tags/v1. Raises Usage."""
    rest = text.removeprefix("refs/")
    full = f"refs/{rest}" if rest != text or rest.startswith(_KINDS) else f"refs/heads/{text}"
    if not _fits(full):
        raise Usage(f"cannot use {shown(text)} as a branch or tag", hint="Give it as main, or as tags/v1.")
    return full


def _fits(full: str) -> bool:
    """Whether git takes it, and no letter of it is invisible or turns the line around."""
    within = full.removeprefix("refs/").startswith(_KINDS) and full.isprintable()
    return within and len(full.encode()) <= LONGEST_REF and not _UNFIT.search(full)


def version(text: str) -> str:
    """A commit, a beginning of one, or a release. Raises Usage."""
    if not _COMMIT.fullmatch(text) and not _RELEASE.fullmatch(text):
        raise Usage(f"cannot use {shown(text)} as a version", hint="Give a commit, at least 4 digits of it, or v3.")
    return text


def slug_name(text: str) -> SlugName:
    """Read what `str` of a name gave; there is one spelling only. Raises Usage."""
    parts = text.split("/") if len(text) <= LONGEST else []
    try:
        space, name, ref, found = (unquote(part, errors="strict") for part in parts)
        made = SlugName(user_name(space), app_name(name), git_ref(ref), version(found))
        if str(made) == text:
            return made
    except (ValueError, Usage):  # too few parts, too many, no UTF-8
        pass
    raise Usage(
        f"cannot use {shown(text)} as the name of a slug",
        hint="Give OWNER/APP/REF/COMMIT, with %2F for a slash in REF, or the app's name and REF.",
    )


def wanted(given: Mapping[str, str]) -> Wanted:
    """Read the fields of a query. Raises Usage."""
    build = given.get("build", "")
    if build and not _BUILD.fullmatch(build):
        raise Usage(f"cannot use {shown(build)} as a build", hint="See: octo builds")
    return Wanted(
        user_name(given["namespace"]) if given.get("namespace") else "",
        git_ref(given["ref"]) if given.get("ref") else "",
        version(given["version"]) if given.get("version") else "",
        build,
    )


def readings(word: str) -> Sequence[Wanted]:
    """What one word can mean, the likeliest first: v3, main, main@c0ffee, @c0ffee, a commit, a build. Raises Usage."""
    if _RELEASE.fullmatch(word):
        return [Wanted(version=word)]
    found = []
    with suppress(Usage):
        found.append(Wanted(ref=git_ref(word)))
    ref, at, behind = word.rpartition("@")
    with suppress(Usage):
        if at:
            found.append(Wanted(ref=git_ref(ref) if ref else "", version=version(behind)))
    if _BUILD.fullmatch(word) and len(word) > BUILD_TIME:
        found.append(Wanted(build=word))
    if _COMMIT.fullmatch(word):
        found.append(Wanted(version=word))
    if not found:
        raise Usage(
            f"cannot use {shown(word)} to find a slug", hint="Give a branch, BRANCH@COMMIT, a commit, a build or v3."
        )
    return found


# --- finding ----------------------------------------------------------------------------------------------------------


def fits(build: Build, app: App, sought: Wanted, released: Mapping[str, str]) -> bool:
    """Whether a build of the app is meant. released: Build.id of each release, by v3."""
    if _RELEASE.fullmatch(sought.version):
        of_version = build.id == released.get(sought.version)
    else:
        of_version = build.commit.startswith(sought.version)
    return (
        of_version
        and build.id.startswith(sought.build)
        and sought.ref in ("", build.ref)
        and sought.namespace in ("", namespace(app))
    )
