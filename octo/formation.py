"""Decide which containers to start and which to stop."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

RELEASE_TYPE = "release"  # run once before each deploy, never scaled


@dataclass(frozen=True)
class Start:
    process: str
    index: int


@dataclass(frozen=True)
class Stop:
    name: str  # of the container


@dataclass(frozen=True)
class Present:
    """A container of the release that runs now."""

    process: str
    index: int
    name: str


def wanted(processes: Mapping[str, str | None], scale: Mapping[str, int]) -> dict[str, int]:
    """How many of each type: as scaled; else one `web` and none of the others.

    An app without a `web` type gets one of each.
    """
    types = [p for p in processes if p != RELEASE_TYPE]
    default = {p: int(p == "web" or "web" not in types) for p in types}
    return {p: scale.get(p, default[p]) for p in types}


def follow(scale: Mapping[str, int], before: int | None, now: int | None) -> Mapping[str, int]:
    """The formation after CONTAINERS, the number of `web`, was one thing and is another; None: it is not set."""
    if now is None:
        return scale if before is None else {**scale, "web": 1}
    return {**scale, "web": now}


def services(process: str, processes: Mapping[str, str | None]) -> bool:
    """Whether links and ports of the host lead to this type: to `web`, or to all of an app that has none."""
    return process in processes and (process == "web" or ("web" not in processes and process != RELEASE_TYPE))


def changes(running: Sequence[Present], want: Mapping[str, int]) -> Sequence[Start | Stop]:
    """The starts and stops that turn `running` into `want`, lowest free index first, highest stopped first."""
    result: list[Start | Stop] = []
    for process in sorted({p.process for p in running} | set(want)):
        have = {p.index: p for p in running if p.process == process}
        count = want.get(process, 0)
        result += [Stop(have[i].name) for i in sorted(have, reverse=True) if i > count]
        result += [Start(process, i) for i in range(1, count + 1) if i not in have]
    return result
