"""Decisions of a deploy."""

import pytest

from octo.errors import Usage
from octo.formation import Start
from octo.model import App, AppName, Build, Release, ReleaseStatus
from octo.pipeline.plan import Deploy, in_written_order, port_of, prunable, sort_out
from octo.ports import Running

APP = App("a1", AppName("shop"), 0.0, live=3, last=3)


def running(process: str, index: int, release: int = 3, state: str = "running") -> Running:
    name = f"{process}.{index}@{release}"
    return Running("id", name, "a1", release, process, index, "10.0.0.9", state, 0, False, 0.0, "img")


def deploy(**given: object) -> Deploy:
    return Deploy(APP, Release("a1", 4, "img", 0.0), **{"fresh": True, "want": {"web": 1}, **given})  # type: ignore[arg-type]


@pytest.mark.row("D4")
@pytest.mark.parametrize(
    ("config", "ports", "found"),
    [
        ({}, (8080, 9000), (8080, True)),
        ({"PORT": "7000"}, (8080,), (7000, True)),
        ({"PORT": "7000"}, (), (7000, True)),
        ({}, (), (5000, False)),
        ({"NO_HTTP_PROXY": "1"}, (8080,), (8080, False)),
    ],
)
def test_the_port_is_configs_then_the_first_exposed_then_5000(
    config: dict[str, str], ports: tuple[int, ...], found: tuple[int, bool]
) -> None:
    assert port_of(config, ports) == found


def test_a_port_that_is_none_is_refused() -> None:
    with pytest.raises(Usage):
        port_of({"PORT": "http"}, ())


@pytest.mark.row("J11")
def test_a_new_release_replaces_every_container() -> None:
    start, stay, go = sort_out(deploy(want={"web": 2}), [running("web", 1), running("web", 2), running("web", 1, 2)])
    assert start == [Start("web", 1), Start("web", 2)] and not stay and len(go) == 3


def test_a_scale_keeps_what_runs() -> None:
    start, stay, go = sort_out(
        deploy(fresh=False, replace=False, want={"web": 2}), [running("web", 1), running("web", 1, 2)]
    )
    assert start == [Start("web", 2)]
    assert [r.name for r in stay] == ["web.1@3"] and [r.name for r in go] == ["web.1@2"]


def test_a_restart_of_one_type_keeps_the_others() -> None:
    given = deploy(fresh=False, only="web", want={"web": 1, "worker": 1})
    start, stay, go = sort_out(given, [running("web", 1), running("worker", 1)])
    assert start == [Start("web", 1)]
    assert [r.name for r in stay] == ["worker.1@3"] and [r.name for r in go] == ["web.1@3"]


def test_a_dead_container_is_replaced_by_a_scale() -> None:
    start, stay, go = sort_out(deploy(fresh=False, replace=False), [running("web", 1, state="exited")])
    assert start == [Start("web", 1)] and not stay and len(go) == 1


def test_one_off_processes_are_left_alone() -> None:
    _, stay, go = sort_out(deploy(), [running("run", 1), running("release", 1)])
    assert not stay and not go


@pytest.mark.row("D6")
def test_images_of_the_last_releases_and_of_the_live_one_stay() -> None:
    builds = [Build(f"b{n}", "a1", "c", None, float(n), finished_at=1.0, image="sha") for n in range(9)]
    releases = [Release("a1", n, "sha", n + 0.5, build=f"b{n}", status=ReleaseStatus.LIVE) for n in range(1, 8)]
    assert [b.id for b in prunable(builds, releases, live=2, keep=3)] == ["b0", "b1"]
    assert [b.id for b in prunable(builds, releases, live=7, keep=3)] == ["b0", "b1", "b2", "b3", "b4"]


@pytest.mark.row("D4")
@pytest.mark.parametrize(
    ("dockerfile", "first"),
    [
        ("FROM x\nEXPOSE 90/tcp 80\n", 90),
        ("FROM x AS a\nEXPOSE 80\nFROM y\nexpose 90\n", 90),
        ("FROM x\nEXPOSE 53/udp 90-91\n", 90),
        ("FROM x\nEXPOSE $PORT\n", 80),
        ("FROM x\n", 80),
        ("", 80),
    ],
)
def test_the_first_port_is_the_one_written_first(dockerfile: str, first: int) -> None:
    assert in_written_order((80, 90, 91), dockerfile)[0] == first
