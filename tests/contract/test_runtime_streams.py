"""The Runtime on Docker: logs, and one-off containers joined to somebody's streams."""

import contextlib
import os
import re
import socket
import threading
from collections.abc import Iterator
from typing import Self

import pytest

from octo.adapters.runtime_docker import DockerRuntime
from octo.errors import DeployFailed
from octo.ports import Streams
from octo.relay import write
from tests.contract.docker_parts import INSTANCE, A, image, real_runtime, spec, until

WEB, RUN = f"{INSTANCE}-web", f"{INSTANCE}-run"


@pytest.fixture(scope="module")
def runtime() -> Iterator[DockerRuntime]:
    with real_runtime() as docker:
        yield docker


class Client:
    """Somebody at the other end of three pipes."""

    def __init__(self) -> None:
        self.inner_in, self.stdin = os.pipe()
        self.stdout, self.inner_out = os.pipe()
        self.stderr, self.inner_err = os.pipe()
        self.streams = Streams(self.inner_in, self.inner_out, self.inner_err)
        self.heard = {1: b"", 2: b""}
        self._open = {self.stdin, self.stdout, self.stderr, self.inner_in, self.inner_out, self.inner_err}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for number in list(self._open):
            self.close(number)

    def close(self, number: int) -> None:
        self._open.remove(number)
        os.close(number)

    def listen(self) -> list[threading.Thread]:
        ears = [threading.Thread(target=self._hear, args=[k, fd]) for k, fd in ((1, self.stdout), (2, self.stderr))]
        for ear in ears:
            ear.start()
        return ears

    def _hear(self, kind: int, number: int) -> None:
        while data := os.read(number, 65536):
            self.heard[kind] += data


def attached(
    runtime: DockerRuntime, command: str, given: bytes = b"", *, tty: bool = False
) -> tuple[int, bytes, bytes]:
    """Run with these bytes on stdin; exit code, stdout, stderr."""
    with Client() as client:
        ears = client.listen()

        def speak() -> None:
            with contextlib.suppress(BrokenPipeError):
                write(client.stdin, given)
            client.close(client.stdin)

        mouth = threading.Thread(target=speak)
        mouth.start()
        code = runtime.attach(spec(RUN, None, command=command, tty=tty), client.streams, (33, 101))
        for number in (client.inner_in, client.inner_out, client.inner_err):
            client.close(number)
        for thread in (mouth, *ears):
            thread.join()
        assert not runtime.list()
        return code, client.heard[1], client.heard[2]


def test_five_megabytes_pass_through_a_container_unchanged(runtime: DockerRuntime) -> None:
    given = os.urandom(5 << 20)
    code, out, err = attached(runtime, "cat; echo done >&2; exit 7", given)
    assert (code, err) == (7, b"done\n")
    assert out == given


def test_the_end_of_stdin_reaches_the_container(runtime: DockerRuntime) -> None:
    assert attached(runtime, "cat >/dev/null; echo over") == (0, b"over\n", b"")


def test_a_container_that_takes_no_stdin_still_ends(runtime: DockerRuntime) -> None:
    assert attached(runtime, "exec <&-; echo no", b"x" * (300 << 10))[:2] == (0, b"no\n")


def test_a_terminal_has_the_size_of_the_callers(runtime: DockerRuntime) -> None:
    wait = "while [ \"$(stty size)\" = '0 0' ]; do :; done"
    code, out, _ = attached(runtime, f"read go; {wait}; stty size; cat; exit 3", b"\n", tty=True)
    assert (code, out.split()[-2:]) == (3, [b"33", b"101"])


@pytest.mark.parametrize("command", ["echo up; yes", "echo up; sleep 1000"])
def test_a_container_whose_reader_has_gone_is_ended(runtime: DockerRuntime, command: str) -> None:
    with Client() as client:

        def leave() -> None:
            assert os.read(client.stdout, 2) == b"up"
            client.close(client.stdout)

        reader = threading.Thread(target=leave)
        reader.start()
        assert runtime.attach(spec(RUN, None, command=command), client.streams, (24, 80)) == 137
        reader.join()
    assert not runtime.list()


def test_a_reader_that_goes_while_stdin_is_stuck_ends_the_container(runtime: DockerRuntime) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.setblocking(False)

        def stuff() -> None:
            assert ours.recv(2) == b"up"
            ours.sendall(b"x" * (150 << 10))
            ours.close()

        client = threading.Thread(target=stuff)
        client.start()
        streams = Streams(theirs.fileno(), theirs.fileno(), theirs.fileno())
        assert runtime.attach(spec(RUN, None, command="echo up; sleep 1000"), streams, (24, 80)) == 137
        client.join()


def test_a_one_off_that_cannot_start_is_told_and_leaves_nothing(runtime: DockerRuntime) -> None:
    with image(f"{INSTANCE}/user:1", "USER nosuch") as user, Client() as client:
        with pytest.raises(DeployFailed, match="unable to find user nosuch"):
            runtime.attach(spec(RUN, None, image=user), client.streams, (24, 80))
        assert not runtime.list()


def test_logs_are_the_last_lines_with_their_time(runtime: DockerRuntime) -> None:
    runtime.start(spec(WEB, A, command="for i in 1 2 3 4 5; do echo line $i; done; exec sleep 1000"))
    until(runtime, WEB, b"line 5")
    lines = list(runtime.logs(WEB, tail=2, follow=False))
    assert [line.partition(b" ")[2] for line in lines] == [b"line 4", b"line 5"]
    assert all(re.match(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z ", line) for line in lines)
    assert not list(runtime.logs(WEB, tail=0, follow=False))
    runtime.stop(WEB, 0)


def test_a_line_without_an_end_is_broken_and_not_kept_in_memory(runtime: DockerRuntime) -> None:
    runtime.start(spec(WEB, A, command="head -c 1000000 /dev/zero | tr '\\0' x; echo; echo last"))
    until(runtime, WEB, b"last")
    lines = list(runtime.logs(WEB, tail=1000, follow=False))
    assert sum(line.count(b"x") for line in lines) == 1_000_000
    assert max(map(len, lines)) < 200_000
    runtime.stop(WEB, 0)


def test_following_ends_when_the_container_does(runtime: DockerRuntime) -> None:
    runtime.start(spec(WEB, A, command="echo one; read x < /dev/null; echo two"))
    assert [line.partition(b" ")[2] for line in runtime.logs(WEB, tail=10, follow=True)] == [b"one", b"two"]
    runtime.stop(WEB, 0)


def test_following_can_be_ended_from_another_thread(runtime: DockerRuntime) -> None:
    runtime.start(spec(WEB, A))
    lines = runtime.logs(WEB, tail=10, follow=True)
    heard = threading.Event()

    def follow() -> None:
        for _ in lines:
            heard.set()

    reader = threading.Thread(target=follow)
    reader.start()
    assert heard.wait(30)
    lines.close()
    reader.join(30)
    assert not reader.is_alive()
    runtime.stop(WEB, 0)
