"""Names, addresses and rules of the builds' network, as values."""

from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octo.net import netrules
from octo.net.netrules import LONGEST_NAME, MOST_SEATS, PUBLIC_NAMESERVERS, Plan

SUBNET = IPv4Network("10.212.0.0/20")
ACCEPTING = (
    "-A {} -i octo-bld -j ACCEPT",
    "-A {} -o octo-bld -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
)


def plan(instance: str = "octo", subnet: str = "10.212.0.0/20") -> Plan:
    return Plan(instance, IPv4Network(subnet), (80, 443))


# --- names ---------------------------------------------------------------------------------------------------------


def test_the_bridge_is_named_after_the_instance() -> None:
    assert plan("octo").bridge == "octo-bld"
    assert plan("octo-staging").bridge != plan("octo-staginh").bridge  # too long, and told apart all the same


@given(st.text(min_size=1, max_size=40))
def test_every_name_is_one_that_the_kernel_and_nft_take(instance: str) -> None:
    made = plan(instance)
    names = [made.bridge, *(seat.name for seat in made.seats), *(netrules.loose(seat) for seat in made.seats)]
    assert all(len(name) <= LONGEST_NAME and name.isascii() for name in names)
    assert all(name.replace("-", "").replace("_", "").isalnum() and name[0].isalpha() for name in names)
    assert len(set(names)) == len(names)
    assert not made.bridge.startswith(made.prefix)


@given(st.text(min_size=1), st.text(min_size=1))
def test_two_instances_share_no_name(one: str, other: str) -> None:
    if one != other:
        a, b = plan(one), plan(other)
        assert not {a.bridge, a.prefix, a.mac} & {b.bridge, b.prefix, b.mac}


# --- addresses -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("subnet", "seats"), [("10.0.0.0/8", MOST_SEATS), ("10.1.2.0/24", 253), ("10.1.2.0/30", 1), ("10.1.2.0/31", 0)]
)
def test_every_address_of_the_subnet_is_a_seat_but_three(subnet: str, seats: int) -> None:
    made, network = plan(subnet=subnet), IPv4Network(subnet)
    addresses = {IPv4Address(seat.address) for seat in made.seats}
    assert len(addresses) == seats
    assert all(address in network for address in addresses)
    assert not addresses & {network.network_address, IPv4Address(made.gateway), network.broadcast_address}


def test_every_seat_has_a_mac_of_its_own_that_no_maker_gave_out() -> None:
    macs = [seat.mac for seat in plan().seats]
    assert len(set(macs)) == len(macs)
    assert all(int(mac[:2], 16) & 0b11 == 0b10 for mac in macs)  # unicast, locally administered


# --- rules ---------------------------------------------------------------------------------------------------------


def test_the_documentation_networks_are_no_private_ones() -> None:
    assert not [n for n in ("192.0.2.1", "198.51.100.1", "203.0.113.1") if private(n)]
    assert all(private(n) for n in ("10.0.0.1", "169.254.169.254", "172.31.255.255", "100.127.0.1", "255.255.255.255"))


def private(address: str) -> bool:
    return any(IPv4Address(address) in IPv4Network(network) for network in netrules.PRIVATE)


def test_the_subnet_itself_is_refused_even_when_it_is_a_public_one() -> None:
    text = netrules.rules(plan(subnet="203.0.113.0/24"), ["192.0.2.53"], [])
    refused = next(line for line in text.splitlines() if line.strip().startswith("set private"))
    assert "203.0.113.0/24" in refused


def test_rules_are_replaced_in_one_script_and_removed_by_another() -> None:
    for script in (netrules.rules(plan(), ["192.0.2.53"], ["eth0"]), netrules.no_rules(plan())):
        lines = script.splitlines()
        for family in ("inet", "bridge"):
            declared, deleted = (lines.index(f"{verb}table {family} octo-bld") for verb in ("", "delete "))
            assert deleted == declared + 1


def test_an_interface_is_isolated_before_it_is_up() -> None:
    made = plan()
    lines = netrules.plug(made, made.seats[0], "sandbox:a1", "/proc/1/ns/net").splitlines()
    name = made.seats[0].name
    assert lines.index(f"link set {name} type bridge_slave isolated on") < lines.index(f"link set {name} up")


# --- iptables ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("listing", "chain"),
    [
        ("-P FORWARD ACCEPT", None),
        ("-P INPUT DROP\n-P FORWARD ACCEPT\n-A INPUT -j DROP", None),
        ("-P FORWARD DROP", "FORWARD"),
        ("-P FORWARD ACCEPT\n-A FORWARD -j ufw-before-forward", "FORWARD"),
        ("-P FORWARD DROP\n-N DOCKER-USER\n-A FORWARD -j DOCKER-USER", "DOCKER-USER"),
        ("-P FORWARD DROP\n-N DOCKER-USER", "FORWARD"),  # flushed: nothing leads to it
    ],
)
def test_builds_are_let_pass_only_where_something_stands_in_the_way(listing: str, chain: str | None) -> None:
    missing = netrules.missing_accepts(listing, "octo-bld")
    wanted = [rule.format(chain) for rule in ACCEPTING] if chain else []
    assert [f"-A {rule}" for rule in missing] == wanted
    assert not netrules.missing_accepts("\n".join([listing, *wanted]), "octo-bld")


def test_only_our_own_rules_are_removed_wherever_they_are() -> None:
    ours = [rule.format(chain) for rule in ACCEPTING for chain in ("FORWARD", "DOCKER-USER")]
    others = ["-A FORWARD -i octo-bld2 -j ACCEPT", "-A FORWARD -i octo-bld -j DROP", "-P FORWARD DROP", "-N octo-bld"]
    assert [f"-A {rule}" for rule in netrules.our_accepts("\n".join([*others, *ours]), "octo-bld")] == ours


# --- nameservers and routes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "asked"),
    [
        (["nameserver 192.0.2.53\nnameserver 10.0.0.53\n"], ("192.0.2.53", "10.0.0.53")),
        (["# nameserver 1.2.3.4\nsearch example.org\n  nameserver\t192.0.2.53 # ours\n"], ("192.0.2.53",)),
        (["nameserver 127.0.0.53\n", "nameserver 10.0.0.53\n"], ("10.0.0.53",)),
        (["nameserver 127.0.0.1\nnameserver 10.0.0.53\n", "nameserver 10.0.0.54\n"], ("10.0.0.53",)),
        (["nameserver 127.0.0.53\n", ""], PUBLIC_NAMESERVERS),
        (["nameserver 2001:db8::53\nnameserver fe80::1%eth0\nnameserver ::1\n", ""], PUBLIC_NAMESERVERS),
        (["nameserver 0.0.0.0\nnameserver nonsense\nnameserver\nnameserver 192.0.2.53\n"], ("192.0.2.53",)),
        (["nameserver 192.0.2.1\n" * 2 + "".join(f"nameserver 192.0.2.{n}\n" for n in (2, 3, 4))],
         ("192.0.2.1", "192.0.2.2", "192.0.2.3")),
        ([], PUBLIC_NAMESERVERS),
    ],
)  # fmt: skip
def test_builds_ask_whom_the_host_asks_unless_it_asks_itself(files: list[str], asked: tuple[str, ...]) -> None:
    assert netrules.nameservers(files) == asked


@pytest.mark.parametrize(
    ("destination", "near", "hinders"),
    [
        ("default", False, False),
        ("0.0.0.0/0", False, False),
        ("172.17.0.0/16", True, False),
        ("10.212.0.0/20", True, True),
        ("10.212.3.0/24", True, True),
        ("10.212.3.0/24", False, True),
        ("10.212.3.4", False, True),
        ("10.0.0.0/8", True, True),  # our hosts would be those of the host's own link
        ("10.0.0.0/8", False, False),  # behind a router
        ("multicast", True, False),
    ],
)
def test_a_subnet_that_the_host_has_already_is_taken(destination: str, near: bool, hinders: bool) -> None:
    assert netrules.taken(SUBNET, [(destination, near)]) == (destination if hinders else None)
