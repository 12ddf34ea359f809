"""The calls of a receiver's hook at their real door: each value is good for one call, of its own kind, in its turn."""

import http.client
import json
import os
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from octo.adapters.console_stream import StreamConsole
from octo.daemon.callbacks import Calls
from octo.model import App, AppName
from octo.pipeline.receive import Push
from octo.pipeline.refs import Branches
from tests.serving import serving

NAMES = ("CALLBACK_URL", "BUILD_PUT_URL", "BUILD_CALLBACK_URL", "ROUTE_URL", "PRIVATE_KEY")
TOKENS = {name: f"{number}" * 43 for number, name in enumerate(NAMES)}
COMMIT = "c" * 40
REFS = json.dumps([{"old": "0" * 40, "new": COMMIT, "ref": "refs/heads/main"}]).encode()


class Link(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("octo", timeout=30)
        self._path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30)
        self.sock.connect(self._path)


@dataclass
class Door:
    path: Path
    done: list[str] = field(default_factory=list)  # what the receiver was asked to do

    def put(self, target: str, body: bytes = REFS, method: str = "PUT") -> tuple[int, bytes]:
        link = Link(self.path)
        link.request(method, target, body)
        answer = link.getresponse()
        said = answer.read()
        link.close()
        return answer.status, said

    def call(self, name: str, body: bytes = b"{}") -> tuple[int, bytes]:
        return self.put(f"/{name.lower()}/{TOKENS[name]}", body)


def source(commit: str) -> bytes:
    return json.dumps({"commit": commit, "dockerfile": None, "procfile": None}).encode() + b"\nfiles"


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    made = Door(tmp_path / "octo.sock")
    push = Push("p0", App("a0", AppName("shop"), 0.0, limits={"files": 500.0}), None)

    def launch(*_: Any) -> None:
        made.done.append("launch")

    def make(push: Push, order: Any, context: Any, console: Any) -> None:
        made.done.append(f"make {order.commit} {b''.join(context).decode()}")

    branches = SimpleNamespace(rules=Branches(("main",), apps=False), keep=lambda app: None)
    receiver: Any = SimpleNamespace(
        branches=branches, files=7, already_live=lambda *_: None, make=make, launch=launch, url=str, custom=None
    )
    behind: list[Calls] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await behind[0](scope, receive, send)

    with serving({made.path: app}, lambda peer: peer.pid == os.getpid()) as loop:
        tokens = {token: name for name, token in TOKENS.items()}
        behind.append(Calls(push, receiver, StreamConsole, loop, tokens, lambda source: source))  # type: ignore[arg-type, return-value]
        yield made


@pytest.mark.row("G4")
def test_the_calls_of_a_push_do_their_work_in_their_order_and_the_end_of_the_build_is_told_once(door: Door) -> None:
    assert door.call("CALLBACK_URL", REFS) == (200, f"\0build {COMMIT} 500 shop".encode())
    assert door.call("BUILD_PUT_URL", source(COMMIT)) == (200, b"\0exit 0")
    told = json.dumps({"status": "succeeded", "exit": 0}).encode()
    assert [door.call("BUILD_CALLBACK_URL", told), door.call("BUILD_CALLBACK_URL", told)[0]] == [
        (200, b"\0exit 0"),
        404,
    ]
    assert door.call("ROUTE_URL") == (200, b"\0exit 0")
    assert door.done == [f"make {COMMIT} files", "launch"]


@pytest.mark.row("G2")
@pytest.mark.parametrize("name", NAMES[:4])
def test_a_value_works_once(door: Door, name: str) -> None:
    assert door.call(name)[0] == 200
    before = list(door.done)
    assert [door.call(name)[0] for _ in range(3)] == [404] * 3 and door.done == before


@pytest.mark.row("G2")
def test_of_two_at_once_with_the_same_value_one_is_served(door: Door) -> None:
    door.call("CALLBACK_URL", REFS)
    came: list[int] = []
    together = threading.Barrier(16)

    def call() -> None:
        together.wait()
        came.append(door.call("ROUTE_URL")[0])

    threads = [threading.Thread(target=call) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(came) == [200, *[404] * 15] and door.done == ["launch"]


ALTERED = ["", TOKENS["ROUTE_URL"][:-1], TOKENS["ROUTE_URL"] + "3", TOKENS["ROUTE_URL"] + "/", "../route_url/x", "%00",
           TOKENS["ROUTE_URL"] + "%00", "3" * 5000]  # fmt: skip


@pytest.mark.row("G2")
@pytest.mark.parametrize("token", ALTERED, ids=lambda t: repr(t)[:30])
def test_an_altered_value_is_none_and_the_true_one_still_works(door: Door, token: str) -> None:
    assert door.put(f"/route_url/{token}")[0] == 404 and not door.done
    assert door.call("ROUTE_URL")[0] == 200


@pytest.mark.row("G2")
def test_a_value_used_for_another_call_is_spent_and_does_nothing(door: Door) -> None:
    assert door.put(f"/route_url/{TOKENS['CALLBACK_URL']}")[0] == 410
    assert door.put(f"/route_url/{TOKENS['PRIVATE_KEY']}")[0] == 410
    assert door.put(f"/route_url/{TOKENS['ROUTE_URL']}", method="GET")[0] == 410
    assert [door.call(name)[0] for name in ("CALLBACK_URL", "PRIVATE_KEY", "ROUTE_URL")] == [404] * 3
    assert not door.done


def test_only_the_commit_that_came_in_is_built(door: Door) -> None:
    door.call("CALLBACK_URL", REFS)
    status, said = door.call("BUILD_PUT_URL", source("d" * 40))
    assert status == 200 and said.endswith(b"\0exit 1") and b"that is not the commit that came in" in said
    assert not door.done


@pytest.mark.parametrize("commit", [COMMIT, ""])
def test_files_before_their_refs_are_refused(door: Door, commit: str) -> None:
    said = door.call("BUILD_PUT_URL", source(commit))[1]
    assert said.endswith(b"\0exit 1") and not door.done


def test_more_refs_than_octod_reads_are_refused_in_plain_words(door: Door) -> None:
    """As 100,000 of them in one push."""
    refs = [{"old": "0" * 40, "new": COMMIT, "ref": f"refs/heads/branch-{number}"} for number in range(100_000)]
    said = door.call("CALLBACK_URL", json.dumps(refs).encode())[1]
    assert said.endswith(b"\0exit 1") and b"it is too long" in said and not door.done
