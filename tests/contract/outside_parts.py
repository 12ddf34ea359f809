"""An internet of the tests' own beside this very host, and the network of the builds that leads there."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from octo.net.buildnet import BuildNetwork
from tests.contract.net_parts import WORKER, Space, run

INSTANCE, CABLE = f"octo-t{WORKER}e", f"octo-t{WORKER}c"
SUBNET = f"10.215.{WORKER % 8 * 32 + 16}.0/20"
ADDRESS = f"192.0.2.{10 + WORKER}"  # a documentation network: it belongs to nobody, and builds may go there


@dataclass(frozen=True)
class Outside:
    network: BuildNetwork
    space: Space  # where ADDRESS is


@contextlib.contextmanager
def outside(*ports: int) -> Iterator[Outside]:
    """ports: that builds may ask for beside 80 and 443."""
    network = BuildNetwork(INSTANCE, SUBNET, ["80", "443", *map(str, ports)])
    with Space() as space:
        run(f"ip link add {CABLE} type veth peer name eth0 netns {space.pid}")
        try:
            run(f"ip addr add 192.0.2.{100 + WORKER} peer {ADDRESS}/32 dev {CABLE}")
            run(f"ip link set {CABLE} up")
            space.run(f"ip addr add {ADDRESS}/32 dev eth0", "ip link set eth0 up", "ip route add default dev eth0")
            network.prepare()
            yield Outside(network, space)
        finally:
            network.clear()
            run(f"ip link del {CABLE}")
