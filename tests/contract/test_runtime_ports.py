"""Which ports an image exposes, and in which order: pure readings first, then what the engine really says."""

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Network

import pytest

from octo import dockerspec
from octo.adapters.runtime_docker import DockerRuntime
from tests.contract.docker_parts import ENGINE, INSTANCE, LINKS, SUBNET, image

Layer = Mapping[str, object]


def history(*instructions: str) -> Sequence[Layer]:
    return [{"CreatedBy": text, "Tags": None} for text in reversed(instructions)]


@pytest.mark.row("D4")
@pytest.mark.parametrize(
    ("ports", "layers", "order"),
    [
        ({80, 5000}, history("EXPOSE map[5000/tcp:{}]", "EXPOSE map[80/tcp:{}]"), (5000, 80)),
        ({80, 5000}, history("/bin/sh -c #(nop)  EXPOSE 5000 53/udp", "/bin/sh -c #(nop)  EXPOSE 80"), (5000, 80)),
        ({80, 5000}, history("EXPOSE [80/tcp 5000/tcp]"), (80, 5000)),
        ({9000, 9001, 9002, 80}, history("EXPOSE 9000-9002", "EXPOSE 80"), (9000, 9001, 9002, 80)),
        ({80, 81}, [], (80, 81)),
        ({80, 81}, history("RUN echo EXPOSE nonsense", "EXPOSE 99999999", "EXPOSE 81"), (81, 80)),
        (
            {80, 3000},
            [{"CreatedBy": "EXPOSE 3000"}, {"CreatedBy": "EXPOSE 80", "Tags": ["nginx:1"]}],
            (3000, 80),
        ),
    ],
)
def test_the_first_expose_of_the_own_dockerfile_comes_first(
    ports: set[int], layers: Sequence[Layer], order: tuple[int, ...]
) -> None:
    assert dockerspec.in_order(frozenset(ports), layers) == order


@pytest.fixture
def runtime() -> DockerRuntime:
    return DockerRuntime(ENGINE, instance=INSTANCE, subnet=str(SUBNET), link_network=LINKS)


@pytest.mark.row("D4")
@pytest.mark.parametrize(
    ("lines", "ports"),
    [
        ("CMD []", ()),
        ("EXPOSE 5000", (5000,)),
        ("EXPOSE 8080/tcp", (8080,)),
        ("EXPOSE 53/udp", ()),
        ("EXPOSE 5000 80/tcp 53/udp", (80, 5000)),
        ("EXPOSE 5000\nRUN true\nEXPOSE 80", (5000, 80)),
        ("EXPOSE 9001-9003\nEXPOSE 80", (9001, 9002, 9003, 80)),
        ("ARG P=7000\nEXPOSE $P\nEXPOSE 80", (7000, 80)),
    ],
)
def test_the_ports_of_a_real_image_are_read(runtime: DockerRuntime, lines: str, ports: tuple[int, ...]) -> None:
    with image(f"{INSTANCE}/x:1", lines) as ref:
        found = runtime.image(ref)
        assert found
        assert found.ports == ports


def test_an_image_tells_whether_it_has_a_command(runtime: DockerRuntime) -> None:
    with image(f"{INSTANCE}/x:1", "CMD []") as mute, image(f"{INSTANCE}/x:2", 'ENTRYPOINT ["/bin/true"]') as ready:
        assert [bool(i and i.command) for i in map(runtime.image, (mute, ready))] == [False, True]


@pytest.mark.parametrize(
    ("subnet", "own"),
    [("10.213.0.0/16", "/24"), ("10.0.0.0/20", "/28"), ("10.0.0.0/24", "/28"), ("10.0.0.0/28", "/29")],
)
def test_the_engine_and_octo_allot_from_different_slices(subnet: str, own: str) -> None:
    network = IPv4Network(subnet)
    slice = dockerspec.dynamic_slice(network)
    assert str(slice).endswith(own)
    mine = [IPv4Network(a) for a in dockerspec.allottable(network)]
    assert mine
    assert not any(slice.overlaps(a) for a in mine)
    assert all(a.subnet_of(network) for a in mine)
    assert IPv4Network(network.broadcast_address) not in mine


def test_a_bridge_has_a_name_that_the_kernel_takes() -> None:
    names = [dockerspec.bridge(i) for i in ("octo", "octo-a-very-long-name", "octo-a-very-long-other")]
    assert names[0] == "br-octo"
    assert len(set(names)) == 3
    assert max(map(len, names)) <= 15


def test_listening_sockets_are_read_and_the_engines_resolver_is_left_out() -> None:
    table = """  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0B00007F:9C45 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   1: 0100007F:1388 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 2 1 0 100 0 0 10 0
   2: 0201D60A:1388 0101D60A:C350 01 00000000:00000000 00:00000000 00000000     0        0 3 1 0 100 0 0 10 0
   3: 0000000000000000FFFF00000100007F:0050 00000000000000000000000000000000:0000 0A 0 0 0 0 0
   4: 00000000000000000000000001000000:0051 00000000000000000000000000000000:0000 0A 0 0 0 0 0
"""
    assert list(dockerspec.listeners(table)) == [("127.0.0.1", 5000), ("127.0.0.1", 80), ("::1", 81)]
