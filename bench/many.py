"""What commands cost with many apps and many releases, on SQLite and on Consul."""

import contextlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.measure import SYSTEM
from bench.octo_side import Octo, command
from bench.table import Goal, Row
from octo.catalog import Catalog
from octo.catalog.writes import Targets, app_write, known_write, release_write, targets_write
from octo.model import App, AppName, Release, ReleaseStatus
from octo.ports import Store, Write
from octo.settings import load
from octo.wiring.knowledge import memory
from tests.consul_agent import TOKEN, running

CONFIG = {f"KEY_{number}": "a value of some length" for number in range(5)}
BATCH = 20  # apps in one transaction
GOAL = Goal(ratio=3, most=30)
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Crowd:
    apps: int
    releases: int  # of each app

    @property
    def shown(self) -> str:
        return f"{self.apps} app{'s' if self.apps > 1 else ''} of {self.releases} releases"


CROWDS = (Crowd(1, 10), Crowd(100, 10), Crowd(1000, 10))
LONG = Crowd(1, 500)


def commands(app: str) -> Sequence[tuple[str, ...]]:
    return (
        ("config:get", "-a", app, "KEY_1"),
        ("config:set", "-a", app, "--no-restart", "KEY_9=1"),
        ("apps",),
        ("status",),
        ("releases", "-a", app),
    )


@contextlib.contextmanager
def stores() -> Iterator[Mapping[str, Mapping[str, str]]]:
    """The settings of each."""
    with running() as consul:
        there = {"OCTO_STORE": "consul", "OCTO_CONSUL": consul.url, "OCTO_CONSUL_TOKEN": TOKEN}
        yield {"SQLite": {}, "Consul": there}


def rows(made: Callable[[Mapping[str, str]], Octo], rounds: int, tell: Tell) -> Sequence[Row]:
    """made: an octod that has not started, with these settings."""
    found: list[Row] = []
    with stores() as each:
        for name, settings in each.items():
            octo = made(settings)
            try:
                for crowd in (*CROWDS, LONG):
                    tell(f"commands with {crowd.shown} on {name}")
                    found += _measured(octo, name, crowd, rounds)
            finally:
                octo.down()
    return found


def _measured(octo: Octo, name: str, crowd: Crowd, rounds: int) -> Sequence[Row]:
    prefix = "long" if crowd is LONG else "crowd"
    with _seeding(octo) as store:
        if crowd is LONG:
            _clear(store)
        _seed(store, crowd, prefix)
    octo.host.start()
    try:
        took, bare = _timed(octo, commands(f"{prefix}-0"), rounds)
    finally:
        octo.host.stop()
    return [
        Row(f"`octo {words[0]}`, {crowd.shown}, {name}; against `python3 -c pass`", ms, bare, GOAL, digits=1)
        for words, ms in took.items()
    ]


def _timed(
    octo: Octo, every: Sequence[tuple[str, ...]], rounds: int
) -> tuple[Mapping[tuple[str, ...], list[float]], list[float]]:
    python = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else str(shutil.which("python3"))
    program = str(Path(__file__).resolve().parent.parent / "bin" / "octo")
    env = {**octo.host.env, "PATH": SYSTEM}
    took: dict[tuple[str, ...], list[float]] = {words: [] for words in every}
    bare: list[float] = []
    for number in range(rounds + 1):
        passed = command([python, "-c", "pass"], env)
        mine = {words: command([program, *words], env) for words in every}
        if number:  # the first is the warm-up
            bare.append(passed)
            for words, ms in mine.items():
                took[words].append(ms)
    return took, bare


@contextlib.contextmanager
def _seeding(octo: Octo) -> Iterator[Store]:
    """The store, while no octod has it."""
    (octo.host.home / "octo").mkdir(mode=0o711, exist_ok=True)
    store, _ = memory(load(octo.host.env))
    try:
        yield store
    finally:
        store.leave()


def _seed(store: Store, crowd: Crowd, prefix: str) -> None:
    """Apps as they are after so many pushes, stopped: what is measured is what octo knows, not Docker."""
    catalog = Catalog(store)
    there = {app.name for app in catalog.apps()}
    names = [AppName(f"{prefix}-{number}") for number in range(crowd.apps)]
    missing = [name for name in names if name not in there]
    for start in range(0, len(missing), BATCH):
        store.put_many([w for name in missing[start : start + BATCH] for w in _writes(catalog, name, crowd.releases)])


def _writes(catalog: Catalog, name: AppName, releases: int) -> Sequence[Write]:
    app = App(name.encode().hex()[-12:].rjust(12, "0"), name, 1.0, live=releases, last=releases, stopped=True)
    first = Release(app.id, 1, "sha256:" + "0" * 64, 1.0, "c" * 40, "Deploy ccccccc", config=CONFIG)
    first = replace(first, processes={"web": None}, status=ReleaseStatus.LIVE)
    return [
        Write(f"octo/names/{name}", app.id.encode()),
        app_write(app),
        targets_write(app, Targets(releases)),
        known_write(app, CONFIG),
        catalog.live_write(app, first),
        *catalog.config_writes(app, CONFIG),
        *(release_write(replace(first, version=number)) for number in range(1, releases + 1)),
    ]


def _clear(store: Store) -> None:
    keys = [key for prefix in ("octo/", "octohost/") for key, _ in store.list(prefix) if "/keys/" not in key]
    for start in range(0, len(keys), 500):
        store.put_many([Write(key, None) for key in keys[start : start + 500]])
