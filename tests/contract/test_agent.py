"""How long a call waits for a Consul that is away."""

import socket
import threading
from collections.abc import Iterator

import pytest

from octo.agent import Agent
from octo.agent.line import Away


@pytest.fixture
def hangs_up() -> Iterator[tuple[str, list[float]]]:
    """A server that lets each caller wait for a while, longer than its patience, and hangs up."""
    server, served = socket.create_server(("127.0.0.1", 0)), []

    def serve() -> None:
        while True:
            try:
                caller, _ = server.accept()
            except OSError:
                return
            caller.recv(1000)
            threading.Event().wait(0.3)
            served.append(0.3)
            caller.close()

    thread = threading.Thread(target=serve)
    thread.start()
    yield f"http://127.0.0.1:{server.getsockname()[1]}", served
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join()


def test_a_call_that_takes_longer_than_the_patience_is_the_last(hangs_up: tuple[str, list[float]]) -> None:
    url, served = hangs_up
    agent = Agent(url, patience=0.05)
    for count in (1, 2):
        with pytest.raises(Away, match="cannot go on with Consul"):
            agent.read({"Verb": "get", "Key": "a"})
        assert len(served) == count
    agent.close()
