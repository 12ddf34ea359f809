"""What reaches out of a real sandbox, of either kind: a build the internet and nothing nearer, a receiver nothing.

At every place that is asked somebody listens and answers the host.
"""

import contextlib
import json
import re
import socket
from collections.abc import Iterator

import pytest

from tests.contract.net_parts import WORKER, entered, listening, run
from tests.contract.outside_parts import ADDRESS, CABLE, INSTANCE, SUBNET, Outside, outside
from tests.contract.sandbox_parts import Bench, Running, bench
from tests.contract.test_buildnet_docker import container, docker_network

HOST, CONSUL, PUBLISHED = 7300 + WORKER, 8500 + WORKER, 7400 + WORKER
METADATA, NEIGHBOUR = "169.254.169.254", "192.168.77.9"
LOCAL = f"fd6f:6374:6f00::{WORKER + 1}"
ASK = """
import errno, json, socket, sys
for host, port in json.loads(sys.argv[1]):
    try:
        socket.create_connection((host, port), 20).close()
        print(host, port, "REACHED")
    except OSError as error:
        print(host, port, "late" if error.errno is None else errno.errorcode[error.errno])
"""
Place = tuple[str, int]


@pytest.fixture(scope="module")
def world() -> Iterator[Outside]:
    with outside(HOST, CONSUL, PUBLISHED) as made:
        yield made


@pytest.fixture(params=["lxc", "docker"])
def box(request: pytest.FixtureRequest, world: Outside) -> Iterator[Bench]:
    with bench(request.param, world.network) as made:
        yield made


def asked(box: Bench, places: list[Place], *, build: bool) -> dict[Place, str]:
    ran = box.run(box.spec("/usr/bin/python3", "-c", ASK, json.dumps(places), build=build))
    found = [line.split() for line in ran.out.splitlines()]
    assert len(found) == len(places), ran.said
    return {(host, int(port)): came for host, port, came in found}


@contextlib.contextmanager
def on_the_host() -> Iterator[list[Place]]:
    """Services of the host: on all its addresses, those of its Docker networks and of its builds among them."""
    bridge = f"{INSTANCE}-bld"
    with contextlib.ExitStack() as stack:
        for address, device in ((f"{METADATA}/32", bridge), (f"{NEIGHBOUR}/32", bridge), (f"{LOCAL}/128", CABLE)):
            run(f"ip addr add {address} dev {device}" + (" nodad" if device == CABLE else ""))
            stack.callback(run, f"ip addr del {address} dev {device}")
        stack.enter_context(socket.create_server(("::", HOST), family=socket.AF_INET6, dualstack_ipv6=True))
        stack.enter_context(listening("0.0.0.0", CONSUL))
        uplink = json.loads(run("ip -j route get 198.51.100.1"))[0]["prefsrc"]
        mine = ["127.0.0.1", METADATA, NEIGHBOUR, "172.17.0.1", SUBNET.replace(".0/20", ".1"), uplink]
        yield [(a, port) for a in mine for port in (HOST, CONSUL)] + [("::1", HOST), (LOCAL, HOST)]


@contextlib.contextmanager
def beside_it() -> Iterator[list[Place]]:
    """Containers of others: on Docker's own bridge, on a network of theirs, and behind a port of the host."""
    with (
        container("bridge") as first,
        docker_network(f"172.27.{WORKER}.0/24") as network,
        container(network) as second,
        container("bridge", published=PUBLISHED) as third,
    ):
        yield [(first, 80), (second, 80), (third, 80), ("172.17.0.1", PUBLISHED), ("127.0.0.1", PUBLISHED)]


@contextlib.contextmanager
def a_neighbour(box: Bench) -> Iterator[Place]:
    """Another build, which listens."""
    with Running(box, box.spec("/bin/sh", "-c", "echo up; exec sleep inf", id="b001", build=True)):
        with entered(f"/proc/{box.attached[-1][1]}/ns/net"):
            found = re.search(r"inet ([\d.]+)", run("ip -4 addr show dev eth0"))
            server = socket.create_server(("0.0.0.0", 80))
        assert found
        with server:
            yield found[1], 80


@pytest.mark.row("C1", "C6")
def test_a_build_reaches_the_internet_and_nothing_nearer_and_a_receiver_not_even_that(
    box: Bench, world: Outside
) -> None:
    with listening(ADDRESS, 443, world.space), on_the_host() as near, beside_it() as others:
        places = [*near, *others]
        assert {tcp6(place) for place in places} == {"open"} and len(places) > 15
        with a_neighbour(box) as neighbour:
            came = asked(box, [(ADDRESS, 443), neighbour, *places], build=True)
        assert came.pop((ADDRESS, 443)) == "REACHED"
        assert set(came.values()) <= {"ECONNREFUSED", "ENETUNREACH", "EADDRNOTAVAIL"}, came
        came = asked(box, [(ADDRESS, 443), *places], build=False)
        assert set(came.values()) <= {"ECONNREFUSED", "ENETUNREACH", "EADDRNOTAVAIL"}, came


def tcp6(place: Place) -> str:
    with contextlib.closing(socket.create_connection(place, 10)):
        return "open"


CHANGE = """
import errno, fcntl, socket, struct
s = socket.socket()
address = struct.pack("16sHH4s8x", b"eth0", 2, 0, socket.inet_aton("192.0.2.77"))
for name, call, asked in (("address", 0x8916, address), ("down", 0x8914, struct.pack("16sH14x", b"eth0", 0)),
                          ("mac", 0x8924, address), ("route", 0x890b, bytes(120))):
    try: fcntl.ioctl(s, call, asked); print(name, "DONE")
    except OSError as error: print(name, errno.errorcode[error.errno])
print(open("/proc/net/if_inet6").read().count("eth0"), "IPv6 addresses")
"""


def test_a_build_cannot_change_its_own_network_and_has_no_ipv6(box: Bench) -> None:
    ran = box.python(CHANGE, build=True)
    assert ran.out == "address EPERM\ndown EPERM\nmac EPERM\nroute EPERM\n0 IPv6 addresses\n"


def test_the_way_out_goes_with_the_build(box: Bench) -> None:
    box.shell("true", build=True)
    assert run(f"ip -o link show master {INSTANCE}-bld") == ""
