"""Submodules fetched in a real sandbox of either kind: by HTTPS from the internet, and not from anywhere nearer."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.outside_parts import ADDRESS, SUBNET, Outside, outside
from tests.contract.sandbox_parts import MB, Bench, Ran, bench, with_limits
from tests.unit.octo.guest.git_parts import repository
from tests.unit.octo.guest.https_parts import certificate, https_server
from tests.unit.octo.guest.runner_parts import tar
from tests.unit.octo.guest.test_buildpack_runner_source import gitlink

HERE = SUBNET.replace(".0/20", ".1")  # the host, as builds see it
LIMITS = with_limits(memory=512 * MB, pids=200)


@pytest.fixture(scope="module")
def world() -> Iterator[Outside]:
    with outside() as made:
        yield made


@pytest.fixture(params=["lxc", "docker"])
def box(request: pytest.FixtureRequest, world: Outside) -> Iterator[Bench]:
    with bench(request.param, world.network) as made:
        yield made


def fetched(box: Bench, trusted: Path, commit: str, url: str) -> Ran:
    """What the runner makes of an app with that submodule; the certificate to trust is one of the app's files."""
    header = {"mode": "source", "app": "shop", "submodules": [["lib", commit, url]], "fetch_seconds": 10}
    env = {"GIT_SSL_CAINFO": "/app/trusted", "HOME": "/app"}
    spec = box.spec("/octo/buildpack_runner.py", build=True, env=env, limits=LIMITS)
    return box.run(spec, json.dumps(header).encode() + b"\n" + tar({"trusted": trusted.read_bytes()}))


@pytest.mark.row("B14")
def test_submodules_within_submodules_come_by_https_from_the_internet(
    box: Bench, world: Outside, tmp_path: Path
) -> None:
    inner = repository(tmp_path / "inner", {"deep": "what lies deepest"})
    repository(tmp_path / "lib", {"bin/run": "what lies above it"})
    outer = gitlink(tmp_path / "lib", "nested/inner", inner, "../inner")
    trusted = certificate(tmp_path, ADDRESS)
    with https_server(tmp_path, (ADDRESS, 443), world.space) as server:
        ran = fetched(box, trusted, outer, f"https://{ADDRESS}/lib")
    assert ran.ended.code == 0, ran.err
    assert "what lies deepest" in ran.out and "./lib/nested/inner/deep" in ran.out and "what lies above it" in ran.out
    assert '"lib" at ' in ran.err and '"nested/inner" at ' in ran.err and len(server.asked) >= 2
    assert not box.left()


@pytest.mark.row("B14", "C1")
def test_the_very_same_server_on_this_host_is_not_reached(box: Bench, tmp_path: Path) -> None:
    commit = repository(tmp_path / "lib", {"x": ""})
    trusted = certificate(tmp_path, HERE)
    with https_server(tmp_path, (HERE, 443)) as server:
        ran = fetched(box, trusted, commit, f"https://{HERE}/lib")
    assert ran.ended.code == 1 and "Failed to connect" in ran.err and "took longer" not in ran.err
    assert not server.asked
