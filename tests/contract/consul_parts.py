"""What the tests on Consul share: stores with keys of their own, and a line that loses answers."""

import os
import socket
import threading
from collections.abc import Sequence
from pathlib import Path

from octo.adapters.store_consul import ConsulStore
from octo.agent import Agent, Found, Op
from tests.consul_agent import TOKEN, ConsulAgent


def place() -> str:
    return f"test-{os.urandom(4).hex()}/"


def store_at(
    consul: ConsulAgent,
    where: str,
    *,
    url: str = "",
    token: str = TOKEN,
    patience: float = 15,
    ttl: float = 10,
    memory: Path | None = None,
) -> ConsulStore:
    agent = Agent(url or consul.url, token=token, patience=patience)
    return ConsulStore(agent, prefixes={"": where}, own=where, lock_ttl=ttl, memory=memory)


class Killed(BaseException):
    """kill -9: nothing catches it, nothing is cleaned up."""


class DyingAgent(Agent):
    """Its process dies at the n-th transaction that writes, just before or just after it."""

    def __init__(self, url: str, at: int, *, after: bool) -> None:
        super().__init__(url, token=TOKEN)
        self.left, self.after = at, after

    def transact(self, ops: Sequence[Op], *, consistent: bool = False) -> Sequence[Found]:
        if consistent:
            return super().transact(ops, consistent=True)
        self.left -= 1
        if self.left < 0 and not self.after:
            raise Killed
        found = super().transact(ops)
        if self.left < 0:
            raise Killed
        return found


class LossyLine:
    """A way to the agent on which answers get lost: what was asked is done, and nobody hears of it.

    before: the question itself is lost.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}"
        self.lose = 0  # that many answers, to requests with these bytes in them
        self.of = b""
        self.before = False
        self.lost = 0
        self._doomed = False
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._pass, args=[client], daemon=True).start()

    def _pass(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._port)) as agent:
            asked = b""
            threading.Thread(target=self._back, args=[agent, client], daemon=True).start()
            while data := _read(client):
                asked = (asked + data)[-100_000:]
                doomed = self.lose > 0 and self.of in asked
                if doomed and self.before:
                    self.lose, self.lost = self.lose - 1, self.lost + 1
                    return
                self._doomed = doomed
                agent.sendall(data)

    def _back(self, agent: socket.socket, client: socket.socket) -> None:
        while data := _read(agent):
            if self._doomed:
                self.lose, self.lost = self.lose - 1, self.lost + 1
                self._doomed = False
                client.shutdown(socket.SHUT_RDWR)
                return
            client.sendall(data)


def _read(sock: socket.socket) -> bytes:
    try:
        return sock.recv(65536)
    except OSError:
        return b""
