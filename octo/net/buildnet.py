"""The network of the builds: a bridge of octo's own, from which the internet is reached and nothing else.

Nothing is written down: what is so is read from the kernel, where a killed octod's work is found by the next one.
Refusals are decided in netrules.rules; this makes them stand, and lets nobody on the bridge while they do not.
"""

import contextlib
import logging
import os
import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Network
from pathlib import Path

from octo import process
from octo.errors import Unavailable, Usage
from octo.net import iproute, netrules
from octo.net.firewall import Firewall, generation
from octo.net.iproute import Link
from octo.net.netrules import Plan, Seat
from octo.net.seats import Seats

log = logging.getLogger(__name__)

# The second is where systemd-resolved writes whom it asks itself; the first then names only its own loopback address.
RESOLV_FILES = (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf"))
NAMESPACES = Path("/run/netns")
FORWARD = "/proc/sys/net/ipv4/ip_forward"
SANDBOX, NAMESPACE = "sandbox:", "namespace:"  # how aliases begin
SWITCHED = "octo turned ip_forward on"  # alias of the bridge: what `clear` is to undo


class BuildNetwork:
    """Safe for threads. ports: TCP ports of the internet, and of the private networks in `reach`.

    attach and namespace raise Unavailable when the rules are not in place and cannot be put there.
    """

    def __init__(
        self,
        instance: str,
        subnet: str,
        ports: Iterable[str],
        reach: Iterable[str] = (),
        *,
        resolv: Sequence[Path] = RESOLV_FILES,
    ) -> None:
        networks = tuple(IPv4Network(network) for network in reach)
        self._plan = Plan(instance, IPv4Network(subnet), tuple(map(int, ports)), networks)
        if not self._plan.seats:
            raise Usage(f'cannot use the setting "build_network": {subnet} has no address for a build')
        self._resolv = resolv
        self._wall = Firewall(self._plan)
        self._seats = Seats(self._plan)
        self._lock = threading.RLock()  # of the bridge, the rules and the namespaces
        self._host: object = None  # what the rules say about the host
        self._good: object = None  # how things were when `check` last found nothing

    # --- the whole ---------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Make what is not there, mend what is. Raises Unavailable."""
        with self._lock:
            self._room()
            self._host = host = self.nameservers(), self._uplinks()
            self._wall.put(*host)  # before the bridge: that is never there unguarded
            self._make_bridge()
            state = self._state()
            if problems := self.check():
                raise Unavailable(f"cannot make the network of the builds: {'; '.join(problems)}")
            self._good = state

    def check(self) -> Sequence[str]:
        """What is wrong with it now, a sentence each."""
        found = list(self._wall.problems())
        bridge = self._plan.bridge
        link = self._link()
        if link is None or "UP" not in link["flags"] or self._plan.gateway not in _addresses(link):
            found.append(f'the bridge "{bridge}" is not up with the address {self._plan.gateway}')
        if _read(_no_ipv6(bridge)) == "0":
            found.append(f'the bridge "{bridge}" has IPv6')
        if _read(FORWARD) == "0":
            found.append("this host forwards nothing: net.ipv4.ip_forward is 0")
        if self._host != (self.nameservers(), self._uplinks()):
            found.append("this host has other nameservers or default routes now")
        return [*found, *self._seats.problems()]

    def clear(self) -> None:
        """Remove all of it, the sandboxes' ends included, and nothing else. Absent is no error."""
        with self._lock:
            self._good = None
            for alias in self._seats.aliases().values():
                if alias.startswith(NAMESPACE):
                    self.remove_namespace(alias.removeprefix(NAMESPACE))
            self._seats.clear()
            bridge = self._link()
            if bridge and self._ours(bridge):
                iproute.ip("link", "del", self._plan.bridge)
            self._wall.clear()
            # The owner of another bridge may have come to lean on it meanwhile, and would not turn it on again.
            if bridge and bridge.get("ifalias") == SWITCHED and not iproute.shown("link", "show", "type", "bridge"):
                Path(FORWARD).write_text("0\n")

    def sweep(self, keep: Iterable[str]) -> Sequence[str]:
        """Remove the ends of all sandboxes but those in `keep` and those that this object attached.

        Returns the ids removed. Namespaces stay: who uses one says when it is to go.
        """
        with self._lock:  # no namespace is half made now
            spared = [alias for alias in self._seats.aliases().values() if alias.startswith(NAMESPACE)]
            removed = self._seats.sweep([*(SANDBOX + id for id in keep), *spared])
        return [alias.removeprefix(SANDBOX) for alias in removed]

    def nameservers(self) -> Sequence[str]:
        """What goes into a build's resolv.conf: the ones that its network lets it ask."""
        return netrules.nameservers(_read(file) for file in self._resolv)

    # --- one sandbox ---------------------------------------------------------------------------------------------

    def attach(self, id: str, pid: int) -> str:
        """Give the network namespace of that process an eth0 with a route to the internet; return its address.

        Raises Unavailable, also when the process has no network namespace of its own.
        """
        alias = SANDBOX + _plain(id)
        self._ensure()
        with _namespace_of(pid) as namespace:
            seat = self._seats.sit(alias, namespace)
            try:
                iproute.batch(netrules.inside(self._plan, seat), "connect a build to its network", within=namespace)
            except BaseException:
                self._seats.leave(alias)
                raise
        return seat.address

    def detach(self, id: str) -> None:
        """Take its eth0 away. An unknown id is no error, nor is one whose namespace has ended already."""
        self._seats.leave(SANDBOX + id)

    # --- a namespace with a name -----------------------------------------------------------------------------------

    def namespace(self, name: str) -> Path:
        """Make sure of a network namespace /run/netns/NAME that has an eth0 as `attach` gives it, and forwards.

        What is in there already stays; a namespace of that name that is not on this network is replaced. For an engine
        and its containers, which come out with the address of this eth0.
        """
        alias, path = NAMESPACE + _plain(name), NAMESPACES / name
        self._ensure()
        with self._lock:
            seat = self._seats.seat(alias)
            if seat is None or not _connected(path, seat):
                self.remove_namespace(name)
                seat = self._seats.sit(alias)  # its alias first: then `clear` knows of the namespace
                _must(["ip", "netns", "add", name])
                _must(["ip", "link", "set", netrules.loose(seat), "netns", name, "name", "eth0"])
                _must(["nsenter", f"--net={path}", "tee", FORWARD], input=b"1\n")
                iproute.batch(netrules.inside(self._plan, seat), "connect a build to its network", within=str(path))
        return path

    def remove_namespace(self, name: str) -> None:
        """What still runs in it is without a network then. Absent is no error."""
        with self._lock:
            if (NAMESPACES / _plain(name)).exists():
                iproute.ip("netns", "del", name)
            self._seats.leave(NAMESPACE + name)

    # --- helpers ---------------------------------------------------------------------------------------------------

    def _ensure(self) -> None:
        """Cheap while nothing changed. Else look, and mend: firewalls are reloaded, bridges taken away."""
        if self._good is not None and self._state() == self._good:
            return
        with self._lock:
            state = self._state()
            if self._good is not None and state == self._good:  # another thread was faster
                return
            if problems := self.check():
                log.warning("mending the network of the builds: %s", "; ".join(problems))
                self.prepare()
            else:
                self._good = state

    def _state(self) -> object:
        """What is another after nearly everything that `check` finds, for a hundredth of its price."""
        bridge = iproute.up_as(self._plan.bridge)
        return generation(), bridge, _read(FORWARD), _read("/proc/net/ip_tables_names"), self.nameservers()

    def _room(self) -> None:
        link = self._link()
        if link and not self._ours(link):
            raise Unavailable(
                f'cannot make the bridge "{self._plan.bridge}": there is an interface of that name',
                hint="Choose another instance in octo.toml.",
            )
        routes = iproute.shown("-4", "route", "show", "table", "main")
        others = [(r["dst"], "gateway" not in r) for r in routes if r.get("dev") != self._plan.bridge]
        if holder := netrules.taken(self._plan.subnet, others):
            raise Unavailable(
                f"cannot make the network of the builds on {self._plan.subnet}: this host has {holder} already",
                hint="Choose another build_network in octo.toml.",
            )

    def _uplinks(self) -> Sequence[str]:
        routes = iproute.shown("-4", "route", "show", "default")
        hops = [hop for route in routes for hop in (route, *route.get("nexthops", ()))]
        return sorted({hop["dev"] for hop in hops if "dev" in hop})

    def _make_bridge(self) -> None:
        plan = self._plan
        link = self._link()
        if link is None:
            made = f"link add {plan.bridge} address {plan.mac} type bridge stp_state 0 mcast_snooping 0\n"
            iproute.batch(made, f'make the bridge "{plan.bridge}"')
            log.info("made the bridge %s on %s", plan.bridge, plan.subnet)
        with contextlib.suppress(FileNotFoundError):  # a kernel without IPv6
            Path(_no_ipv6(plan.bridge)).write_text("1\n")
        lines = [
            f"addr replace {plan.gateway}/{plan.subnet.prefixlen} dev {plan.bridge}\n",
            f"link set {plan.bridge} up\n",
        ]
        if set(_addresses(link or {})) - {plan.gateway}:  # of another build_network
            lines.insert(0, f"addr flush dev {plan.bridge}\n")
        if _read(FORWARD) == "0":
            lines.insert(0, f'link set {plan.bridge} alias "{SWITCHED}"\n')
        iproute.batch("".join(lines), f'set the bridge "{plan.bridge}" up')
        if _read(FORWARD) == "0":
            Path(FORWARD).write_text("1\n")
        self._seats.hold()

    def _link(self) -> Link | None:
        return next(iter(iproute.shown("-d", "addr", "show", "dev", self._plan.bridge)), None)

    def _ours(self, link: Link) -> bool:
        return bool(link.get("address") == self._plan.mac)


@contextlib.contextmanager
def _namespace_of(pid: int) -> Iterator[str]:
    """A path to the network namespace of a process, which stays the same one when the process ends."""
    try:
        descriptor = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        raise Unavailable("cannot connect a build to its network: its sandbox has ended") from None
    try:
        if os.path.samestat(os.fstat(descriptor), os.stat("/proc/thread-self/ns/net")):
            raise Unavailable("cannot connect a build to its network: its sandbox is in the network of the host")
        yield f"/proc/{os.getpid()}/fd/{descriptor}"
    finally:
        os.close(descriptor)


def _plain(name: str) -> str:
    """Checked: it becomes a word of ip's, and part of a path."""
    if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*", name):
        raise Usage(f'cannot connect "{name}" to a network: letters, digits, "_", "." and "-" make its name')
    return name


def _connected(path: Path, seat: Seat) -> bool:
    """Whether the namespace is there and has the seat's address; a killed octod may have left one without."""
    done = process.run(["nsenter", f"--net={path}", "ip", "-4", "-o", "addr", "show", "dev", "eth0"])
    return f" {seat.address}/32 " in done.out.decode()


def _must(argv: Sequence[str], *, input: bytes = b"") -> None:
    done = process.run(argv, input=input)
    if done.code:
        raise Unavailable(f"cannot make a network namespace for the builds: {done.text}")


def _addresses(link: Link) -> Sequence[str]:
    return [a["local"] for a in link.get("addr_info", ()) if a["family"] == "inet"]


def _no_ipv6(bridge: str) -> str:
    return f"/proc/sys/net/ipv6/conf/{bridge}/disable_ipv6"


def _read(file: Path | str) -> str:
    """Its text without the end of the line; nothing when it is not there."""
    try:
        return Path(file).read_text().strip()
    except OSError:
        return ""
