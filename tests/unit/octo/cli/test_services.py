"""octohost's commands on services: the commands, and the real API behind them, on a world of stand-ins."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from octo.daemon.access import Access, Actor
from octo.daemon.routes import application
from octo.model import Check, Service, UserName
from octo.pipeline.health import Services
from tests.crash.world import World
from tests.serving import serving

Run = Callable[..., tuple[int, str, str]]


@dataclass
class Stage:
    world: World
    file: Path
    path: Path
    token: str

    def mend(self) -> None:
        Services(self.world.ports, self.world.catalog, self.world.journal).mend()

    def ids(self) -> list[str]:
        return sorted(self.world.registry.entries)


class Engine:
    def find(self, *path: str) -> object:
        return {"Config": {"Env": ["PATH=/bin", "CONSUL_TAGS=http,blue", "X=1"]}}


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """shop serves its v1 as octo's own service."""
    world = World()
    world.create()
    world.push("c0ffee")
    file = tmp_path / "octohost"
    file.write_text("PRIVATE_IP=10.9.8.7\n")
    settings = SimpleNamespace(octohost_file=file)
    octo = SimpleNamespace(
        catalog=world.catalog, ports=world.ports, journal=world.journal, settings=settings, engine=Engine()
    )
    access, path = Access(world.catalog), tmp_path / "api.sock"
    with serving({path: application(octo, access, {})}):
        yield Stage(world, file, path, access.grant(Actor(UserName("ann"))))


@pytest.mark.row("J1")
@pytest.mark.row("L23")
@pytest.mark.row("J12")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["db", "5432"], Service("db-10.9.8.7-5432", "db", "10.9.8.7", 5432, ("http",), Check(), by_hand=True)),
        (
            ["db", "5432", "sql,main"],
            Service("db-10.9.8.7-5432", "db", "10.9.8.7", 5432, ("sql", "main"), by_hand=True),
        ),
        (
            ["a_b", "10.0.0.5", "80"],
            Service("a_b-10.0.0.5-80", "a_b", "10.0.0.5", 80, ("http",), Check(), by_hand=True),
        ),
        (["db", "10.0.0.5", "80", "x"], Service("db-10.0.0.5-80", "db", "10.0.0.5", 80, ("x",), by_hand=True)),
    ],
)
def test_a_service_is_set_in_both_old_forms_and_octos_rounds_leave_it(
    run: Run, stage: Stage, words: list[str], expected: Service
) -> None:
    own = stage.ids()
    assert run("service:set", *words) == (0, "", "")
    stage.mend()
    assert stage.world.registry.entries[expected.id] == expected
    assert stage.ids() == sorted([*own, expected.id])


@pytest.mark.row("L23")
def test_an_app_without_http_gets_no_service(run: Run, stage: Stage) -> None:
    stage.world.store.put("octohost/shop/NO_HTTP_PROXY", b"1")
    own = stage.ids()
    assert run("service:set", "shop", "10.0.0.5", "80") == (0, "", "shop has NO_HTTP_PROXY: no service was set.\n")
    assert stage.ids() == own


@pytest.mark.parametrize(
    "words",
    [
        ["db"], ["db", "10.0.0.5"], ["db", "0"], ["db", "99999"], ["db", "x.y", "80"], ["../db", "80"],
        ["db", "::1", "80"], ["db", "80", "a b"], ["db", "80", "a\tb"], ["db", "-1"],
        ["db", "10.0.0.5", "80", "x", "y"],
        ["db", '10.0.0.5","x":"', "80"],
    ],
)  # fmt: skip
def test_a_service_that_cannot_be_is_refused(run: Run, stage: Stage, words: list[str]) -> None:
    own = stage.ids()
    code, out, err = run("service:set", *words)
    assert code == 2 and not out and err.startswith(" !     cannot ")
    assert stage.ids() == own


@pytest.mark.row("L24")
def test_a_service_is_removed_in_both_old_forms(run: Run, stage: Stage) -> None:
    (own,) = stage.ids()
    for words in (["db", "10.0.0.5", "80"], ["db", "80"]):
        run("service:set", "db", "10.0.0.5", "80")
        run("service:set", "db", "10.0.0.5", "81")
        code, _, err = run("service:rm", *words)
        assert code == 0 and err == "Removed db-10.0.0.5-80.\n"
        assert stage.ids() == ["db-10.0.0.5-81", own]
    service = stage.world.registry.entries[own]
    assert "come back" in run("service:rm", "shop", service.address, str(service.port))[2]
    stage.mend()
    assert own in stage.ids()


@pytest.mark.row("L26")
@pytest.mark.row("J12")
def test_services_are_listed_as_one_compact_object_a_line(run: Run, stage: Stage) -> None:
    run("service:set", "db", "10.0.0.5", "80", "x")
    lines = run("services")[1].splitlines()
    assert lines[0] == '{"ID":"db-10.0.0.5-80","Service":"db","Tags":["x"],"Address":"10.0.0.5","Port":80}'
    assert [json.loads(line)["Service"] for line in lines] == ["db", "shop"]
    entry = json.loads(run("services:catalog")[1].splitlines()[0])
    assert (entry["ServiceID"], entry["ServicePort"], entry["ServiceTags"]) == ("db-10.0.0.5-80", 80, ["x"])
    assert len(json.loads(run("services", "--format", "json")[1])) == 2


@pytest.mark.row("L27")
@pytest.mark.row("L28")
@pytest.mark.row("J12")
def test_services_are_cleared_registered_and_removed(run: Run, stage: Stage) -> None:
    (own,) = stage.ids()
    run("service:set", "db", "10.0.0.5", "80", "sql")
    run("service:set", "shop", "10.0.0.6", "80")
    run("service:set", "shopper", "10.0.0.7", "80")
    assert run("services:clear")[2] == f"Removed {own}. 1 of running containers come back within half a minute.\n"
    assert stage.ids() == ["db-10.0.0.5-80", "shop-10.0.0.6-80", "shopper-10.0.0.7-80"]
    assert run("services:register")[0] == 0 and own in stage.ids()
    run("services:remove", "shop")
    assert stage.ids() == ["db-10.0.0.5-80", "shopper-10.0.0.7-80"]
    run("services:remove_all")
    assert stage.ids() == ["db-10.0.0.5-80"]


@pytest.mark.row("L37")
def test_consul_reset_puts_octos_services_back_and_asks_first(run: Run, stage: Stage) -> None:
    (own,) = stage.ids()
    run("service:set", "db", "10.0.0.5", "80")
    stage.world.registry.entries.pop(own)
    stage.world.registry.entries["shop-10.1.1.1-5"] = Service("shop-10.1.1.1-5", "shop", "10.1.1.1", 5)
    assert run("consul:reset")[0] == 2 and "shop-10.1.1.1-5" in stage.ids()
    assert run("consul:reset", "--yes", user=True)[0] == 1 and "shop-10.1.1.1-5" in stage.ids()
    assert run("consul:reset", "--yes")[0] == 0
    assert stage.ids() == ["db-10.0.0.5-80", own]


@pytest.mark.row("L25")
def test_service_tags_are_those_that_the_container_was_started_with(run: Run, stage: Stage) -> None:
    (container,) = stage.world.runtime.list()
    for name in (container.name, container.id[:12]):
        assert run("service:tags", name) == (0, "http,blue\n", "")
    for name in ("nosuch", container.id[:3], "../../info"):
        assert run("service:tags", name)[0] == 1


def test_services_are_the_operators_alone(run: Run, stage: Stage) -> None:
    own = stage.ids()
    for line in ("services", "services:catalog", "service:set db 80", "service:rm shop 5000", "services:clear",
                 "services:remove shop", "services:remove_all", "services:register", "service:tags x"):  # fmt: skip
        assert run(*line.split(), user=True)[0] == 1
    assert stage.ids() == own
