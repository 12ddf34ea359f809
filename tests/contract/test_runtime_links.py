"""Link networks, volumes and mounts of the Runtime: what its fake and Docker promise, and what Docker alone does."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from octo.adapters.runtime_docker import DockerRuntime
from octo.errors import Conflict, DeployFailed, NotFound, Unavailable
from octo.ports import Mounted, Runtime, Volume
from tests.contract.docker_parts import ENGINE, INSTANCE, LINKS, STACK, SUBNET, image, real_runtime, spec, until
from tests.fakes_docker import FakeRuntime

SHOP, REDIS = f"{INSTANCE}-shop", f"{INSTANCE}-redis"
LINK = "aaaaaaaaaaaa-bbbbbbbbbbbb-redis"
DATA = Volume(f"{INSTANCE}.shop_redis_data.data", "shop_redis_data", "/data", "ann")


@pytest.fixture(scope="module", params=["fake", "docker"])
def any_runtime(request: pytest.FixtureRequest) -> Iterator[Runtime]:
    if request.param == "fake":
        fake = FakeRuntime(str(SUBNET))
        fake.add(STACK)
        yield fake
        return
    yield request.getfixturevalue("real")


@pytest.fixture
def runtime(any_runtime: Runtime) -> Iterator[Runtime]:
    yield any_runtime
    tidy(any_runtime)


@pytest.fixture(scope="module")
def real() -> Iterator[DockerRuntime]:
    with real_runtime() as docker:
        yield docker


@pytest.fixture
def docker(real: DockerRuntime) -> Iterator[DockerRuntime]:
    yield real
    tidy(real)


def tidy(runtime: Runtime) -> None:
    for container in runtime.list():
        runtime.stop(container.name, 0)
    for link in runtime.members():
        runtime.unlink(link)
    for volume in runtime.volumes():
        runtime.remove_volume(volume.name)
    assert not runtime.members() and not runtime.volumes()


def test_a_link_network_holds_who_began_in_it_and_who_joined(runtime: Runtime) -> None:
    runtime.start(replace(spec(SHOP, None), links=(LINK,)))
    assert dict(runtime.members()) == {LINK: [SHOP]}
    runtime.start(spec(REDIS, None))
    for _ in range(2):
        runtime.join(LINK, REDIS, ("redis",))
    assert dict(runtime.members()) == dict(runtime.members("b" * 12)) == {LINK: [REDIS, SHOP]}
    assert not runtime.members("b" * 11) and not runtime.members("c" * 12)
    runtime.stop(REDIS, 0)
    assert dict(runtime.members()) == {LINK: [SHOP]}
    for _ in range(2):
        runtime.unlink(LINK)
    assert not runtime.members()
    assert runtime.inspect(SHOP)


def test_nobody_joins_who_is_not_there(runtime: Runtime) -> None:
    with pytest.raises(NotFound, match=REDIS):
        runtime.join(LINK, REDIS, ())


def test_a_volume_outlives_its_container_and_is_found_by_its_app(runtime: Runtime) -> None:
    mounts = (Mounted(DATA.name, DATA.path, DATA),)
    runtime.start(replace(spec(REDIS, None), mounts=mounts))
    with pytest.raises(Conflict):
        runtime.remove_volume(DATA.name)
    runtime.stop(REDIS, 0)
    assert list(runtime.volumes()) == list(runtime.volumes("shop_redis_data")) == [DATA]
    assert not runtime.volumes("shop_redis")
    for _ in range(2):
        runtime.remove_volume(DATA.name)
    assert not runtime.volumes()


# --- Docker alone -----------------------------------------------------------------------------------------------------

ASK = """exec python3 -c "
import socket, time
for host in ('redis', 'shop_redis'):
    print(host, socket.create_connection((host, 6379), 5).recv(9).decode(), flush=True)
for address in ('{other}', '{out}'):
    try:
        socket.create_connection((address, 6379), 1)
        print('reached', address)
    except OSError as error:
        print('closed', address, flush=True)
print('done', flush=True)
time.sleep(1000)"
"""
ANSWER = """exec python3 -c "
import socket
server = socket.create_server(('0.0.0.0', 6379))
print('up', flush=True)
while True:
    server.accept()[0].sendall(b'+PONG')"
"""


def test_a_linked_app_is_found_by_name_and_nobody_else_is_reached(docker: DockerRuntime) -> None:
    addresses = [a for a, _ in zip(docker.addresses(), range(3), strict=False)]
    docker.start(spec(REDIS, addresses[0], command=ANSWER))
    docker.start(spec(f"{INSTANCE}-other", addresses[1], command=ANSWER))
    for name in (REDIS, f"{INSTANCE}-other"):
        until(docker, name, b"up")
    docker.join(LINK, REDIS, ("redis", "shop_redis"))
    docker.join(LINK.replace("a", "c"), f"{INSTANCE}-other", ("redis",))
    (subnet, other) = (pool(link) for link in (LINK, LINK.replace("a", "c")))
    assert subnet != other
    ask = ASK.format(other=addresses[1], out=other.replace("0/24", "2"))
    docker.start(replace(spec(SHOP, addresses[2], command=ask), links=(LINK,)))
    until(docker, SHOP, b"done")
    said = [line.partition(b" ")[2].decode() for line in docker.logs(SHOP, tail=9, follow=False)]
    assert said[:2] == ["redis +PONG", "shop_redis +PONG"]
    assert [line.split()[0] for line in said[2:4]] == ["closed", "closed"]
    running = docker.inspect(SHOP)
    assert running and running.address == addresses[2]


def pool(link: str) -> str:
    found = ENGINE.get("networks", f"{INSTANCE}-link-{link}")
    assert found["Internal"]
    return str(found["IPAM"]["Config"][0]["Subnet"])


def test_a_container_has_its_way_out_and_its_door_after_it_was_linked(docker: DockerRuntime) -> None:
    """The default route stays that of the apps' network."""
    show = "exec python3 -c \"print('route', open('/proc/net/route').read().split()[13], flush=True); input()\""
    address = next(iter(docker.addresses()))
    docker.start(replace(spec(SHOP, address, command=f"{show}; sleep 1000"), links=(LINK,)))
    until(docker, SHOP, b"route")
    (line,) = [x for x in docker.logs(SHOP, tail=9, follow=False) if b"route" in x]
    gateway = int(line.split()[-1], 16).to_bytes(4, "little")
    assert ".".join(map(str, gateway)) == str(SUBNET[1])


def test_when_all_link_networks_are_taken_it_is_told(docker: DockerRuntime) -> None:
    docker.start(spec(SHOP, None))
    for number in range(4):
        docker.join(f"{LINK}-{number}", SHOP, ())
    with pytest.raises(Unavailable, match=f"all of {LINKS} is taken"):
        docker.join(f"{LINK}-5", SHOP, ())


def test_a_new_volume_is_filled_from_the_image_and_keeps_what_was_written(docker: DockerRuntime) -> None:
    lines = "RUN mkdir /data && echo seed > /data/seed && chown -R 7:7 /data\nVOLUME /data"
    with image(f"{INSTANCE}/data:1", lines) as ref:
        found = docker.image(ref)
        assert found and found.volumes == ("/data",) and found.env["OCTO_TEST"] == ref
        mounts = (Mounted(DATA.name, "/data", DATA),)
        write = "cat /data/seed; stat -c %u /data; echo kept > /data/more; echo done; sleep 1000"
        docker.start(replace(spec(REDIS, None, command=write, image=ref), mounts=mounts))
        until(docker, REDIS, b"done")
        said = [line.partition(b" ")[2] for line in docker.logs(REDIS, tail=3, follow=False)]
        assert said == [b"seed", b"7", b"done"]
        docker.stop(REDIS, 0)
        docker.start(replace(spec(SHOP, None, command="cat /data/more; sleep 1000", image=ref), mounts=mounts))
        until(docker, SHOP, b"kept")
        docker.stop(SHOP, 0)


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="octo-mount-", dir="/tmp"))
    (made / "in").mkdir()
    yield made
    shutil.rmtree(made)


def test_a_folder_of_the_host_is_mounted_writable(docker: DockerRuntime, folder: Path) -> None:
    write = "echo here > /photos/new; echo done; sleep 1000"
    docker.start(replace(spec(SHOP, None, command=write), mounts=(Mounted(str(folder / "in"), "/photos"),)))
    until(docker, SHOP, b"done")
    assert (folder / "in/new").read_text() == "here\n"


@pytest.mark.parametrize("part", ["at the end", "on the way", "nowhere"])
def test_a_mount_through_a_link_or_from_nowhere_is_refused_and_leaves_nothing(
    docker: DockerRuntime, folder: Path, part: str
) -> None:
    os.symlink("/", folder / "link")
    path = {"at the end": f"{folder}/link", "on the way": f"{folder}/link/etc", "nowhere": f"{folder}/none/x"}[part]
    why = "No such file" if part == "nowhere" else "is a symbolic link"
    with pytest.raises(DeployFailed, match=f"cannot mount .*{why}"):
        docker.start(replace(spec(SHOP, None), mounts=(Mounted(path, "/x"),)))
    assert not docker.list()
    assert not (folder / "none").exists()


def test_the_host_name_is_what_was_asked_for(docker: DockerRuntime) -> None:
    docker.start(replace(spec(SHOP, None, command="hostname; sleep 1000"), hostname="shop_redis"))
    until(docker, SHOP, b"shop_redis")


def test_clearing_takes_the_link_networks_along(docker: DockerRuntime) -> None:
    docker.start(spec(REDIS, None))
    docker.join(LINK, REDIS, ("redis",))
    docker.clear()
    assert not docker.members()
    docker.prepare()
