"""One octo per worker and store for all stories; a story that kills or restarts octod takes one of its own.

Every story that takes `host` or `own_host` runs once on SQLite and once on Consul; OCTO_TEST_STORE names one of them.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import pytest

from tests.consul_agent import TOKEN, ConsulAgent
from tests.contract.engine_parts import place
from tests.stories.host import Host, Repository

Name = Callable[[str], str]
STORES = [os.environ["OCTO_TEST_STORE"]] if os.environ.get("OCTO_TEST_STORE") else ["sqlite", "consul"]


@contextmanager
def serving(**settings: str) -> Iterator[Host]:
    made = Host(**settings)
    try:
        made.start()
        made.octo("keys:add", "ann", given=made.key.with_suffix(".pub").read_text())
        yield made
    finally:
        made.down()


@pytest.fixture(scope="session", autouse=True)
def build_engine() -> Iterator[None]:
    """The engine for Dockerfiles costs seconds to start and holds a copy of the stack: all stories share one."""
    with place() as engine, engine.use():
        yield


@pytest.fixture(scope="session", params=STORES)
def host(request: pytest.FixtureRequest) -> Iterator[Host]:
    with serving(**store(request)) as made:
        yield made


@pytest.fixture(params=STORES)
def own_host(request: pytest.FixtureRequest) -> Iterator[Host]:
    with serving(**store(request)) as made:
        yield made


def store(request: pytest.FixtureRequest) -> Mapping[str, str]:
    """The settings of the store that the story runs on."""
    if getattr(request, "param", STORES[0]) == "sqlite":
        return {}
    consul: ConsulAgent = request.getfixturevalue("consul")
    place = f"story-{os.urandom(4).hex()}"
    settings = {
        "CONSUL": consul.url,
        "CONSUL_TOKEN": TOKEN,
        "CONSUL_PREFIX": place,
        "CONSUL_DOCUMENTS": f"{place}-octo",
    }
    return {"OCTO_STORE": "consul", **{f"OCTO_{name}": value for name, value in settings.items()}}


@pytest.fixture
def app(request: pytest.FixtureRequest) -> str:
    """A name that no other story has."""
    words = request.node.name.partition("[")[0].removeprefix("test_").replace("_", "-")
    return f"{words[:40].strip('-')}-{os.urandom(2).hex()}"


@pytest.fixture
def repository(host: Host, app: str) -> Iterator[Callable[[Mapping[str, str]], Repository]]:
    """Makes a clone for the story's app, which is destroyed afterwards; nothing may be left of it."""
    yield lambda files: Repository(host, app, files)
    host.octo("apps:destroy", app, "--confirm", app, code=None)
    host.idle()
    assert not [name for name in host.containers() if f"-{app}-" in name]


@pytest.fixture
def names(yard: Host) -> Iterator[Name]:
    """Makes names of apps in a module's own `yard`, which are destroyed afterwards; nothing is left over then."""
    given: list[str] = []

    def name(stem: str) -> str:
        given.append(f"{stem}-{os.urandom(3).hex()}")
        return given[-1]

    yield name
    for each in given:
        yard.octo("apps:destroy", each, "--confirm", each, code=None)
    yard.idle()
    assert not yard.left_over()
