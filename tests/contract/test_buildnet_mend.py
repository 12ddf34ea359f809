"""What others on the host do to the network of the builds, or a kill does: builds fail closed, and it is mended."""

import contextlib
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from octo import process
from octo.errors import Unavailable
from tests.contract.net_parts import (
    ELSEWHERE,
    INSTANCE,
    INTERNET,
    RESOLVER,
    SUBNET,
    Space,
    World,
    echoing,
    entered,
    listening,
    run,
    safe_and_useful,
    sysctl,
    tcp,
)

BRIDGE = f"{INSTANCE}-bld"
GATEWAY = SUBNET.replace(".0/20", ".1")
ENGINE = f"{INSTANCE}-ns"
CHECKOUT = Path(__file__).resolve().parent.parent.parent
LIKE_DOCKER = ("-P FORWARD DROP", "-N DOCKER-USER", "-A DOCKER-USER -j RETURN", "-A FORWARD -j DOCKER-USER")


def programs(folder: Path, *names: str, iptables: str = "") -> str:
    """A PATH with these programs alone. iptables: the one that goes by that name."""
    (folder / "bin").mkdir()
    for name in names:
        (folder / "bin" / name).symlink_to(str(shutil.which(name)))
    if iptables:
        (folder / "bin" / "iptables").symlink_to(str(shutil.which(iptables)))
    return str(folder / "bin")


# --- firewalls -----------------------------------------------------------------------------------------------------


DAMAGES = (
    "nft flush ruleset",
    "nft delete table bridge BRIDGE",
    "nft flush set inet BRIDGE private",
    "nft flush chain inet BRIDGE crossing",
    "ip link del BRIDGE",
    "ip link set BRIDGE down",
    "ip addr flush dev BRIDGE",
)


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_seen_and_mended_before_the_next_build_starts(world: World, damage: str) -> None:
    network, first, second = world.network(), world.sandbox(), world.sandbox()
    network.prepare()
    network.attach("a1", first.pid)
    run(damage.replace("BRIDGE", BRIDGE))  # the workers must have the same names for their tests
    assert network.check()
    network.attach("b2", second.pid)
    assert network.check() == []
    assert safe_and_useful(world, second)
    assert safe_and_useful(world, first)  # and it helps those that run


def test_no_build_gets_a_network_while_the_rules_cannot_be_put(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, sandbox = world.network(), world.sandbox()
    network.prepare()
    run("nft flush ruleset")
    with monkeypatch.context() as without:
        without.setattr(process, "PATH", programs(tmp_path, "ip", "nsenter"))
        with pytest.raises(Unavailable, match="nft"):
            network.attach("a1", sandbox.pid)
        with pytest.raises(Unavailable, match="nft"):
            network.namespace(ENGINE)
    assert "eth0" not in sandbox.output("ip link")
    assert ENGINE not in run("ip netns")


def test_a_network_that_was_never_prepared_is_prepared_by_the_first_build(world: World) -> None:
    network, sandbox = world.network(), world.sandbox()
    assert network.check()
    network.attach("a1", sandbox.pid)
    assert safe_and_useful(world, sandbox)


@pytest.mark.parametrize("kind", ["iptables-nft", "iptables-legacy"])
@pytest.mark.parametrize("rules", [LIKE_DOCKER, ("-P FORWARD DROP",), ("-A FORWARD -j REJECT",)])
def test_builds_pass_where_iptables_lets_nothing_be_forwarded(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, rules: tuple[str, ...]
) -> None:
    monkeypatch.setattr(process, "PATH", programs(tmp_path, "ip", "nft", "nsenter", iptables=kind))
    for rule in rules:
        run(f"{kind} {rule}")
    before = run(f"{kind} -S")
    network, sandbox = world.network(), world.sandbox()
    network.prepare()
    network.prepare()
    assert len(run(f"{kind} -S").splitlines()) == len(before.splitlines()) + 2
    network.attach("a1", sandbox.pid)
    assert safe_and_useful(world, sandbox)
    chain = "DOCKER-USER" if rules == LIKE_DOCKER else "FORWARD"
    run(f"{kind} -D {chain} 1")
    assert network.check() == ["iptables does not let the builds pass"]
    network.prepare()
    assert safe_and_useful(world, sandbox)
    network.clear()
    assert run(f"{kind} -S") == before


@pytest.mark.parametrize("value", ["0", "1"])
def test_it_makes_no_difference_whether_frames_on_bridges_go_through_iptables(world: World, value: str) -> None:
    if not Path("/proc/sys/net/bridge").exists():
        pytest.skip("the module br_netfilter is not loaded")
    sysctl("net/bridge/bridge-nf-call-iptables", value)
    network, one, two = world.network(), world.sandbox(), world.sandbox()
    network.attach("a1", one.pid)
    address = network.attach("b2", two.pid)
    with listening("0.0.0.0", 80, two):
        assert one.tcp(address) == "ECONNREFUSED"
    assert safe_and_useful(world, one)


def test_builds_pass_after_all_rules_of_iptables_were_flushed(world: World) -> None:
    for rule in LIKE_DOCKER:
        run(f"iptables {rule}")
    network, sandbox = world.network(), world.sandbox()
    network.prepare()
    run("iptables -F")  # the policy stays, and nothing leads to Docker's chain any more
    network.attach("a1", sandbox.pid)
    assert safe_and_useful(world, sandbox)


def test_nothing_forbidden_opens_while_the_rules_of_iptables_are_gone(world: World) -> None:
    for rule in LIKE_DOCKER:
        run(f"iptables {rule}")
    network, sandbox, container = world.network(), world.sandbox(), world.container("br-other", "172.30.5.0/24")
    network.prepare()
    network.attach("a1", sandbox.pid)
    run("iptables -F")
    run("iptables -P FORWARD ACCEPT")
    assert safe_and_useful(world, sandbox)
    with listening("0.0.0.0", 80, container):
        assert (tcp("172.30.5.2", 80), sandbox.tcp("172.30.5.2")) == ("open", "ECONNREFUSED")


def test_iptables_is_not_needed(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "PATH", programs(tmp_path, "ip", "nft", "nsenter"))
    network, sandbox = world.network(), world.sandbox()
    network.attach("a1", sandbox.pid)
    assert network.check() == []
    assert safe_and_useful(world, sandbox)


def test_forwarding_that_was_turned_off_is_turned_on_again(world: World) -> None:
    network, sandbox = world.network(), world.sandbox()
    network.prepare()
    sysctl("net/ipv4/ip_forward", "0")
    network.attach("a1", sandbox.pid)
    assert safe_and_useful(world, sandbox)


def test_a_change_of_the_hosts_nameservers_reaches_the_next_build(world: World) -> None:
    network, sandbox = world.network(), world.sandbox()
    network.prepare()
    world.resolv.write_text(f"nameserver {ELSEWHERE}\n")
    network.attach("a1", sandbox.pid)
    assert network.nameservers() == (ELSEWHERE,)
    with echoing(ELSEWHERE, 53, world.beyond), echoing(RESOLVER, 53, world.beyond):
        assert (sandbox.udp(ELSEWHERE, 53), sandbox.udp(RESOLVER, 53)) == ("open", "EHOSTUNREACH")


# --- the namespace of the engine -------------------------------------------------------------------------------------


@contextlib.contextmanager
def inner_container(engine: Path) -> Iterator[Space]:
    """Behind a bridge in the engine's namespace, masqueraded there, as dockerd does it."""
    with Space() as container:
        with entered(engine):
            run("ip link add docker0 type bridge")
            run("ip addr add 172.17.0.1/16 dev docker0")
            run("ip link set docker0 up")
            run(f"ip link add inner master docker0 type veth peer name eth0 netns {container.pid}")
            run("ip link set inner up")
            run("iptables -t nat -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE")
        container.run(
            "ip addr add 172.17.0.2/16 dev eth0", "ip link set eth0 up", "ip route add default via 172.17.0.1"
        )
        yield container


def test_a_container_of_the_build_engine_has_the_same_network_as_a_sandbox(world: World) -> None:
    network, sandbox = world.network(), world.sandbox()
    address = network.attach("a1", sandbox.pid)
    engine = network.namespace(ENGINE)
    assert engine == Path("/run/netns") / ENGINE
    with inner_container(engine) as container, listening("0.0.0.0", 80, sandbox):
        assert safe_and_useful(world, container)
        assert (tcp(address, 80), container.tcp(address)) == ("open", "ECONNREFUSED")
        assert network.namespace(ENGINE) == engine  # it is there, and stays as it is
        assert safe_and_useful(world, container)
        container.run("ip addr add 203.0.113.99/32 dev eth0")  # not one that is masqueraded
        with listening(INTERNET, 80, world.beyond):
            assert container.tcp(INTERNET, source="203.0.113.99") == "ETIMEDOUT"
    network.remove_namespace(ENGINE)
    network.remove_namespace(ENGINE)
    assert ENGINE not in run("ip netns")


def test_a_namespace_that_lost_its_network_gets_one_again(world: World) -> None:
    network = world.network()
    with entered(network.namespace(ENGINE)):
        run("ip link del eth0")
    with entered(network.namespace(ENGINE)):
        assert "eth0" in run("ip link")


# --- kill -9 -------------------------------------------------------------------------------------------------------


def killed_at(world: World, sandbox: Space, number: int) -> int | None:
    """Make all and remove it in a process that is killed there; None, or how many programs it took to the end."""
    words = (INSTANCE, SUBNET, world.resolv, sandbox.pid, number)
    argv = [sys.executable, "-m", "tests.contract.net_crash", *map(str, words)]
    done = subprocess.run(argv, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode in {0, -signal.SIGKILL}, done.stderr
    return int(done.stdout) if done.returncode == 0 else None


@pytest.mark.parametrize("part", range(4))
def test_a_kill_at_any_point_leaves_nothing_that_is_not_mended(world: World, part: int) -> None:
    for rule in LIKE_DOCKER:
        run(f"iptables {rule}")
    before, number, all = world.snapshot(), part + 1, None
    while all is None:
        with Space() as left, Space() as sandbox:
            all = killed_at(world, left, number)
            network = world.network()
            network.prepare()
            network.sweep([])
            assert "eth0" not in left.output("ip link")
            network.attach("b2", sandbox.pid)
            assert safe_and_useful(world, sandbox)
            with entered(network.namespace(ENGINE)):
                assert "eth0" in run("ip link")
            network.clear()
        assert world.snapshot() == before
        assert ENGINE not in run("ip netns")
        number += 4
    assert number > all > 20
