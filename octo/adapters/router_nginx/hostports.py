"""Ports of the host that lead to apps by plain TCP: which of them nginx can have.

A port that another program took while nginx was away would make nginx refuse the whole table. So such a port is left
out until it is free again, and is told as a problem: it harms nobody but its app.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from octo.adapters.router_nginx import sockets
from octo.adapters.router_nginx.master import Master
from octo.errors import RouterFailed
from octo.ports import Route, Stream

log = logging.getLogger(__name__)

_NO_MODULE = "nginx has no stream module here (Debian's package libnginx-mod-stream)"


class HostPorts:
    def __init__(self, master: Master, user: int) -> None:
        self._master, self._user = master, user
        self._module: str | None = None
        self.seen: frozenset[int] = frozenset()  # every port of every table, also of tables that old workers serve
        self.problems: Sequence[str] = ()  # of the last table

    def module(self) -> str | None:
        """As of Master; found once it is found."""
        if self._module is None:
            try:
                self._module = self._master.stream_module()
            except RouterFailed:
                return None
        return self._module

    def taken(self, streams: Iterable[Stream]) -> str:
        """Why one of these ports cannot be had, in words; "" when all can."""
        return next(iter(self._refused(list(streams)).values()), "")

    def servable(self, routes: Sequence[Route]) -> Sequence[Route]:
        """The table without ports that cannot be had."""
        asked = [stream for route in routes for stream in route.streams if stream.targets]
        self.seen |= {stream.port for stream in asked}
        out = self._refused(asked)
        problems = [f"port {stream.port} of an app is not served: {words}" for stream, words in out.items()]
        for problem in problems:
            if problem not in self.problems:
                log.warning("%s", problem)
        self.problems = problems
        if not out:
            return routes
        return [replace(r, streams=tuple(s for s in r.streams if s not in out)) for r in routes]

    def _refused(self, streams: Sequence[Stream]) -> Mapping[Stream, str]:
        if not streams:
            return {}
        if self.module() is None:
            return dict.fromkeys(streams, _NO_MODULE)
        ours = self._master.held()
        return {stream: words for stream in streams if (words := self._foreign(stream, ours))}

    def _foreign(self, stream: Stream, ours: frozenset[int]) -> str:
        found = [s for s in sockets.in_the_way(stream.ip, stream.port) if s.inode not in ours]
        if not ours:  # workers whose master was killed: they are ended before another one starts
            found = [s for s in found if s.uid != self._user]
        inodes = {s.inode for s in found}
        return f"{sockets.who(inodes)} listens on port {stream.port}" if inodes else ""
