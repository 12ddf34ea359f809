"""The Router port: test, swap, reload, prove, put back.

`nginx -t` and a reload that return 0 prove nothing: with a port clash both do, and nginx goes on with the old table.
So a reload counts only when the new generation's marker answers and no older worker listens any more.
"""

import logging
import os
import resource
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from octo.adapters.router_nginx import sockets
from octo.adapters.router_nginx.hostports import HostPorts
from octo.adapters.router_nginx.logs import LIMIT, Logs
from octo.adapters.router_nginx.master import Master, wait_until
from octo.adapters.router_nginx.render import Frame, Renderer
from octo.adapters.router_nginx.trees import MARKER, Tree, Trees
from octo.errors import RouterFailed
from octo.ports import Route, Stream, Tally

log = logging.getLogger(__name__)

_BEYOND_DRAIN = 3600.0  # seconds: octod itself stops drained containers; no other app's websockets are cut for it
_STOP_PATIENCE = 5.0  # seconds for requests to end when nginx is stopped

Files = Mapping[str, bytes]


class NginxRouter:
    """The whole nginx lives in `prefix` and runs as the uid `user`; it outlives octod.

    drain: seconds that an old table's connections may last. patience: seconds for a reload to be proven.
    log_limit: bytes of a log.
    """

    def __init__(
        self,
        prefix: Path,
        *,
        port: int,
        listen: str,
        templates: Path,
        user: int,
        drain: float,
        patience: float = 10,
        log_limit: int = LIMIT,
    ) -> None:
        self._prefix = prefix
        self._port = port
        self._user = user
        self._patience = patience
        self._trees = Trees(prefix)
        self._master = Master(prefix, port=port, user=user)
        self._logs = Logs(prefix, limit=log_limit)
        self._ports = HostPorts(self._master, user)
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        self._workers = os.cpu_count() or 1
        frame = Frame(
            listen=listen,
            port=port,
            shutdown=drain + _BEYOND_DRAIN,
            socket=self._master.socket,
            open_files=files if files > 0 else 1 << 20,
            workers=self._workers,
            stream_module=lambda: self._ports.module() or "",
        )
        self._renderer = Renderer(templates, frame)
        self._turn = threading.Lock()  # held by the one call that reloads
        self._waiting = threading.Lock()  # guards the four below
        self._offered: tuple[int, Files] = (0, {})  # the newest table, and its number
        self._applied = 0  # number of the newest table that was applied
        self._refused = 0  # number of the last table that was put back
        self._changed = False  # whether applying `_applied` changed anything

    # --- Router

    def start(self) -> None:
        try:
            self._master.prepare()
            self._trees.prepare()
        except OSError as error:
            raise RouterFailed(f'cannot make the router\'s folder "{self._prefix}": {error.strerror}') from None
        try:
            self._offer(self._renderer.table(self._ports.servable(self._trees.last_routes())))
        except RouterFailed as error:  # an older octo's table; the right one follows with the next apply
            log.warning("nginx starts with an empty table: %s", error)
            self._offer(self._renderer.table(()))
        self._take_turn(*self._offered)

    def stop(self) -> None:
        with self._turn:
            self._master.stop(_STOP_PATIENCE)

    def apply(self, routes: Sequence[Route]) -> bool:
        """Serve this table and no other. Calls that wait for one another share a reload: the newest table's."""
        files = self._renderer.table(self._ports.servable(routes))
        return self._take_turn(self._offer(files), files)

    def taken(self, streams: Iterable[Stream]) -> str:
        return self._ports.taken(streams)

    def connections(self, targets: Iterable[str]) -> int:
        """Open connections to these targets, and clients of old workers that may still ask for one.

        An old worker with more clients than connections to apps holds a client whose request has not all arrived: a
        slow upload, a connection opened in advance. It goes to the old table's container when it is complete.
        """
        wanted, mine = frozenset(targets), [s for s in sockets.sockets() if s.uid == self._user]
        open_states = (sockets.ESTABLISHED, sockets.SYN_SENT)
        direct = sum(s.remote in wanted for s in mine if s.state in open_states)
        return direct + sum(self._undecided(pid, mine) for pid in self._master.retiring())

    def mark(self) -> int:
        self._logs.rotate(self._master.reopen_logs)
        return self._logs.mark()

    def tally(self, app: str, since: int) -> Tally:
        """app: App.id."""
        return self._logs.tally(app, since)

    def problems(self) -> Sequence[str]:
        self._logs.rotate(self._master.reopen_logs)
        return [*self._folder_problems(), *self._process_problems()]

    # --- one reload for all that wait

    @property
    def offered(self) -> int:
        """How many tables were handed in so far."""
        return self._offered[0]

    def _offer(self, files: Files) -> int:
        with self._waiting:
            self._offered = (self._offered[0] + 1, files)
            return self._offered[0]

    def _take_turn(self, ours: int, files: Files) -> bool:
        with self._turn:
            if ours <= self._applied:
                return self._changed
            newest, table = self._offered
            if newest not in (ours, self._refused):
                try:
                    return self._apply(newest, table)
                except RouterFailed as error:  # told to the one who brought it, when its turn comes
                    log.debug("a newer table was refused: %s", error)
            return self._apply(ours, files)

    def _apply(self, number: int, files: Files) -> bool:
        try:
            changed = self._swap(files)
        except RouterFailed:
            self._refused = number
            raise
        self._applied, self._changed = number, changed
        return changed

    # --- test, swap, reload, prove, put back

    def _swap(self, files: Files) -> bool:
        self._logs.rotate(self._master.reopen_logs)
        before = self._trees.current()
        if before and before.holds(files) and self._master.pid() is not None and self._serves(before):
            return False
        tree = self._write(files)
        try:
            if self._master.pid() is None:
                self._master.clear()
            self._master.test(tree.path)
            self._trees.point(tree)
            self._serve(tree)
        except RouterFailed as error:
            raise self._put_back(before, tree, error) from None
        except OSError as error:
            why = RouterFailed(f"cannot put nginx's configuration in place: {error.strerror}")
            raise self._put_back(before, tree, why) from None
        self._trees.prune(keep=(tree, before))
        self._logs.calm()
        return True

    def _write(self, files: Files) -> Tree:
        generation = self._trees.next_generation()
        try:
            return self._trees.write(generation, {**files, MARKER: self._renderer.marker(generation)})
        except OSError as error:
            raise RouterFailed(f"cannot write nginx's configuration: {error.strerror}") from None

    def _serves(self, tree: Tree) -> bool:
        marked = self._master.marked()
        return marked is not None and marked.generation == tree.generation

    def _serve(self, tree: Tree) -> None:
        since, pid = self._logs.error_mark(), self._master.pid()
        if pid is None:
            self._master.start()
            old: frozenset[int] = frozenset()
        else:
            old = self._master.workers(pid)
            self._master.reload(pid)
        if not wait_until(lambda: self._proven(tree, old) or self._given_up(since), self._patience):
            raise RouterFailed(
                f"cannot prove nginx's reload: after {self._patience:.0f} s the old table is still served"
                + "".join(f"; nginx says: {line}" for line in self._logs.serious(since)[:1]),
                hint=f"Look at {self._prefix}/logs/error.log.",
            )
        if self._given_up(since) and not self._proven(tree, old):
            raise RouterFailed(f"cannot reload nginx: {self._logs.serious(since)[0]}", hint=self._port_hint())

    def _proven(self, tree: Tree, old: frozenset[int]) -> bool:
        """Whether the new table answers, nothing older listens, and no reload in between is under way either."""
        if not self._serves(tree):
            return False
        accepting = self._master.accepting()
        return not accepting & old and len(accepting) == self._workers

    def _given_up(self, since: int) -> bool:
        """Whether nginx went back to its old table by itself; it tries to bind() five times before it does."""
        lines = [line for line in self._logs.serious(since) if "[emerg]" in line]
        return any(" bind() to " not in line for line in lines)

    def _put_back(self, before: Tree | None, failed: Tree, error: RouterFailed) -> RouterFailed:
        """Make the old table the current one again, and nginx too if it was told; returns what to raise."""
        current = self._trees.current()
        if current == failed:
            self._trees.point(before)
            if before and self._master.pid() is not None:
                try:
                    self._serve(before)
                except RouterFailed as again:
                    error = RouterFailed(f"{error.message}; and the old table is not proven: {again.message}")
        self._trees.remove(failed)
        return error

    # --- what it looks like

    def _undecided(self, worker: int, mine: Sequence[sockets.Socket]) -> int:
        """Clients of an old worker that have no connection to an app and are not being sent an answer."""
        held = sockets.socket_inodes(worker)
        here = [s for s in mine if s.inode in held and s.state == sockets.ESTABLISHED]
        streaming = sum(s.local_port in self._ports.seen for s in here)  # each has one to a container beside
        clients = [s for s in here if s.local_port == self._port]
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
        if found and (holder := sockets.holder(self._port, self._user)):
            found.append(f"port {self._port} is taken by {holder}")
        found += self._ports.problems
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

    def _port_hint(self) -> str:
        holder = sockets.holder(self._port, self._user)
        return f"Stop {holder}, or choose another http_port." if holder else ""
