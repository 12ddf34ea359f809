"""From a sandbox the internet is reached, and nothing else, although somebody listens there."""

import errno
import socket

import pytest

from tests.contract.net_parts import (
    BEYOND,
    ELSEWHERE,
    INSTANCE,
    INTERNET,
    PRIVATE,
    RESOLVER,
    SUBNET,
    UPLINK,
    Space,
    World,
    echoing,
    listening,
    run,
    sysctl,
    tcp,
    udp,
)

BRIDGE = f"{INSTANCE}-bld"
GATEWAY = SUBNET.replace(".0/20", ".1")


def joined(world: World, **settings: object) -> Space:
    """A sandbox on the network of the builds."""
    network, sandbox = world.network(**settings), world.sandbox()
    network.prepare()
    network.attach("a1", sandbox.pid)
    return sandbox


def test_the_internet_is_reached_under_the_address_of_the_host(world: World) -> None:
    sandbox = joined(world)
    with listening(INTERNET, 80, world.beyond) as server:
        assert sandbox.tcp(INTERNET, 80) == "open"
        connection, (came_from, _) = server.accept()
        connection.close()
    assert came_from == UPLINK


@pytest.mark.parametrize("address", PRIVATE)
def test_a_private_network_is_refused_at_once(world: World, address: str) -> None:
    sandbox = joined(world)
    with listening(address, 80, world.beyond):
        assert tcp(address, 80) == "open"
        assert sandbox.tcp(address) == "ECONNREFUSED"


ADDRESSES = {
    "gateway": GATEWAY,
    "uplink": UPLINK,
    "public": "203.0.113.7",
    "loopback": "127.0.0.1",
    "opened": "10.77.1.1",
}


@pytest.mark.parametrize("kind", ADDRESSES)
def test_no_address_of_the_host_is_reached(world: World, kind: str) -> None:
    address = ADDRESSES[kind]
    sandbox = joined(world, reach=["10.77.0.0/16"])  # not even so
    run("ip addr add 203.0.113.7/32 dev lo")
    run("ip addr add 10.77.1.1/32 dev lo")
    with listening("0.0.0.0", 80):
        assert tcp(address, 80) == "open"
        assert sandbox.tcp(address) == "ECONNREFUSED"


def test_a_listener_on_the_loopback_of_the_host_is_not_reached(world: World) -> None:
    sandbox = joined(world)
    with listening("127.0.0.1", 80):
        assert tcp("127.0.0.1", 80) == "open"
        assert {sandbox.tcp(a) for a in ("127.0.0.1", GATEWAY, UPLINK)} == {"ECONNREFUSED"}


def test_a_port_that_is_not_among_the_settings_is_refused(world: World) -> None:
    sandbox = joined(world)
    with listening(INTERNET, 8080, world.beyond), listening(INTERNET, 443, world.beyond):
        assert (tcp(INTERNET, 8080), sandbox.tcp(INTERNET, 8080)) == ("open", "ECONNREFUSED")
        assert sandbox.tcp(INTERNET, 443) == "open"


def test_sandboxes_do_not_reach_each_other(world: World) -> None:
    network, one, two = world.network(), world.sandbox(), world.sandbox()
    network.prepare()
    first, second = network.attach("a1", one.pid), network.attach("b2", two.pid)
    with listening("0.0.0.0", 80, one), listening("0.0.0.0", 80, two):
        assert (tcp(first, 80), tcp(second, 80)) == ("open", "open")
        assert (one.tcp(second), two.tcp(first)) == ("ECONNREFUSED", "ECONNREFUSED")


def test_a_neighbour_is_not_reached_past_the_gateway_either(world: World) -> None:
    network, one, two = world.network(), world.sandbox(), world.sandbox()
    network.prepare()
    network.attach("a1", one.pid)
    second = network.attach("b2", two.pid)
    one.run(f"ip route add {SUBNET} dev eth0")  # it asks for the neighbour's MAC itself now, and nobody answers
    with listening("0.0.0.0", 80, two):
        assert tcp(second, 80) == "open"
        assert one.tcp(second) in {"EHOSTUNREACH", "ETIMEDOUT"}


@pytest.mark.parametrize("network", ["172.30.5.0/24", "203.0.113.0/24"], ids=["private", "public"])
def test_containers_are_not_reached_and_do_not_reach_in(world: World, network: str) -> None:
    # A network of containers may have addresses of the internet: it is refused for being a bridge of this host.
    container = world.container("br-other", network)
    address = network.replace(".0/24", ".2")
    builds, sandbox = world.network(), world.sandbox()
    builds.prepare()
    inner = builds.attach("a1", sandbox.pid)
    with listening("0.0.0.0", 80, container), listening("0.0.0.0", 80, sandbox):
        assert (tcp(address, 80), tcp(inner, 80)) == ("open", "open")
        assert sandbox.tcp(address) == "ECONNREFUSED"
        assert container.tcp(inner) == "ECONNREFUSED"


def test_a_host_whose_uplink_is_a_bridge_has_the_internet_behind_it(world: World) -> None:
    run("ip link add br-up type bridge")
    run("ip link set br-up up")
    run("ip link set uplink master br-up")
    run("ip addr flush dev uplink")
    run(f"ip addr add {UPLINK}/24 dev br-up")
    run(f"ip route replace default via {BEYOND}")
    sandbox = joined(world)
    with listening(INTERNET, 80, world.beyond):
        assert sandbox.tcp(INTERNET) == "open"


def test_a_private_network_that_was_opened_is_reached_on_the_ports_of_the_settings(world: World) -> None:
    sandbox = joined(world, reach=["10.77.0.0/16"])
    with listening("10.77.0.5", 80, world.beyond), listening("10.77.0.5", 22, world.beyond):
        assert sandbox.tcp("10.77.0.5", 80) == "open"
        assert (tcp("10.77.0.5", 22), sandbox.tcp("10.77.0.5", 22)) == ("open", "ECONNREFUSED")


def test_a_container_that_was_opened_is_reached_although_it_is_on_this_host(world: World) -> None:
    container = world.container("br-other", "10.77.8.0/24")
    sandbox = joined(world, reach=["10.77.0.0/16"])
    with listening("10.77.8.2", 80, container):
        assert sandbox.tcp("10.77.8.2") == "open"


def test_a_resolver_in_a_container_is_asked(world: World) -> None:
    container = world.container("br-other", "172.30.5.0/24")
    world.resolv.write_text("nameserver 172.30.5.2\n")
    sandbox = joined(world)
    with echoing("172.30.5.2", 53, container), listening("172.30.5.2", 80, container):
        assert (sandbox.udp("172.30.5.2", 53), sandbox.tcp("172.30.5.2", 80)) == ("open", "ECONNREFUSED")


def test_names_are_asked_of_the_resolver_and_of_nobody_else(world: World) -> None:
    sandbox = joined(world)
    with echoing(RESOLVER, 53, world.beyond), listening(RESOLVER, 53, world.beyond):
        assert (sandbox.udp(RESOLVER, 53), sandbox.tcp(RESOLVER, 53)) == ("open", "open")
    with echoing(ELSEWHERE, 53, world.beyond), echoing(ELSEWHERE, 443, world.beyond):
        assert (udp(ELSEWHERE, 53), udp(ELSEWHERE, 443)) == ("open", "open")
        assert (sandbox.udp(ELSEWHERE, 53), sandbox.udp(ELSEWHERE, 443)) == ("EHOSTUNREACH", "EHOSTUNREACH")


def test_of_a_resolver_on_the_host_itself_only_port_53_is_reached(world: World) -> None:
    world.resolv.write_text(f"nameserver 127.0.0.1\nnameserver {UPLINK}\n")
    sandbox = joined(world)
    with echoing(UPLINK, 53), listening(UPLINK, 53), listening(UPLINK, 80), echoing(UPLINK, 443):
        assert (sandbox.udp(UPLINK, 53), sandbox.tcp(UPLINK, 53)) == ("open", "open")
        assert (tcp(UPLINK, 80), sandbox.tcp(UPLINK, 80)) == ("open", "ECONNREFUSED")
        assert (udp(UPLINK, 443), sandbox.udp(UPLINK, 443)) == ("open", "EHOSTUNREACH")


def test_a_hundred_refusals_in_a_row_are_each_at_once(world: World) -> None:
    # The kernel sends six ICMP errors in a row and then one a second; a scan would wait for its end.
    sandbox = joined(world)
    assert {sandbox.tcp(INTERNET, port) for port in range(8000, 8100)} == {"ECONNREFUSED"}


def test_there_is_no_ipv6_on_either_end(world: World) -> None:
    sandbox = joined(world)
    assert "inet6" not in run(f"ip addr show dev {BRIDGE}")
    with sandbox.inside():
        assert "inet6" not in run("ip addr show dev eth0")


def test_ipv6_does_not_pass_even_where_both_ends_were_given_it(world: World) -> None:
    sandbox = joined(world)
    sysctl(f"net/ipv6/conf/{BRIDGE}/disable_ipv6", "0")
    run(f"ip addr add fd00:5::1/64 dev {BRIDGE} nodad")
    sandbox.run("ip addr add fd00:5::2/64 dev eth0 nodad")
    with socket.create_server(("::", 80), family=socket.AF_INET6):
        assert sandbox.tcp("fd00:5::1") in {"EHOSTUNREACH", "ETIMEDOUT"}
        run(f"nft delete table bridge {BRIDGE}")
        sandbox.run("ip neigh flush dev eth0")
        assert sandbox.tcp("fd00:5::1") in {"EHOSTUNREACH", "ETIMEDOUT"}  # the other table alone would do
        run(f"nft delete table inet {BRIDGE}")
        sandbox.run("ip neigh flush dev eth0")
        assert sandbox.tcp("fd00:5::1") == "open"  # so it was the rules


def test_a_sandbox_speaks_only_under_its_own_address(world: World) -> None:
    sandbox = joined(world)
    forged = SUBNET.replace(".0/20", ".99")
    sandbox.run(f"ip addr add {forged}/32 dev eth0")
    with listening(INTERNET, 80, world.beyond):
        assert sandbox.tcp(INTERNET) == "open"
        assert sandbox.tcp(INTERNET, source=forged) == "ETIMEDOUT"
        run(f"nft delete table bridge {BRIDGE}")
        assert sandbox.tcp(INTERNET, source=forged) == "open"  # so it was the rules


def test_a_sandbox_does_not_speak_under_the_mac_of_another(world: World) -> None:
    sandbox = joined(world)
    with listening(INTERNET, 80, world.beyond):
        sandbox.run("ip link set eth0 address 02:6f:01:02:03:04")
        assert sandbox.tcp(INTERNET) in {"EHOSTUNREACH", "ETIMEDOUT"}
        run(f"nft delete table bridge {BRIDGE}")
        sandbox.run("ip neigh flush dev eth0")
        assert sandbox.tcp(INTERNET) == "open"


def test_a_packet_that_says_its_own_way_is_dropped(world: World) -> None:
    sandbox = joined(world)

    def connect() -> int:
        with sandbox.inside(), socket.socket() as link:
            link.setsockopt(socket.IPPROTO_IP, socket.IP_OPTIONS, bytes([1, 1, 1, 0]))  # three times nothing, the end
            link.settimeout(3)
            return link.connect_ex((INTERNET, 80))

    with listening(INTERNET, 80, world.beyond):
        assert connect() == errno.EAGAIN  # which is what connect_ex calls a time-out
        run(f"nft flush chain inet {BRIDGE} leaving")
        assert connect() == 0
