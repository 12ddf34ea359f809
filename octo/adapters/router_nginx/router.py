"""The Router port: test, swap, reload, prove, put back.

`nginx -t` and a reload that return 0 prove nothing: with a port clash both do, and nginx goes on with the old table.
So a reload counts only when the new generation's marker answers and no older worker listens any more.
"""

import logging
import os
import resource
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from octo.adapters.router_nginx.candidates import Candidates
from octo.adapters.router_nginx.certificates import Certificates
from octo.adapters.router_nginx.drafts import Drafts
from octo.adapters.router_nginx.hostports import HostPorts
from octo.adapters.router_nginx.logs import LIMIT, Logs
from octo.adapters.router_nginx.look import Look
from octo.adapters.router_nginx.master import Master, wait_until
from octo.adapters.router_nginx.own import Templates
from octo.adapters.router_nginx.render import Frame, Renderer, check
from octo.adapters.router_nginx.trees import Tree, Trees
from octo.errors import RouterFailed
from octo.ports import Route, Stream, Tally

log = logging.getLogger(__name__)

_BEYOND_DRAIN = 3600.0  # seconds: octod itself stops drained containers; no other app's websockets are cut for it
_STOP_PATIENCE = 5.0  # seconds for requests to end when nginx is stopped

Table = tuple[Route, ...]


@dataclass(frozen=True)
class Own:
    """What apps may bring of their own."""

    templates: Path = Path("/nonexistent")  # the operator's folder of blocks
    tls_port: int = 0  # 0: no https
    certificates: tuple[Path, ...] = ()  # folders where files of certificates may lie
    suffixes: tuple[str, ...] = ()  # that octo's own certificate is for


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
        own: Own = Own(),
    ) -> None:
        self._prefix, self._patience, self._secure = prefix, patience, own.tls_port > 0
        ports = (port, own.tls_port) if self._secure else (port,)
        self._trees, self._logs = Trees(prefix, group=user), Logs(prefix, limit=log_limit)
        self._master = Master(prefix, ports=ports, user=user)
        self._ports = HostPorts(self._master, user)
        self._workers = os.cpu_count() or 1
        frame = Frame(
            listen=listen,
            port=port,
            shutdown=drain + _BEYOND_DRAIN,
            socket=self._master.socket,
            open_files=_open_files(),
            workers=self._workers,
            tls_port=own.tls_port,
            stream_module=lambda: self._ports.module() or "",
        )
        self._renderer = Renderer(templates, frame)
        certificates = Certificates(own.certificates, prefix / "default.pem", own.suffixes)
        self._drafts = Drafts(self._renderer, Templates(own.templates, frame), certificates, secure=self._secure)
        self._candidates = Candidates(self._trees, self._master, self._renderer, self._drafts)
        self._look = Look(prefix, self._master, self._trees, self._logs, self._ports, ports=ports, user=user)
        self._faults: Mapping[str, str] = {}  # of the table that serves
        self._turn, self._waiting = threading.Lock(), threading.Lock()  # held by who reloads; guards the four below
        self._offered: tuple[int, Table] = (0, ())  # the newest table, and its number
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
        table = tuple(self._trees.last_routes())
        try:
            check(table)
            table = tuple(self._ports.servable(table))
        except RouterFailed as error:  # an older octo's table; the right one follows with the next apply
            log.warning("nginx starts with an empty table: %s", error)
            table = ()
        self._take_turn(self._offer(table), table)

    def stop(self) -> None:
        with self._turn:
            self._master.stop(_STOP_PATIENCE)

    def apply(self, routes: Sequence[Route], *, anew: bool = False) -> bool:
        """Serve this table and no other. Calls that wait for one another share a reload: the newest table's."""
        check(routes)
        table = tuple(sorted(self._ports.servable(routes), key=lambda route: route.id))
        ours = self._offer(table)
        if not anew:
            return self._take_turn(ours, table)
        with self._turn:
            self._candidates.refused.clear()
            return self._apply(*self._offered, anew=True)

    def check(self, route: Route) -> None:
        check([route])
        if route.front.forced and not self._secure:
            raise RouterFailed(
                f'cannot force https for "{route.app}": this octo serves none',
                hint="Ask the operator to set https_port.",
            )
        with self._turn:
            before = self._trees.current()
            others = [r for r in (before.routes() if before else None) or () if r.id != route.id]
            draft = self._drafts.draft([route], before, {})
            if not draft.faults and draft.own:
                refused = self._candidates.refused
                for known in [known for known in refused if known[0] == route.id]:
                    del refused[known]
                draft = self._drafts.draft([*others, route], before, refused)
                draft, tree = self._candidates.tested(draft, before)
                self._trees.remove(tree)
            if route.id in draft.faults:
                raise RouterFailed(draft.faults[route.id], hint="Mend it, then try again.")

    def faults(self) -> Mapping[str, str]:
        return self._faults

    def taken(self, streams: Iterable[Stream]) -> str:
        return self._ports.taken(streams)

    def connections(self, targets: Iterable[str]) -> int:
        return self._look.connections(targets)

    def mark(self) -> int:
        self._logs.rotate(self._master.reopen_logs)
        return self._logs.mark()

    def tally(self, app: str, since: int) -> Tally:
        """app: App.id."""
        return self._logs.tally(app, since)

    def problems(self) -> Sequence[str]:
        self._logs.rotate(self._master.reopen_logs)
        return self._look.problems()

    def ending(self) -> Sequence[str]:
        return self._drafts.ending(self._trees.current())

    # --- one reload for all that wait

    @property
    def offered(self) -> int:
        """How many tables were handed in so far."""
        return self._offered[0]

    def _offer(self, table: Table) -> int:
        with self._waiting:
            self._offered = (self._offered[0] + 1, table)
            return self._offered[0]

    def _take_turn(self, ours: int, table: Table) -> bool:
        with self._turn:
            if ours <= self._applied:
                return self._changed
            newest, newer = self._offered
            if newest not in (ours, self._refused):
                try:
                    return self._apply(newest, newer)
                except RouterFailed as error:  # told to the one who brought it, when its turn comes
                    log.debug("a newer table was refused: %s", error)
            return self._apply(ours, table)

    def _apply(self, number: int, table: Table, *, anew: bool = False) -> bool:
        try:
            changed = self._swap(table, anew=anew)
        except RouterFailed:
            self._refused = number
            raise
        self._applied, self._changed = number, changed
        return changed

    # --- test, swap, reload, prove, put back

    def _swap(self, table: Table, *, anew: bool = False) -> bool:
        self._logs.rotate(self._master.reopen_logs)
        before = self._trees.current()
        try:
            draft = self._drafts.draft(table, before, self._candidates.refused)
            same = before is not None and before.holds(self._drafts.files(draft))
            if same and not anew and self._master.pid() is not None and before and self._serves(before):
                self._faults = draft.faults
                return False
            if self._master.pid() is None:
                self._master.clear()
            draft, tree = self._candidates.tested(draft, before)
        except OSError as error:
            raise RouterFailed(f"cannot make nginx's configuration: {error.strerror}") from None
        self._turn_to(tree, before)
        self._faults = draft.faults
        self._trees.prune(keep=(tree, before))
        self._logs.calm()
        return True

    def _turn_to(self, tree: Tree, before: Tree | None) -> None:
        try:
            self._trees.point(tree)
            self._serve(tree)
        except RouterFailed as error:
            raise self._put_back(before, tree, error) from None
        except OSError as error:
            why = RouterFailed(f"cannot put nginx's configuration in place: {error.strerror}")
            raise self._put_back(before, tree, why) from None

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
            raise RouterFailed(f"cannot reload nginx: {self._logs.serious(since)[0]}", hint=self._master.in_the_way())

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


def _open_files() -> int:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return most if most > 0 else 1 << 20
