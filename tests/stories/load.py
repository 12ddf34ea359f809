"""Visitors who keep coming, and count what went wrong. Bounded, loopback only."""

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

MOST = 200_000  # requests in all; then the visitors stop coming


@dataclass
class Seen:
    served: int = 0
    failures: list[str] = field(default_factory=list)
    releases: set[str] = field(default_factory=set)


class Visitors:
    """Some take a new connection for each request, some keep theirs, some ask for what takes its time."""

    def __init__(self, port: int, host: str, *, expect: str) -> None:
        self._port, self._host, self._expect = port, host, expect
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self.seen = Seen()
        kinds = [self._new_each_time] * 2 + [self._keeping] * 2 + [self._patient]
        self._threads = [threading.Thread(target=kind, daemon=True) for kind in kinds]

    @contextmanager
    def coming(self) -> Iterator[Seen]:
        for thread in self._threads:
            thread.start()
        try:
            yield self.seen
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join()

    def _going_on(self) -> bool:
        return not self._stop.is_set() and self.seen.served < MOST

    def _new_each_time(self) -> None:
        while self._going_on():
            link = self._connect()
            self._note(self._ask(link, "/"))
            link.close()

    def _patient(self) -> None:
        while self._going_on():
            link = self._connect()
            self._note(self._ask(link, "/slow=1"))
            link.close()

    def _keeping(self) -> None:
        """Keeps its connection. One that was closed while idle, before a byte of the answer, is opened anew, once:
        RFC 9110 9.2.2 lets a client do so, and every browser does."""
        link = self._connect()
        while self._going_on():
            wrong = self._ask(link, "/")
            if wrong in ("RemoteDisconnected", "ConnectionResetError", "BrokenPipeError"):
                link.close()
                link = self._connect()
                wrong = self._ask(link, "/")
            self._note(wrong)
        link.close()

    def _connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)

    def _ask(self, link: http.client.HTTPConnection, path: str) -> str:
        """ "" when all is well, else what is wrong."""
        try:
            link.request("GET", path, headers={"Host": self._host})
            answer = link.getresponse()
            body = answer.read().decode()
        except (OSError, http.client.HTTPException) as error:
            return type(error).__name__
        if answer.status != 200 or not body.startswith(self._expect):
            return f"{answer.status} {body[:60]!r}"
        with self._lock:
            self.seen.releases.add(body.split()[1])
        return ""

    def _note(self, wrong: str) -> None:
        with self._lock:
            self.seen.served += 1
            if wrong:
                self.seen.failures.append(wrong)
