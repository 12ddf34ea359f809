"""The network of the builds beside Docker: on this host, and on one whose dockerd is restarted."""

import contextlib
import errno
import itertools
import json
import re
import secrets
import shutil
import socket
import struct
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from octo.engine import Engine
from octo.net.buildnet import BuildNetwork
from tests.contract.docker_parts import ENGINE, STACK, listen, need_stack
from tests.contract.net_parts import INSTANCE, SUBNET, Space, World, listening, run, safe_and_useful, sysctl, tcp

BRIDGE = f"{INSTANCE}-bld"


# --- this host ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Here:
    """On the network of the builds of this very host."""

    network: BuildNetwork
    sandbox: Space
    port: int  # of the internet's that it may reach; here somebody else's on this host


@pytest.fixture(scope="module")
def here() -> Iterator[Here]:
    with socket.create_server(("0.0.0.0", 0)) as server:
        port = int(server.getsockname()[1])
    network = BuildNetwork(INSTANCE, SUBNET, ["80", "443", str(port)])
    with Space() as sandbox:
        try:
            network.attach("a1", sandbox.pid)
            yield Here(network, sandbox, port)
        finally:
            network.clear()
    assert BRIDGE not in run("ip link") + run("nft list ruleset") + run("iptables-save")


@contextlib.contextmanager
def container(network: str, published: int = 0) -> Iterator[str]:
    """One that listens on port 80; its address. published: a port of the host that leads there too."""
    need_stack()
    ports = {"80/tcp": [{"HostPort": str(published)}]} if published else {}
    body = {
        "Image": STACK,
        "Cmd": ["sh", "-c", listen("0.0.0.0", 80)],
        "User": "0",
        "ExposedPorts": {"80/tcp": {}},
        "HostConfig": {"NetworkMode": network, "PortBindings": ports},
    }
    id = ENGINE.post("containers", "create", body=body)["Id"]
    try:
        ENGINE.post("containers", id, "start")
        stream = ENGINE.stream("GET", "containers", id, "logs", query={"stdout": True, "follow": True})
        next(iter(stream.chunks()))  # it says that it is up
        stream.close()
        networks = ENGINE.get("containers", id, "json")["NetworkSettings"]["Networks"]
        yield str(networks[network]["IPAddress"])
    finally:
        ENGINE.delete("containers", id, query={"force": True, "v": True})


@contextlib.contextmanager
def docker_network(subnet: str) -> Iterator[str]:
    name = f"{INSTANCE}-{secrets.token_hex(3)}"
    ENGINE.post("networks", "create", body={"Name": name, "IPAM": {"Config": [{"Subnet": subnet}]}})
    try:
        yield name
    finally:
        ENGINE.delete("networks", name)


def open_here(port: int) -> list[str]:
    """The addresses of this host at which somebody answers; those of other tests come and go."""
    links = json.loads(run("ip -j -4 addr"))
    addresses = [a["local"] for link in links for a in link.get("addr_info", ())]
    return [address for address in addresses if tcp(address, port) == "open"]


def test_a_container_on_dockers_own_bridge_is_not_reached(here: Here) -> None:
    with container("bridge") as address:
        assert tcp(address, 80) == "open"
        assert here.sandbox.tcp(address) == "ECONNREFUSED"


@pytest.mark.parametrize("subnet", ["172.29.77.0/24", "198.51.100.0/24"], ids=["private", "public"])
def test_a_container_on_another_network_of_docker_is_not_reached(here: Here, subnet: str) -> None:
    with docker_network(subnet) as network, container(network) as address:
        assert tcp(address, 80) == "open"
        assert here.sandbox.tcp(address) == "ECONNREFUSED"


def test_a_published_port_is_not_reached_at_any_address_of_the_host(here: Here) -> None:
    with container("bridge", published=here.port):
        addresses = open_here(here.port)
        assert len(addresses) >= 4  # loopback, uplink, docker0, our bridge
        assert {here.sandbox.tcp(address, here.port) for address in addresses} == {"ECONNREFUSED"}


def test_a_service_of_the_host_is_not_reached_at_any_of_its_addresses(here: Here) -> None:
    with listening("0.0.0.0", here.port):
        addresses = open_here(here.port)
        assert len(addresses) >= 4
        assert {here.sandbox.tcp(address, here.port) for address in addresses} == {"ECONNREFUSED"}


def test_a_container_does_not_reach_into_a_sandbox(here: Here) -> None:
    address = next(iter(re.findall(r"inet ([\d.]+)/32", here.sandbox.output("ip -4 addr show dev eth0"))))
    code = f"import socket; print(socket.socket().connect_ex(('{address}', 80)))"
    with listening("0.0.0.0", 80, here.sandbox):
        assert tcp(address, 80) == "open"
        done = subprocess.run(
            ["docker", "run", "--rm", STACK, "python3", "-c", code], capture_output=True, text=True, check=True
        )
    assert int(done.stdout) == errno.ECONNREFUSED


def test_the_mirror_of_this_host_is_reached_by_its_name(here: Here) -> None:
    sources = [Path("/etc/apt/sources.list"), *Path("/etc/apt/sources.list.d").iterdir()]
    found = re.findall(
        r"^(?:deb .*|URIs:.*)http://([^/\s]+)", "\n".join(f.read_text() for f in sources if f.is_file()), re.MULTILINE
    )
    if not found:
        pytest.skip("the apt sources of this host have no plain HTTP")
    with here.sandbox.inside():
        address = ask(here.network.nameservers()[0], found[0])
        assert tcp(address, 80) == "open"
        assert tcp(address, 8080) == "ECONNREFUSED"


def ask(nameserver: str, name: str) -> str:
    """The first IPv4 address of a name. Source: RFC 1035, 4.1."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    query = struct.pack("!6H", 7, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", 1, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.settimeout(10)
        link.connect((nameserver, 53))
        link.send(query)
        answer = link.recv(4096)
    address = answer.index(b"\0\1\0\1", len(query)) + 10  # type A, class IN, then a TTL and a length
    return socket.inet_ntoa(answer[address : address + 4])


# --- a host whose dockerd is restarted --------------------------------------------------------------------------------


class Dockerd:
    """One of the world's host, with all that it has in a folder."""

    def __init__(self, folder: Path) -> None:
        self.engine = Engine(folder / "sock")
        self._argv = ["dockerd", "-H", f"unix://{folder / 'sock'}", "--pidfile", str(folder / "pid")]
        self._argv += ["--data-root", str(folder / "data"), "--exec-root", str(folder / "exec")]
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(self._argv, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
        assert self._process.stderr
        said = list(itertools.takewhile(lambda line: b"API listen on" not in line, self._process.stderr))
        self._reader = threading.Thread(target=self._process.stderr.read)  # until it ends
        self._reader.start()
        assert self._process.poll() is None, said

    def stop(self) -> None:
        if self._process:
            self._process.terminate()
            self._process.wait()
            self._reader.join()
            assert self._process.stderr
            self._process.stderr.close()
            self._process = None
        for line in reversed(Path("/proc/mounts").read_text().splitlines()):
            if (mounted := line.split()[1]).startswith(f"{self._folder}/"):
                run(f"umount {mounted}")


@pytest.fixture
def dockerd(world: World) -> Iterator[Dockerd]:
    if not shutil.which("dockerd"):
        pytest.skip("there is no dockerd on this machine")
    sysctl("net/ipv4/ip_forward", "0")  # it forbids all other forwarding only when it turns it on itself
    with tempfile.TemporaryDirectory(prefix="octo-d-") as folder:  # the paths of its sockets must be short
        dockerd = Dockerd(Path(folder))
        try:
            dockerd.start()
            body = {"Name": "n", "IPAM": {"Config": [{"Subnet": "172.29.78.0/24"}]}}
            dockerd.engine.post("networks", "create", body=body)
            yield dockerd
        finally:
            dockerd.stop()


def objects(dockerd: Dockerd) -> object:
    return sorted((n["Id"], n["Name"], str(n["IPAM"])) for n in dockerd.engine.get("networks"))


def test_docker_and_its_host_are_afterwards_as_they_were_before(world: World, dockerd: Dockerd) -> None:
    before = world.snapshot(), objects(dockerd)
    network, sandbox = world.network(), world.sandbox()
    network.prepare()
    network.attach("a1", sandbox.pid)
    network.namespace(f"{INSTANCE}-ns")
    assert safe_and_useful(world, sandbox)
    assert world.snapshot() != before[0]
    network.detach("a1")
    network.clear()
    assert (world.snapshot(), objects(dockerd)) == before


def test_the_rules_survive_a_restart_of_docker(world: World, dockerd: Dockerd) -> None:
    network, sandbox = world.network(), world.sandbox()
    network.prepare()
    network.attach("a1", sandbox.pid)
    running = {k: sorted(v.splitlines()) for k, v in world.snapshot().items()}  # Docker takes its networks in any order
    for _ in range(2):
        dockerd.stop()
        assert safe_and_useful(world, sandbox)
        dockerd.start()
        assert network.check() == []
        assert safe_and_useful(world, sandbox)
    assert {k: sorted(v.splitlines()) for k, v in world.snapshot().items()} == running


def test_a_docker_that_starts_later_does_not_cut_the_builds_off(world: World, dockerd: Dockerd) -> None:
    dockerd.stop()
    for words in ("-P FORWARD ACCEPT", "-F", "-X", "-t nat -F", "-t nat -X"):  # as after a boot
        run(f"iptables {words}")
    network, first, second = world.network(), world.sandbox(), world.sandbox()
    network.prepare()
    network.attach("a1", first.pid)
    assert "DOCKER" not in run("iptables -S")
    sysctl("net/ipv4/ip_forward", "0")
    dockerd.start()
    assert "-P FORWARD DROP" in run("iptables -S")
    network.attach("b2", second.pid)  # which looks, and mends
    assert safe_and_useful(world, first) and safe_and_useful(world, second)
