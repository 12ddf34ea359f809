"""How nginx is, and who is connected through it."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from octo.adapters.router_nginx import sockets
from octo.adapters.router_nginx.hostports import HostPorts
from octo.adapters.router_nginx.logs import Logs
from octo.adapters.router_nginx.master import Master
from octo.adapters.router_nginx.trees import Trees


class Look:
    def __init__(
        self,
        prefix: Path,
        master: Master,
        trees: Trees,
        logs: Logs,
        streams: HostPorts,
        *,
        ports: Sequence[int],
        user: int,
    ) -> None:
        self._streams = streams
        self._prefix, self._master, self._trees, self._logs = prefix, master, trees, logs
        self._ports, self._user = frozenset(ports), user

    def connections(self, targets: Iterable[str]) -> int:
        """Open connections to these targets, and clients of old workers that may still ask for one.

        An old worker with more clients than connections to apps holds a client whose request has not all arrived: a
        slow upload, a connection opened in advance. It goes to the old table's container when it is complete.
        """
        wanted, mine = frozenset(targets), [s for s in sockets.sockets() if s.uid == self._user]
        open_states = (sockets.ESTABLISHED, sockets.SYN_SENT)
        direct = sum(s.remote in wanted for s in mine if s.state in open_states)
        return direct + sum(self._undecided(pid, mine) for pid in self._master.retiring())

    def problems(self) -> Sequence[str]:
        return [*self._folder_problems(), *self._process_problems()]

    def _undecided(self, worker: int, mine: Sequence[sockets.Socket]) -> int:
        """Clients of an old worker that have no connection to an app and are not being sent an answer."""
        held = sockets.socket_inodes(worker)
        here = [s for s in mine if s.inode in held and s.state == sockets.ESTABLISHED]
        streaming = sum(s.local_port in self._streams.seen for s in here)  # each has one to a container beside
        clients = [s for s in here if s.local_port in self._ports]
        busy = len(here) - len(clients) - 2 * streaming + sum(s.queued > 0 for s in clients)
        return max(0, len(clients) - busy)

    def _process_problems(self) -> Sequence[str]:
        current, marked = self._trees.current(), self._master.marked()
        found = []
        if self._master.pid() is None:
            found.append("nginx is not running")
        elif marked is None:
            found.append("nginx runs but its marker does not answer")
        elif current is None or marked.generation != current.generation:
            found.append("nginx serves another table than the last one that was applied")
        held = ((port, sockets.holder(port, self._user)) for port in sorted(self._ports)) if found else ()
        found += [f"port {port} is taken by {who}" for port, who in held if who]
        found += self._streams.problems
        return [*found, *(f"nginx says: {line}" for line in self._logs.serious()[-3:])]

    def _folder_problems(self) -> Sequence[str]:
        if not self._prefix.is_dir():
            return [f'the router\'s folder "{self._prefix}" does not exist']
        found = []
        if not os.access(self._prefix / "trees", os.W_OK):
            found.append(f'the router\'s folder "{self._prefix}" cannot be written')
        closed = [folder for folder in self._prefix.parents if not folder.stat().st_mode & 0o001]
        if closed:
            found.append(f'nginx (uid {self._user}) cannot enter "{closed[0]}"')
        return found
