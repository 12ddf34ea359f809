"""What the receiver says of the commit that is to be built, and what follows from it."""

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from octo import procfile
from octo.errors import BuildFailed, Usage
from octo.model import AppName, app_name, shown

DEPTH = 20  # submodules of one commit


@dataclass(frozen=True)
class Submodule:
    path: str  # below the top of the repository
    commit: str
    url: str  # "" when .gitmodules does not name it: git leaves an empty folder then


@dataclass(frozen=True)
class Source:
    """What the receiver says of the commit before it sends the files."""

    commit: str
    dockerfile: str | None  # the text of the regular file of that name at the top
    procfile: str | None
    submodules: tuple[Submodule, ...] = ()
    cname: str | None = None  # octohost's file of domains


class Strategy(Enum):
    DOCKERFILE = "dockerfile"
    BUILDPACK = "buildpack"


def strategy(source: Source, config: Mapping[str, str]) -> Strategy:
    """A Dockerfile is built, unless BUILDPACK_URL asks for a buildpack."""
    if config.get("BUILDPACK_URL") or source.dockerfile is None:
        return Strategy.BUILDPACK
    return Strategy.DOCKERFILE


def buildpacks(config: Mapping[str, str]) -> Sequence[str]:
    """BUILDPACK_URL may hold several, with white space between them."""
    return config.get("BUILDPACK_URL", "").split()


def processes_of(source: Source) -> dict[str, str | None]:
    """The process types of a Dockerfile build: those of the Procfile, else `web` with the image's own command."""
    if source.procfile is None:
        return {"web": None}
    return dict(procfile.parse(source.procfile)) or {"web": None}


def neighbour(app: AppName, url: str) -> AppName | None:
    """Which app of this octo a relative submodule URL means; None when the URL is not relative.

    git resolves it against the address that was pushed to, HOST:APP.git: `../lib.git` is the app `lib`.
    """
    if not url.startswith(("./", "../")):
        return None
    path = posixpath.normpath(posixpath.join(f"/{app}.git", url))
    try:
        return app_name(path.removeprefix("/").removesuffix(".git"))
    except Usage:
        raise BuildFailed(
            f"cannot fetch the submodule {shown(url)}: it is no app of this octo",
            hint="Use an https URL, or ../NAME.git for the app NAME here.",
        ) from None
