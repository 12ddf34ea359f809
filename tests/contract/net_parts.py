"""Network namespaces that stand for hosts, sandboxes and the world, and who listens there.

Sockets keep the namespace they were made in, so everything here is done by the test's own thread, which goes there
and comes back.
"""

import contextlib
import ctypes
import errno
import os
import re
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from octo.net.buildnet import BuildNetwork

WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
INSTANCE = f"octo-t{WORKER}n"
SUBNET = f"10.215.{WORKER % 8 * 32}.0/20"
PATIENCE = 4  # seconds for an answer; longer than the three that a MAC is asked for
CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)

UPLINK, BEYOND = "198.51.100.2", "198.51.100.1"  # the host's end of its line to the world, and the world's
INTERNET, ELSEWHERE = "203.0.113.80", "203.0.113.81"
RESOLVER, METADATA = "10.255.255.53", "169.254.169.254"
PRIVATE = ("10.77.0.5", "100.64.0.9", "172.20.0.9", "192.0.0.9", "192.168.7.7", "198.18.0.9", METADATA, RESOLVER)


class Space:
    """A network namespace; it lives until it is closed."""

    def __init__(self) -> None:
        argv = ["unshare", "--net", "sh", "-c", "ip link set lo up; echo up; read _"]
        self._process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout and self._process.stdout.readline() == b"up\n"
        self.pid = self._process.pid
        self.path = f"/proc/{self.pid}/ns/net"

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """This thread, and the programs it runs, are in the namespace for the body of the `with`."""
        with entered(self.path):
            yield

    def run(self, *lines: str) -> None:
        with self.inside():
            for line in lines:
                run(line)

    def output(self, line: str) -> str:
        with self.inside():
            return run(line)

    def tcp(self, address: str, port: int = 80, source: str = "") -> str:
        with self.inside():
            return tcp(address, port, source)

    def udp(self, address: str, port: int) -> str:
        with self.inside():
            return udp(address, port)


@contextlib.contextmanager
def entered(path: str | Path) -> Iterator[None]:
    here = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open(path, os.O_RDONLY)
    try:
        _enter(there)
        yield
    finally:
        _enter(here)
        os.close(here)
        os.close(there)


def _enter(descriptor: int) -> None:
    if LIBC.setns(descriptor, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


def run(line: str) -> str:
    """A command without quoting; its output. It must succeed."""
    done = subprocess.run(line.split(), capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
    return done.stdout


def sysctl(name: str, value: str | None = None) -> str:
    """Of the namespace that this thread is in."""
    file = Path("/proc/sys", name)
    if value is not None:
        file.write_text(value)
    return file.read_text().strip()


# --- asking and answering -------------------------------------------------------------------------------------


@contextlib.contextmanager
def listening(address: str, port: int, at: Space | None = None) -> Iterator[socket.socket]:
    """A TCP listener: the kernel says yes to whoever comes."""
    with at.inside() if at else contextlib.nullcontext():
        server = socket.create_server((address, port), backlog=100)
    with server:
        yield server


@contextlib.contextmanager
def echoing(address: str, port: int, at: Space | None = None) -> Iterator[None]:
    """A UDP listener that sends back what it gets."""
    with at.inside() if at else contextlib.nullcontext():
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        server.bind((address, port))

    def answer() -> None:
        while (got := server.recvfrom(100))[0] != b"end":
            server.sendto(*got)

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        yield
    finally:
        with at.inside() if at else contextlib.nullcontext(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"end", (address, port))
        thread.join()
        server.close()


def tcp(address: str, port: int, source: str = "") -> str:
    """What becomes of a connection: "open", or the error's name. ETIMEDOUT is a firewall that says nothing."""
    try:
        with socket.create_connection((address, port), PATIENCE, (source, 0) if source else None):
            return "open"
    except TimeoutError:
        return "ETIMEDOUT"
    except OSError as error:
        return errno.errorcode[error.errno or 0]


def udp(address: str, port: int) -> str:
    """As `tcp`, with a datagram that `echoing` sends back."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.settimeout(PATIENCE)
        asker.connect((address, port))
        try:
            asker.send(b"?")
            return "open" if asker.recv(10) == b"?" else "garbled"
        except TimeoutError:
            return "ETIMEDOUT"
        except OSError as error:
            return errno.errorcode[error.errno or 0]


# --- a host of its own ----------------------------------------------------------------------------------------


class World:
    """A host with a line to the world, where everything has an address, and one listens wherever a test says."""

    def __init__(self, folder: Path, stack: contextlib.ExitStack) -> None:
        self.host, self.beyond = stack.enter_context(Space()), stack.enter_context(Space())
        self._stack = stack
        self._made = 0
        self.resolv = folder / "resolv.conf"
        self.resolv.write_text(f"nameserver {RESOLVER}\n")
        with self.host.inside():
            sysctl("net/ipv4/ip_forward", "1")
            for name in ("all", "default"):
                sysctl(f"net/ipv6/conf/{name}/accept_dad", "0")  # an address is there at once, or never
        self.wire(self.beyond, "line", f"{BEYOND}/24", UPLINK, name="uplink", prefix=24)
        self.host.run(f"ip route add default via {BEYOND}")
        for address in (INTERNET, ELSEWHERE, *PRIVATE):
            self.beyond.run(f"ip addr add {address}/32 dev lo")

    def network(self, instance: str = INSTANCE, subnet: str = SUBNET, **more: Any) -> BuildNetwork:
        """Of an octo on this host; what it made is gone when the test ends."""
        network = BuildNetwork(instance, subnet, **{"ports": ("80", "443"), "resolv": [self.resolv], **more})
        self._stack.callback(network.clear)
        return network

    def sandbox(self) -> Space:
        return self._stack.enter_context(Space())

    def wire(self, space: Space, inner: str, address: str, outer: str, *, name: str = "", prefix: int = 32) -> None:
        """A cable between an interface of the host, with the address `outer`, and one of the space."""
        self._made += 1
        name = name or f"cable{self._made}"
        with self.host.inside():
            run(f"ip link add {name} type veth peer name {inner} netns {space.pid}")
            run(f"ip addr add {outer}/{prefix} dev {name}")
            run(f"ip link set {name} up")
        space.run(f"ip addr add {address} dev {inner}", f"ip link set {inner} up")

    def container(self, bridge: str, network: str) -> Space:
        """On a bridge of its own with that network, the way Docker has it; its address is the second."""
        gateway, address = network.replace(".0/24", ".1"), network.replace(".0/24", ".2")
        space = self.sandbox()
        with self.host.inside():
            run(f"ip link add {bridge} type bridge")
            run(f"ip addr add {gateway}/24 dev {bridge}")
            run(f"ip link set {bridge} up")
            run(f"ip link add {bridge}-1 master {bridge} type veth peer name eth0 netns {space.pid}")
            run(f"ip link set {bridge}-1 up")
        space.run(f"ip addr add {address}/24 dev eth0", "ip link set eth0 up", f"ip route add default via {gateway}")
        return space

    def snapshot(self) -> dict[str, str]:
        """All that octo could have changed on this host."""
        with self.host.inside():
            seen = {line: re.sub(PASSING, "", run(line), flags=re.MULTILINE) for line in SHOWN}
            roots = ("/proc/sys/net/ipv4/conf", "/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf")
            files = [f for root in map(Path, roots) for f in (root, *root.rglob("*")) if f.is_file()]
            seen["sysctls"] = "\n".join(f"{f} {_text(f)}" for f in files)
        return seen


SHOWN = ("ip -d addr", "ip -6 route", "ip route show table all", "ip rule", "nft -s list ruleset",
         "iptables-save", "ip6tables-save", "iptables-legacy-save")  # fmt: skip
PASSING = (  # what becomes another by itself
    r"^#.*\n"  # comments, with the time
    r"|\[\d+:\d+\]"  # counters
    r"|\w+_timer +[\d.]+"
    r"|state \w+|NO-CARRIER,|,LOWER_UP| linkdown|topology_change\w* \d"  # carrier is noticed later
    r"|^.*\b(fe80|ff00):.*\n(\s+valid_lft.*\n)?"  # and IPv6 addresses are made then
)


def _text(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:  # write-only, as stable_secret is until it is set
        return ""


def safe_and_useful(world: World, sandbox: Space) -> bool:
    """It reaches the internet, and not the host, although both listen."""
    gateway = SUBNET.replace(".0/20", ".1")
    with listening(INTERNET, 80, world.beyond), listening("0.0.0.0", 80):
        assert (tcp(INTERNET, 80), tcp(gateway, 80)) == ("open", "open")
        answers = [sandbox.tcp(address) for address in (INTERNET, gateway, UPLINK)]
    return answers == ["open", "ECONNREFUSED", "ECONNREFUSED"]
