"""What octod makes of a build's sandbox: its streams, its result, its limits."""

import json
import os
from collections.abc import Callable, Iterator, Sequence

import pytest

from octo.errors import BuildFailed, Cancelled, OctoError
from octo.pipeline.attend import Job, Session, attend
from octo.pipeline.compile import Compiled, Slug, compiled, refusal, streamed
from octo.ports import Ended, Limits, SandboxSpec, Streams, Strike
from octo.specs import GB, MB
from tests.fakes import FakeConsole, FakeSandbox

LIMITS = Limits(GB, 1.0, 64, 60, output=1000)
JOB = Job("b0b0", "a0a0", "shop", {"mode": "buildpack"}, LIMITS, "octo-1")
SESSION = Session({"SLUG_PUT_URL": "http+unix://octo/x"}, "/nowhere", lambda: None)
GOOD = {"buildpack": "Python", "processes": {"web": "run it"}, "slug": {"bytes": 7}}
Act = Callable[[SandboxSpec, Streams], int]


def read_all(descriptor: int) -> bytes:
    return b"".join(iter(lambda: os.read(descriptor, 4096), b""))


def sandbox(result: object, *, told: bytes = b"", code: int = 0, seen: list[bytes] | None = None) -> FakeSandbox:
    """One that reads all it is given, says `told`, and ends with `result`."""

    def act(spec: SandboxSpec, streams: Streams) -> int:
        given = read_all(streams.stdin)
        if seen is not None:
            seen.append(given)
        os.write(streams.stderr, told)
        os.write(streams.stdout, result if isinstance(result, bytes) else json.dumps(result).encode())
        return code

    return FakeSandbox(act)


def run(box: FakeSandbox, sources: Sequence[bytes] = (b"tar",), *, gone: bool = False) -> tuple[Compiled, FakeConsole]:
    console = FakeConsole()
    return compiled(box, JOB, sources, SESSION, console, lambda: gone), console


def test_the_runner_gets_its_header_and_the_sources_and_its_result_is_read() -> None:
    seen: list[bytes] = []
    done, console = run(sandbox(GOOD, told=b"-----> Python app detected\n", seen=seen), [b"one", b"two"])
    assert done == Compiled("Python", {"web": "run it"}, {}, Slug(7))
    assert seen == [b'{"mode": "buildpack"}\nonetwo'] and console.lines == ["-----> Python app detected\n"]


@pytest.mark.row("C9")
def test_the_sandbox_is_given_three_urls_and_no_config() -> None:
    specs: list[SandboxSpec] = []

    def act(spec: SandboxSpec, streams: Streams) -> int:
        specs.append(spec)
        read_all(streams.stdin)
        os.write(streams.stdout, json.dumps(GOOD).encode())
        return 0

    run(FakeSandbox(act))
    assert specs[0].build and specs[0].stack == "octo-1"
    assert {k for k in specs[0].env if k.endswith("URL")} == {"SLUG_PUT_URL"}
    assert specs[0].argv == ("/octo/buildpack_runner.py",)


@pytest.mark.parametrize(
    "result",
    [
        b"",
        b"no json",
        b"[]",
        b'{"processes": 5}',
        b'{"processes": {"web": 5}}',
        b'{"config": {"a b": "x"}}',
        b"[" * 100_000,
        b"x" * 300_000,
        b'{"slug": {"bytes": "many"}}',
    ],
)
def test_a_result_that_is_none_is_refused(result: bytes) -> None:
    with pytest.raises(BuildFailed, match="without saying what it built"):
        run(sandbox(result))


@pytest.mark.parametrize(
    "field", [{"processes": {"web": "\ud800"}}, {"processes": {"\ud800": "x"}}, {"buildpack": "\ud800"}]
)
def test_what_is_no_text_is_refused(field: dict[str, object]) -> None:
    with pytest.raises(BuildFailed, match="without saying what it built"):
        run(sandbox({**GOOD, **field}))


@pytest.mark.parametrize("name", ["../x", "WEB", "a b", ""])
def test_a_process_type_with_a_bad_name_is_refused(name: str) -> None:
    with pytest.raises(BuildFailed):
        run(sandbox({**GOOD, "processes": {name: "run"}}))


def test_config_that_steers_octo_is_not_taken_from_a_buildpack() -> None:
    done, _ = run(sandbox({**GOOD, "config": {"WEB_CONCURRENCY": "2", "DOMAINS": "evil.test", "MEMORY_LIMIT": "1"}}))
    assert done.config == {"WEB_CONCURRENCY": "2"}


@pytest.mark.row("C4")
def test_output_beyond_the_limit_ends_the_build_and_says_so() -> None:
    with pytest.raises(BuildFailed, match="printed more than") as caught:
        run(sandbox(GOOD, told=b"y\n" * 1000))
    assert caught.value.hint.endswith("octo limits:set shop output=20M")


def test_who_hangs_up_ends_the_build() -> None:
    with pytest.raises(Cancelled):
        run(_waiting(), gone=True)


def test_sources_that_break_off_end_the_build() -> None:
    def broken() -> Iterator[bytes]:
        yield b"half"
        raise OctoError("cannot go on: the receiver hung up")

    with pytest.raises(OctoError, match="hung up"):
        compiled(_waiting(), JOB, broken(), SESSION, FakeConsole(), lambda: False)


def test_a_sandbox_that_cannot_start_is_told() -> None:
    def act(spec: SandboxSpec, streams: Streams) -> int:
        raise OctoError("cannot start")

    with pytest.raises(OctoError, match="cannot start"):
        run(FakeSandbox(act), [b"x" * 1000] * 1000)


def _waiting() -> FakeSandbox:
    """One that runs until it is stopped."""
    box = FakeSandbox()

    def act(spec: SandboxSpec, streams: Streams) -> int:
        while spec.id in box.running:
            pass
        return 137

    box.act = act
    return box


@pytest.mark.row("C4")
@pytest.mark.parametrize(
    ("strike", "words", "example"),
    [
        (Strike.MEMORY, "ran out of memory (limit 1 GB)", "memory=2G"),
        (Strike.PIDS, "more than 64 processes", "pids=1024"),
        (Strike.SECONDS, "ended after 60 s, the limit", "seconds=1800"),
        (Strike.DISK, "its disk is full (limit 2 GB", "disk=4G"),
        (Strike.FILES, "made more than 300000 files and folders, the limit", "files=500000"),
        (Strike.OUTPUT, "printed more than", "output=20M"),
    ],
)
def test_a_limit_that_struck_is_told_with_how_to_raise_it(strike: Strike, words: str, example: str) -> None:
    error = refusal(JOB, Ended(137, strike))
    assert words in error.message and f"octo limits:set shop {example}" in error.hint


def test_an_exit_code_is_told() -> None:
    assert "for the reason above" in refusal(JOB, Ended(1)).message
    assert "exit code 9" in refusal(JOB, Ended(9)).message


def test_a_tree_is_streamed_and_a_failure_is_raised_to_its_reader() -> None:
    with streamed(sandbox(b"t" * MB), JOB, [b"in"], SESSION, FakeConsole(), lambda: False) as chunks:
        assert b"".join(chunks) == b"t" * MB
    with (
        pytest.raises(BuildFailed, match="for the reason above"),
        streamed(sandbox(b"half", code=1), JOB, [b"in"], SESSION, FakeConsole(), lambda: False) as chunks,
    ):
        list(chunks)


def test_leaving_a_stream_early_ends_its_sandbox() -> None:
    with streamed(_waiting(), JOB, [b"in"], SESSION, FakeConsole(), lambda: False):
        pass


def test_the_outputs_are_read_to_the_end_when_the_sandbox_ends_first() -> None:
    said = bytearray()
    ended = attend(sandbox(b"r" * 100_000, told=b"o" * 900), JOB, [b""], SESSION, said.extend, print, lambda: False)
    assert ended == Ended(0) and len(said) == 100_000
