"""Decide what a deploy is to do, from values alone."""

import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from octo.formation import RELEASE_TYPE, Present, Start, Stop, changes
from octo.model import App, Build, Hostname, Release, ReleaseStatus, Slot, UserName, port_number
from octo.ports import Running

DEFAULT_PORT = 5000
ONE_OFF = frozenset({"run", "data", RELEASE_TYPE})  # containers that end by themselves and belong to no formation


@dataclass(frozen=True)
class Deploy:
    """The subject of a deploy: what each step works on, as the journal keeps it."""

    app: App
    release: Release
    fresh: bool  # a new release; False: the live one is scaled or restarted
    want: Mapping[str, int]  # containers per process type afterwards
    replace: bool = True  # every container is new; False: only what the formation lacks
    only: str = ""  # restart this process type alone
    scale: Mapping[str, int] = field(default_factory=dict)  # the formation to store with the commit
    config: Mapping[str, str | None] = field(default_factory=dict)  # changes to store with the commit; None removes
    slots: tuple[Slot, ...] = ()  # to start
    stay: tuple[Slot, ...] = ()  # running already, and staying
    retire: tuple[Slot, ...] = ()  # to drain and stop
    took: Mapping[str, float] = field(default_factory=dict)  # seconds per step
    stop: bool = False  # the app is stopped afterwards
    reason: str = ""  # why it is being undone
    domains: tuple[Hostname, ...] | None = None  # of the push's CNAME file; None: this is no push, and they stay
    keep_config: bool = False  # of a removal: the config stays
    volumes: bool = False  # of a removal: those of the app go too

    @property
    def after(self) -> tuple[Slot, ...]:
        """The containers that serve once it is done."""
        return self.stay + self.slots


def port_of(config: Mapping[str, str], ports: Sequence[int]) -> tuple[int, bool]:
    """The port the app is told to listen on, and whether the router sends it requests.

    ports: what the image exposes, its first EXPOSE first. PORT in config, else that, else 5000. Neither PORT nor
    EXPOSE, or NO_HTTP_PROXY: a worker.
    """
    if config.get("PORT"):
        port, known = port_number(config["PORT"]), True
    else:
        port, known = (ports[0], True) if ports else (DEFAULT_PORT, False)
    return port, known and not config.get("NO_HTTP_PROXY")


def release_of(
    app: App, build: Build, config: Mapping[str, str], user: UserName | None, now: float, description: str
) -> Release:
    """What a build is to run as; its number comes with the deploy."""
    port, routed = port_of(config, build.ports)
    fresh = Release(app.id, 0, build.image, now, build.commit, description, user, build.id)
    return replace(fresh, config=config, processes=build.processes, port=port, routed=routed)


def sort_out(
    deploy: Deploy, running: Sequence[Running], retiring: Collection[str] = ()
) -> tuple[list[Start], list[Running], list[Running]]:
    """Which containers to start, which of the running ones stay, and which go.

    retiring: names of those that an earlier deploy drains and stops at this moment: they are its own affair.
    """
    lasting = [r for r in running if r.process not in ONE_OFF and r.name not in retiring]
    live = [r for r in lasting if r.release == deploy.app.live and r.state == "running"]
    if deploy.replace:
        stay = [r for r in live if deploy.only and r.process != deploy.only]
    else:
        stay = live
    present = [Present(r.process, r.index, r.name) for r in stay]
    decided = changes(present, deploy.want)
    gone = {c.name for c in decided if isinstance(c, Stop)}
    staying = [r for r in stay if r.name not in gone]
    kept = {r.name for r in staying}
    return [c for c in decided if isinstance(c, Start)], staying, [r for r in lasting if r.name not in kept]


def slot_name(instance: str, app: App, release: int, start: Start) -> str:
    """Unique for ever, so that two containers of one place can overlap and none is taken for another."""
    return f"{instance}-{app.name}-v{release}-{start.process}.{start.index}-{secrets.token_hex(3)}"


def is_web(process: str) -> bool:
    return process == "web"


def image_tag(instance: str, app: str, build: str) -> str:
    return f"{instance}/{app}:{build}"


def slug_blob(build: str) -> str:
    """The name of a build's slug among the blobs."""
    return f"slugs/{build}.tgz"


def cache_blob(app: str) -> str:
    """The name of an app's build cache among the blobs."""
    return f"caches/{app}.tgz"


def repository_blob(app: str) -> str:
    """The name of an app's repository among the blobs, where repositories are archives."""
    return f"repos/{app}.bundle"


def prunable(builds: Sequence[Build], releases: Sequence[Release], live: int, keep: int) -> list[Build]:
    """Builds whose images can go: older than the last `keep` releases that served, and in none of these.

    A build that is younger may be on its way to a release at this moment.
    """
    served = [r for r in releases if r.status is ReleaseStatus.LIVE]
    kept = [r for r in served if r in served[-keep:] or r.version == live]
    oldest = min((r.created_at for r in kept), default=0.0)
    named = {r.build for r in kept}
    return [b for b in builds if b.image and b.created_at < oldest and b.id not in named]


def in_written_order(ports: Sequence[int], dockerfile: str) -> tuple[int, ...]:
    """The exposed ports, that of the last stage's first EXPOSE first: the engine sorts those of one instruction."""
    stage: list[str] = []
    for line in dockerfile.splitlines():
        words = line.split()
        if words and words[0].upper() == "FROM":
            stage = []
        elif words and words[0].upper() == "EXPOSE":
            stage += words[1:]
    given = [w.lower().removesuffix("/tcp").partition("-")[0] for w in stage if not w.lower().endswith("/udp")]
    first = int(given[0]) if given and given[0].isascii() and given[0].isdigit() else None
    return tuple(sorted(ports, key=lambda p: p != first))


def describe(changes: Mapping[str, str | None]) -> str:
    """Keys only, never values: "Set A, B; unset C"."""
    given, gone = [k for k, v in changes.items() if v is not None], [k for k, v in changes.items() if v is None]
    parts = [f"Set {', '.join(given)}"] * bool(given) + [f"Unset {', '.join(gone)}"] * bool(gone)
    return "; ".join(parts)
