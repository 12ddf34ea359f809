"""The Runtime on Docker: what only a real engine can show."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from octo.adapters.runtime_docker import DockerRuntime
from octo.engine import Engine, EngineError
from octo.errors import DeployFailed, Unavailable
from octo.ports import Running
from tests.contract.docker_parts import (
    APP,
    ENGINE,
    INSTANCE,
    LINKS,
    STACK,
    SUBNET,
    A,
    B,
    image,
    listen,
    real_runtime,
    spec,
    until,
)

SPOOF = f"spoof-{INSTANCE}"
WEB, WEB2 = f"{INSTANCE}-web", f"{INSTANCE}-web2"


@pytest.fixture(scope="module")
def network() -> Iterator[DockerRuntime]:
    with real_runtime() as docker:
        yield docker


@pytest.fixture
def runtime(network: DockerRuntime) -> Iterator[DockerRuntime]:
    yield network
    for container in network.list():
        network.stop(container.name, 0)


def ended(runtime: DockerRuntime, name: str) -> Running:
    ENGINE.post("containers", name, "wait")
    found = runtime.inspect(name)
    assert found
    return found


def test_labels_of_an_image_make_no_container_octos(runtime: DockerRuntime) -> None:
    labels = {
        "instance": INSTANCE,
        "name": f"{INSTANCE}-spoof",
        "app": APP,
        "release": "9",
        "index": "1",
        "process": "web",
    }
    with image(f"{INSTANCE}/spoof:1", "\n".join(f"LABEL octo.{k}={v}" for k, v in labels.items())) as spoof:
        made = ENGINE.post("containers", "create", query={"name": SPOOF}, body={"Image": spoof, "Cmd": ["true"]})
        try:
            assert not runtime.list()
            assert runtime.inspect(SPOOF) is None
            runtime.stop(SPOOF, 0)
            assert ENGINE.find("containers", SPOOF, "json")
            own = runtime.start(spec(WEB, A, image=spoof))
            assert (own.app, own.release, own.name) == (APP, 3, WEB)
            assert [c.name for c in runtime.list()] == [WEB]
            runtime.stop(WEB, 0)
        finally:
            ENGINE.delete("containers", made["Id"])


def test_a_container_of_somebody_else_under_octos_name_is_not_touched(runtime: DockerRuntime) -> None:
    ENGINE.post("containers", "create", query={"name": WEB}, body={"Image": STACK, "Cmd": ["true"]})
    try:
        with pytest.raises(DeployFailed, match="is not octo's"):
            runtime.start(spec(WEB, A))
        assert ENGINE.find("containers", WEB, "json")
    finally:
        ENGINE.delete("containers", WEB)


def test_an_address_stays_with_its_container_over_a_restart(runtime: DockerRuntime) -> None:
    runtime.start(spec(WEB, A))
    runtime.start(spec(WEB2, B))
    runtime.keep(WEB)
    ENGINE.post("containers", WEB, "stop", query={"t": 0})
    stopped = runtime.inspect(WEB)
    assert stopped
    assert (stopped.state, stopped.address) == ("exited", A)
    ENGINE.post("containers", WEB2, "restart", query={"t": 0})
    ENGINE.post("containers", WEB, "start")
    assert [(c.name, c.address, c.state) for c in runtime.list()] == [(WEB, A, "running"), (WEB2, B, "running")]
    assert (
        ENGINE.get("networks", f"{INSTANCE}-apps")["Containers"][runtime.list()[0].id]["IPv4Address"]
        == f"{A}/{SUBNET.prefixlen}"
    )


def test_the_engine_restarts_only_what_was_told_to_be_kept(runtime: DockerRuntime) -> None:
    runtime.start(spec(WEB, A))
    assert ENGINE.get("containers", WEB, "json")["HostConfig"]["RestartPolicy"]["Name"] == "no"
    runtime.keep(WEB)
    assert ENGINE.get("containers", WEB, "json")["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped"


def test_a_container_has_few_rights_and_bounded_logs_and_processes(runtime: DockerRuntime) -> None:
    runtime.start(spec(WEB, A, memory=64 << 20, command="grep -E 'CapBnd|NoNewPrivs' /proc/self/status; sleep 60"))
    host = ENGINE.get("containers", WEB, "json")["HostConfig"]
    assert (host["PidsLimit"], host["Memory"], host["MemorySwap"], host["Init"]) == (1024, 64 << 20, 64 << 20, True)
    assert host["LogConfig"] == {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "2"}}
    assert not host["PortBindings"]
    until(runtime, WEB, b"NoNewPrivs")
    text = b" ".join(runtime.logs(WEB, tail=10, follow=False)).split()
    assert text[text.index(b"NoNewPrivs:") + 1] == b"1"
    held = int(text[text.index(b"CapBnd:") + 1], 16)
    assert not held & (1 << 13 | 1 << 27 | 1 << 29 | 1 << 21)  # NET_RAW MKNOD AUDIT_WRITE SYS_ADMIN
    assert held & 1 << 10  # NET_BIND_SERVICE


def test_apps_do_not_reach_each_other(runtime: DockerRuntime) -> None:
    runtime.start(spec(WEB, A, command=listen("0.0.0.0", 5000)))
    until(runtime, WEB, b"up")
    call = f"import socket; socket.create_connection(('{A}', 5000), 1)"
    runtime.start(spec(WEB2, B, command=f'exec python3 -c "{call}"'))
    assert ended(runtime, WEB2).exit_code == 1


def test_listening_finds_even_what_listens_on_the_wrong_address(runtime: DockerRuntime) -> None:
    runtime.start(spec(WEB, A, command=listen("127.0.0.1", 8000)))
    until(runtime, WEB, b"up")
    assert list(runtime.listening(WEB)) == [("127.0.0.1", 8000)]
    runtime.start(spec(WEB, A, command=listen("::", 5000, "AF_INET6")))
    until(runtime, WEB, b"up")
    assert list(runtime.listening(WEB)) == [("::", 5000)]
    runtime.start(spec(WEB, A, command="exit 0"))
    ended(runtime, WEB)
    assert not runtime.listening(WEB)


def test_the_exit_code_and_the_last_words_of_a_dead_container_are_kept(runtime: DockerRuntime) -> None:
    runtime.start(spec(WEB, A, command="echo out; echo err >&2; exit 7"))
    dead = ended(runtime, WEB)
    assert (dead.state, dead.exit_code, dead.oom) == ("exited", 7, False)
    assert {line.partition(b" ")[2] for line in runtime.logs(WEB, tail=5, follow=False)} == {b"out", b"err"}


def test_a_command_that_is_not_there_ends_with_127(runtime: DockerRuntime) -> None:
    with image(f"{INSTANCE}/none:1", 'CMD ["/nosuch"]') as none:
        runtime.start(spec(WEB, A, image=none, command=None))
        assert ended(runtime, WEB).exit_code == 127
        assert any(b"/nosuch" in line for line in runtime.logs(WEB, tail=5, follow=False))
        runtime.stop(WEB, 0)


def test_a_container_out_of_memory_is_told_as_that(runtime: DockerRuntime) -> None:
    runtime.start(spec(WEB, A, memory=32 << 20, command="exec python3 -c 'x = bytearray(200 << 20)'"))
    dead = ended(runtime, WEB)
    assert (dead.exit_code, dead.oom) == (137, True)


def test_what_the_engine_will_not_start_is_told_in_its_words_and_removed(runtime: DockerRuntime) -> None:
    with image(f"{INSTANCE}/user:1", "USER nosuch") as user:
        with pytest.raises(DeployFailed, match=f'cannot start "{WEB}": .*unable to find user nosuch'):
            runtime.start(spec(WEB, A, image=user))
        assert not runtime.list()
    with image(f"{INSTANCE}/mute:1", "CMD []") as mute, pytest.raises(DeployFailed, match="No command specified"):
        runtime.start(spec(WEB, A, image=mute, command=None))


@pytest.mark.row("C12")
def test_a_process_that_ignores_sigterm_is_killed_after_its_grace(runtime: DockerRuntime) -> None:
    runtime.start(spec(WEB, A, command="trap '' TERM; echo up; while :; do sleep 1; done"))
    until(runtime, WEB, b"up")
    assert runtime.stop(WEB, 0.1)
    assert runtime.inspect(WEB) is None
    runtime.start(spec(WEB, A, command="trap 'exit 137' TERM; echo up; while :; do sleep 0.1; done"))
    until(runtime, WEB, b"up")
    assert not runtime.stop(WEB, 10)


def test_a_volume_of_the_image_goes_with_its_container(runtime: DockerRuntime) -> None:
    with image(f"{INSTANCE}/volume:1", "VOLUME /data") as volume:
        runtime.start(spec(WEB, A, image=volume))
        (mount,) = ENGINE.get("containers", WEB, "json")["Mounts"]
        runtime.stop(WEB, 0)
        assert ENGINE.find("volumes", mount["Name"]) is None


def test_the_environment_arrives_whole_and_before_the_images_own(runtime: DockerRuntime) -> None:
    given = {"PORT": "5000", "TEXT": "a b\n'\"$(id)\u20ac"}
    with image(f"{INSTANCE}/env:1", "ENV PORT=1") as env:
        show = "import os, json; print(json.dumps({k: os.environ[k] for k in ('PORT', 'TEXT')}))"
        runtime.start(spec(WEB, A, image=env, env=given, command=f'exec python3 -c "{show}"'))
        ended(runtime, WEB)
        (line,) = runtime.logs(WEB, tail=5, follow=False)
        assert json.loads(line.partition(b" ")[2]) == given
        runtime.stop(WEB, 0)


def test_a_network_that_is_there_is_used_with_its_own_subnet(runtime: DockerRuntime) -> None:
    other = DockerRuntime(ENGINE, instance=INSTANCE, subnet="10.219.0.0/24", link_network=LINKS)
    other.prepare()
    assert next(iter(other.addresses())) == A


def test_a_subnet_that_is_taken_is_told_with_what_to_change(runtime: DockerRuntime) -> None:
    with pytest.raises(Unavailable, match=f"{INSTANCE}-b-apps") as caught:
        DockerRuntime(ENGINE, instance=f"{INSTANCE}-b", subnet=str(SUBNET), link_network=LINKS).prepare()
    assert caught.value.hint == "Choose another subnet in octo.toml."


def test_an_engine_that_is_away_is_told_with_what_to_start() -> None:
    with pytest.raises(Unavailable, match="cannot reach the Docker engine") as caught:
        DockerRuntime(
            Engine(Path("/nonexistent/docker.sock")), instance=INSTANCE, subnet=str(SUBNET), link_network=LINKS
        ).prepare()
    assert caught.value.hint == "Start it: systemctl start docker"


def test_the_engines_own_refusal_keeps_its_words_and_code() -> None:
    with pytest.raises(EngineError) as caught:
        ENGINE.post("containers", "create", body={"Image": ""})
    assert caught.value.code == 400
