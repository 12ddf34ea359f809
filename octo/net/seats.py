"""Who is on the bridge of the builds. The kernel knows: an interface per seat, whose alias names the one it is for."""

import contextlib
import socket
import threading
from collections.abc import Iterable, Mapping, Sequence

from octo import process
from octo.errors import Unavailable
from octo.net import iproute, netrules
from octo.net.iproute import Link
from octo.net.netrules import Plan, Seat

TRIES = 3  # for a seat that another process took in between


class Seats:
    """Safe for threads."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._lock = threading.Lock()
        self._mine: dict[str, str] = {}  # interface -> alias, of this object, until it leaves; "" while it is made
        self._next = 0

    def sit(self, alias: str, namespace: str = "") -> Seat:
        """Take a free seat. namespace: as for netrules.plug. Raises Unavailable."""
        for last in (*[False] * (TRIES - 1), True):
            seat = self._choose()
            try:
                iproute.batch(netrules.plug(self._plan, seat, alias, namespace), "connect a build to its network")
            except Unavailable:
                ours = alias == self.aliases().get(seat.name)
                self._give_back(seat.name, remove=ours)
                if last or ours:
                    raise
            else:
                self._mine[seat.name] = alias
                return seat
        raise AssertionError

    def leave(self, alias: str) -> bool:
        """Remove the interface, and with it the end that is inside. Whether there was one."""
        with self._lock:
            mine = [name for name, holder in self._mine.items() if holder == alias]
        names = mine or [name for name, holder in self.aliases().items() if holder == alias]
        for name in names:
            self._give_back(name, remove=True)
        return bool(names)

    def all(self) -> Sequence[Link]:
        """The interfaces of all seats taken, with details, whoever took them and wherever they hang."""
        links = iproute.shown("-d", "link", "show", "type", "veth")
        return [link for link in links if link["ifname"].startswith(self._plan.prefix) and link["ifname"][-1] != "p"]

    def aliases(self) -> Mapping[str, str]:
        """Interface -> alias; "" is one that nobody came to name."""
        return {link["ifname"]: link.get("ifalias", "") for link in self.all()}

    def seat(self, alias: str) -> Seat | None:
        taken = {holder: name for name, holder in self.aliases().items()}
        return next((seat for seat in self._plan.seats if seat.name == taken.get(alias)), None)

    def problems(self) -> Sequence[str]:
        """Which seats are not as `sit` left them, a sentence each. One that is not up is still being made."""
        up = [link for link in self.all() if "UP" in link["flags"]]
        return [f'"{link["ifname"]}" is not isolated on the bridge' for link in up if not self._isolated(link)]

    def hold(self) -> None:
        """Put all on the bridge again, which may be a new one. Those that end meanwhile are no error."""
        lines = "".join(netrules.hold(self._plan, name) for name in self.aliases())
        process.run(["ip", "-force", "-batch", "-"], input=lines.encode())

    def sweep(self, keep: Iterable[str]) -> Sequence[str]:
        """Remove all but these aliases and those taken by this object; return the aliases removed."""
        kept = set(keep)
        removed = []
        for name, alias in self.aliases().items():
            with self._lock:
                spared = alias in kept or name in self._mine
            if not spared:
                iproute.ip("link", "del", name)
                removed.append(alias)
        self._forget_ended()
        return sorted(a for a in removed if a)

    def clear(self) -> None:
        for name in self.aliases():
            self._give_back(name, remove=True)

    # --- helpers ---------------------------------------------------------------------------------------

    def _isolated(self, link: Link) -> bool:
        slave = link.get("linkinfo", {}).get("info_slave_data", {})
        return bool(link.get("master") == self._plan.bridge and slave.get("isolated"))

    def _choose(self) -> Seat:
        """The next free one in turn: what was freed last is used last, and what is left of it has died down."""
        with self._lock:
            there = {name for _, name in socket.if_nameindex()} | set(self._mine)
            seats = self._plan.seats
            for step in range(len(seats)):
                seat = seats[(self._next + step) % len(seats)]
                if seat.name not in there:
                    self._next = (self._next + step + 1) % len(seats)
                    self._mine[seat.name] = ""
                    return seat
        raise Unavailable(
            f"cannot connect a build to its network: all {len(seats)} addresses of {self._plan.subnet} are in use",
            hint="Choose a larger build_network in octo.toml.",
        )

    def _give_back(self, name: str, *, remove: bool) -> None:
        """The name is kept until the interface is gone: else the removal could hit who took the seat next."""
        if remove:
            iproute.ip("link", "del", name)
        with self._lock, contextlib.suppress(KeyError):
            del self._mine[name]

    def _forget_ended(self) -> None:
        """Those whose namespace has ended, and whose interface therefore went with it."""
        there = {name for _, name in socket.if_nameindex()}
        with self._lock:
            for name in [n for n, alias in self._mine.items() if alias and n not in there]:
                del self._mine[name]
