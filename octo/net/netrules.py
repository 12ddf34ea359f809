"""What the network of the builds is made of, as values and texts: names, addresses, rules."""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from ipaddress import AddressValueError, IPv4Address, IPv4Network, ip_address

# RFC 6890 without the documentation networks: those belong to nobody, and some test networks use them as the internet.
PRIVATE = (
    "0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 "
    "192.0.0.0/24 192.168.0.0/16 198.18.0.0/15 224.0.0.0/4 240.0.0.0/4"
).split()
PUBLIC_NAMESERVERS = ("1.1.1.1", "8.8.8.8")  # as Docker does: where the host itself asks nobody that a build can reach
MOST_NAMESERVERS = 3  # resolv.conf(5): MAXNS
MOST_SEATS = 500  # each is in the rules beforehand; far more than one host builds at once
LONGEST_NAME = 15  # bytes of an interface's name, IFNAMSIZ - 1


@dataclass(frozen=True)
class Seat:
    """A place on the bridge: an interface of the host, and what alone may be used behind it."""

    name: str
    address: str
    mac: str  # of the end that is inside


@dataclass(frozen=True)
class Plan:
    """One octo's network of the builds. ports: TCP, of the internet and of `reach`."""

    instance: str
    subnet: IPv4Network
    ports: tuple[int, ...]
    reach: tuple[IPv4Network, ...] = ()

    @cached_property
    def _mark(self) -> str:
        return hashlib.sha256(self.instance.encode()).hexdigest()[:6]

    @cached_property
    def bridge(self) -> str:
        """Also the name of the tables. Unique to the instance, however long that is."""
        plain = f"{self.instance}-bld"
        if len(plain) <= LONGEST_NAME and re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", plain):
            return plain
        return f"octo{self._mark}-bld"

    @property
    def prefix(self) -> str:
        """How the names of all seats begin, and nothing else does."""
        return f"ob{self._mark}-"

    @property
    def mac(self) -> str:
        """Of the bridge. Fixed: else it changes with the ports. It also tells octo's bridge from somebody else's."""
        return f"02:6f:62:{':'.join(self._mark[i : i + 2] for i in (0, 2, 4))}"

    @property
    def gateway(self) -> str:
        return str(self.subnet.network_address + 1)

    @cached_property
    def seats(self) -> Sequence[Seat]:
        """All there are. Known beforehand, so that a sandbox more is no change of the rules."""
        last = min(self.subnet.num_addresses - 1, MOST_SEATS + 2)  # the very last is the broadcast address
        return tuple(self._seat(number) for number in range(2, last))

    def _seat(self, number: int) -> Seat:
        address = self.subnet[number]
        return Seat(f"{self.prefix}{number:03x}", str(address), "02:6f:" + address.packed.hex(":"))


def rules(plan: Plan, nameservers: Iterable[str], uplinks: Iterable[str]) -> str:
    """The script for nft that puts both tables in place of what was there, all at once.

    uplinks: the interfaces of the default routes. They may be bridges; other bridges are networks of this host.
    """
    return f"""
{_anew("inet", plan.bridge)}
table inet {plan.bridge} {{
    {_set("nameservers", "ipv4_addr", nameservers)}
    {_set("reach", "ipv4_addr", map(str, plan.reach), "flags interval; auto-merge;")}
    {_set("private", "ipv4_addr", [*PRIVATE, str(plan.subnet)], "flags interval; auto-merge;")}
    {_set("ports", "inet_service", map(str, plan.ports))}
    {_set("uplinks", "ifname", (f'"{name}"' for name in uplinks))}
    {_leaving(plan)}
    {_crossing(plan)}
    chain refuse {{
        meta l4proto tcp reject with tcp reset
        meta nfproto ipv4 reject with icmp type admin-prohibited
        drop
    }}
    chain outward {{
        type nat hook postrouting priority 100; policy accept;
        ip saddr {plan.subnet} oifname != "{plan.bridge}" masquerade
    }}
}}
{_anew("bridge", plan.bridge)}
table bridge {plan.bridge} {{
    {_set("seats", "ifname . ether_addr . ipv4_addr", (f'"{s.name}" . {s.mac} . {s.address}' for s in plan.seats))}
    chain seated {{
        type filter hook prerouting priority -300; policy accept;
        iifname != "{plan.prefix}*" accept
        ether type ip iifname . ether saddr . ip saddr @seats accept
        ether type arp iifname . ether saddr . arp saddr ip @seats accept
        drop
    }}
}}
"""


def _leaving(plan: Plan) -> str:
    """What a build may send.

    Decided before Docker's DNAT, which turns an address of the host into one of a container. TCP is reset: the kernel
    sends only one ICMP error a second to an address (icmp_ratelimit), and a time-out would be the others' lot.
    """
    return f"""chain leaving {{
        type filter hook prerouting priority -150; policy accept;
        iifname != "{plan.bridge}" accept
        meta nfproto != ipv4 drop
        ip hdrlength > 5 drop
        ip saddr != {plan.subnet} drop
        ct state invalid drop
        ct state established,related accept
        ip daddr @nameservers udp dport 53 accept
        ip daddr @nameservers tcp dport 53 accept
        fib daddr type != unicast goto refuse
        ip daddr @reach tcp dport @ports accept
        ip daddr @private goto refuse
        tcp dport @ports accept
        goto refuse
    }}"""


def _crossing(plan: Plan) -> str:
    """What is forwarded: nothing new to a build, nothing to the host's other bridges but what the settings open."""
    return f"""chain crossing {{
        type filter hook forward priority -1; policy accept;
        ct state established,related accept
        oifname "{plan.bridge}" goto refuse
        iifname != "{plan.bridge}" accept
        ct original ip daddr @nameservers accept
        ct original ip daddr @reach accept
        meta oifkind "bridge" oifname != @uplinks goto refuse
    }}"""


def _anew(family: str, table: str) -> str:
    """Declared first, so that deleting what is not there is no error."""
    return f"table {family} {table}\ndelete table {family} {table}"


def no_rules(plan: Plan) -> str:
    return f"{_anew('inet', plan.bridge)}\n{_anew('bridge', plan.bridge)}\n"


def _set(name: str, kind: str, elements: Iterable[str], flags: str = "") -> str:
    listed = ", ".join(elements)
    return f"set {name} {{ type {kind}; {flags} {f'elements = {{ {listed} }}' if listed else ''}; }}"


# --- texts for `ip -batch` ----------------------------------------------------------------------------------


def plug(plan: Plan, seat: Seat, alias: str, namespace: str = "") -> str:
    """The host's side of a seat. namespace: path of where the other end goes; "" leaves it here, named as `loose` says.

    It is isolated before it is up: no frame ever passes between two seats.
    """
    peer = f"name eth0 netns {namespace}" if namespace else f"name {loose(seat)}"
    return (
        f"link add {seat.name} address {_outside(seat.mac)} master {plan.bridge}"
        f" type veth peer address {seat.mac} {peer}\n"
        f"link set {seat.name} alias {alias}\n{hold(plan, seat.name)}"
    )


def loose(seat: Seat) -> str:
    return seat.name + "p"


def hold(plan: Plan, name: str) -> str:
    """Put an interface on the bridge for good: what `plug` ends with, and what mends it."""
    return (
        f"link set {name} addrgenmode none\nlink set {name} master {plan.bridge}\n"
        f"link set {name} type bridge_slave isolated on\nlink set {name} up\n"
    )


def inside(plan: Plan, seat: Seat) -> str:
    """The sandbox's side. Its address is alone in its network: a neighbour's goes to the gateway, and is refused there.

    Were it not, the question for the neighbour's MAC would be waited for in vain for three seconds.
    """
    return (
        "link set lo up\nlink set eth0 addrgenmode none\n"
        f"addr add {seat.address}/32 dev eth0\nlink set eth0 up\n"
        f"route add {plan.gateway} dev eth0 scope link\nroute add default via {plan.gateway}\n"
    )


def _outside(mac: str) -> str:
    return "06" + mac[2:]


# --- iptables: Docker lets nothing be forwarded that it does not know ------------------------------------------


def accepting(bridge: str) -> Sequence[str]:
    """The two rules, as `iptables -S` writes them. What may pass is decided in the tables of `rules`."""
    return (f"-i {bridge} -j ACCEPT", f"-o {bridge} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT")


def missing_accepts(listing: str, bridge: str) -> Sequence[str]:
    """The rules to insert, as "CHAIN RULE", into what `iptables -S` listed.

    None are needed where nothing is in FORWARD: that would only make a table which nobody else has.
    """
    lines = listing.splitlines()
    if "-A FORWARD -j DOCKER-USER" in lines:
        chain = "DOCKER-USER"  # the one that Docker keeps through its restarts
    elif "-P FORWARD ACCEPT" not in lines or any(li.startswith("-A FORWARD ") for li in lines):
        chain = "FORWARD"
    else:
        return ()
    return [f"{chain} {rule}" for rule in accepting(bridge) if f"-A {chain} {rule}" not in lines]


def our_accepts(listing: str, bridge: str) -> Sequence[str]:
    """All of octo's rules, as "CHAIN RULE", whichever chain they are in."""
    lines = (li.removeprefix("-A ") for li in listing.splitlines() if li.startswith("-A "))
    return [li for li in lines if li.partition(" ")[2] in accepting(bridge)]


# --- names and routes --------------------------------------------------------------------------------------


def nameservers(files: Iterable[str]) -> Sequence[str]:
    """Whom a build asks, of the texts of the host's resolv.conf files, the better one first.

    The first text counts that names one outside the host's loopback and of IPv4: builds have nothing else.
    """
    for text in files:
        words = (line.split() for line in text.splitlines())
        named = [w[1] for w in words if len(w) > 1 and w[0] == "nameserver"]
        if found := [n for n in named if _reachable(n)]:
            return tuple(dict.fromkeys(found))[:MOST_NAMESERVERS]
    return PUBLIC_NAMESERVERS


def _reachable(text: str) -> bool:
    try:
        address = ip_address(text)
    except ValueError:  # an IPv6 address with its zone in a form of its own
        return False
    return isinstance(address, IPv4Address) and not address.is_loopback and not address.is_unspecified


def taken(subnet: IPv4Network, routes: Iterable[tuple[str, bool]]) -> str | None:
    """The network of this host that has those addresses already; None when there is none.

    routes: (destination, whether it is on a link of the host). A network that is far away may be the wider one: the
    nearer route wins, as for every other network here.
    """
    for destination, near in routes:
        try:
            network = IPv4Network(destination)
        except (AddressValueError, ValueError):  # "default"
            continue
        if network.prefixlen and (network.subnet_of(subnet) or (near and network.overlaps(subnet))):
            return destination
    return None
