"""The network of the builds comes, goes, and is mended; what others have on the host stays as it is."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from octo.errors import Unavailable, Usage
from tests.contract.net_parts import (
    INSTANCE,
    INTERNET,
    SUBNET,
    Space,
    World,
    entered,
    listening,
    run,
    safe_and_useful,
    sysctl,
    tcp,
)

BRIDGE = f"{INSTANCE}-bld"
GATEWAY = SUBNET.replace(".0/20", ".1")


# --- coming and going ------------------------------------------------------------------------------------------


def test_the_host_is_afterwards_as_it_was_before(world: World) -> None:
    world.container("br-other", "172.30.5.0/24")
    run("nft add table inet octo")  # names that are near to ours, but somebody else's
    run("iptables -A FORWARD -i octo-bld -j ACCEPT")
    before = world.snapshot()
    network, sandbox = world.network(), world.sandbox()
    network.prepare()
    network.prepare()
    network.attach("a1", sandbox.pid)
    network.namespace(f"{INSTANCE}-engine")
    during = world.snapshot()
    network.detach("a1")
    network.clear()
    network.clear()
    after = world.snapshot()
    assert {key for key in before if during[key] != before[key]} >= {"ip -d addr", "nft -s list ruleset"}
    assert after == before
    assert f"{INSTANCE}-engine" not in run("ip netns")


def test_forwarding_is_turned_on_and_off_again(world: World) -> None:
    sysctl("net/ipv4/ip_forward", "0")
    network, sandbox = world.network(), world.sandbox()
    network.prepare()
    network.attach("a1", sandbox.pid)
    assert safe_and_useful(world, sandbox)
    network.prepare()  # the second time it is on already, by ourselves
    network.clear()
    assert sysctl("net/ipv4/ip_forward") == "0"


def test_forwarding_stays_on_when_another_bridge_may_need_it_by_now(world: World) -> None:
    sysctl("net/ipv4/ip_forward", "0")
    network = world.network()
    network.prepare()
    world.container("br-other", "172.30.5.0/24")
    network.clear()
    assert sysctl("net/ipv4/ip_forward") == "1"


def test_two_octos_on_one_host_do_not_meet(world: World) -> None:
    one, two = world.network(), world.network("a-much-longer-name-than-an-interface-may-have", "10.216.0.0/24")
    first, second = world.sandbox(), world.sandbox()
    one.prepare()
    two.prepare()
    address = one.attach("a1", first.pid)
    two.attach("a1", second.pid)
    assert two.sweep([]) == []
    with listening("0.0.0.0", 80, first):
        assert tcp(address, 80) == "open"
        assert second.tcp(address) == "ECONNREFUSED"
    two.detach("a1")
    two.clear()
    assert one.check() == []
    assert safe_and_useful(world, first)


def test_addresses_that_the_host_has_already_are_refused(world: World) -> None:
    world.container("br-other", "10.216.1.0/24")
    with pytest.raises(Unavailable, match=r"this host has 10\.216\.1\.0/24 already"):
        world.network(subnet="10.216.0.0/16").prepare()
    assert BRIDGE not in run("ip link") + run("nft list tables")


def test_a_wider_network_far_away_is_no_hindrance(world: World) -> None:
    run("ip route add 10.0.0.0/8 via 198.51.100.1")
    world.network().prepare()


def test_somebody_elses_bridge_of_that_name_is_left_alone(world: World) -> None:
    run(f"ip link add {BRIDGE} type bridge")
    network = world.network()
    with pytest.raises(Unavailable, match="there is an interface of that name"):
        network.prepare()
    assert BRIDGE not in run("nft list tables")
    network.clear()
    assert BRIDGE in run("ip link")


def test_a_subnet_without_room_is_refused(world: World) -> None:
    with pytest.raises(Usage):
        world.network(subnet="10.216.0.0/31")


def test_another_subnet_takes_the_place_of_the_former(world: World) -> None:
    world.network().prepare()
    world.network(subnet="10.216.0.0/24").prepare()
    shown = run(f"ip -4 addr show dev {BRIDGE}")
    assert "10.216.0.1/24" in shown and GATEWAY not in shown


# --- one sandbox --------------------------------------------------------------------------------------------------


def test_many_at_once_get_an_address_each(world: World) -> None:
    network = world.network()
    network.prepare()
    sandboxes = {f"a{n}": world.sandbox() for n in range(16)}

    with ThreadPoolExecutor(8) as pool:
        attached = pool.map(lambda id: network.attach(id, sandboxes[id].pid), sandboxes)
        addresses = dict(zip(sandboxes, attached, strict=True))
    assert len(set(addresses.values())) == 16
    with listening(INTERNET, 80, world.beyond):
        assert {s.tcp(INTERNET) for s in sandboxes.values()} == {"open"}
    network.detach("a3")
    with listening("0.0.0.0", 80, sandboxes["a4"]):
        assert tcp(addresses["a4"], 80) == "open"
    with sandboxes["a3"].inside():
        assert "eth0" not in run("ip link")


def test_a_process_in_the_network_of_the_host_is_refused(world: World) -> None:
    network = world.network()
    network.prepare()
    before = run("ip link")
    with pytest.raises(Unavailable, match="is in the network of the host"):
        network.attach("a1", world.host.pid)
    assert run("ip link") == before


def test_a_process_that_has_ended_is_refused(world: World) -> None:
    network = world.network()
    network.prepare()
    with Space() as gone:
        pass
    with pytest.raises(Unavailable, match="has ended"):
        network.attach("a1", gone.pid)


def test_nothing_is_left_of_a_sandbox_that_cannot_be_connected(world: World) -> None:
    network, sandbox = world.network(), world.sandbox()
    network.prepare()
    sandbox.run("ip link add eth0 type bridge")
    before = run("ip link")
    with pytest.raises(Unavailable):
        network.attach("a1", sandbox.pid)
    assert run("ip link") == before


def test_an_id_that_is_no_name_changes_nothing(world: World) -> None:
    network, sandbox = world.network(), world.sandbox()
    network.prepare()
    for id in ("a1\nlink del uplink", 'a1" up', "", "a b"):
        with pytest.raises(Usage):
            network.attach(id, sandbox.pid)
    for call in (network.namespace, network.remove_namespace):
        with pytest.raises(Usage):
            call("../evil")
    assert "uplink" in run("ip link")
    assert "eth0" not in sandbox.output("ip link")


def test_detaching_who_has_gone_harms_nobody(world: World) -> None:
    network = world.network(subnet="10.216.0.0/30")  # with one single address
    network.prepare()
    first, second = world.sandbox(), world.sandbox()
    network.attach("a1", first.pid)
    with pytest.raises(Unavailable, match="are in use"):
        network.attach("b2", second.pid)
    network.detach("a1")
    address = network.attach("b2", second.pid)
    network.detach("a1")
    network.detach("unknown")
    with listening("0.0.0.0", 80, second):
        assert tcp(address, 80) == "open"


def test_sweeping_removes_what_nobody_keeps(world: World) -> None:
    former, network = world.network(), world.network()
    former.prepare()
    sandboxes = [world.sandbox() for _ in range(3)]
    former.attach("a1", sandboxes[0].pid)
    former.attach("b2", sandboxes[1].pid)
    former.namespace(f"{INSTANCE}-engine")
    network.prepare()
    network.attach("c3", sandboxes[2].pid)
    assert network.sweep(["b2"]) == ["a1"]
    with listening(INTERNET, 80, world.beyond):
        assert [s.tcp(INTERNET) for s in sandboxes] == ["ENETUNREACH", "open", "open"]
    with entered(f"/run/netns/{INSTANCE}-engine"):
        assert "eth0" in run("ip link")
    network.detach("b2")  # of the former one
    assert "eth0" not in sandboxes[1].output("ip link")
