"""The Builder: what its fake and both of Docker's builders promise."""

from collections.abc import Iterator

import pytest

from octo.errors import BuildFailed, Cancelled
from octo.ports import BuildSpec, Limits
from tests.contract import engine_parts
from tests.contract.docker_parts import APP, tar
from tests.contract.engine_parts import FROM, MB, REPOSITORY, SLEEP, Bench, images
from tests.fakes_docker import FakeBuilder, FakeRuntime


@pytest.fixture(params=["fake", "classic", "buildkit"])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    if request.param == "fake":
        yield Bench(FakeBuilder(FakeRuntime()))
        return
    with engine_parts.bench(request.getfixturevalue("engine"), request.param) as made:
        yield made


real_ones = pytest.mark.parametrize("bench", ["classic", "buildkit"], indirect=True)
classic = pytest.mark.parametrize("bench", ["classic"], indirect=True)


@pytest.mark.row("D1")
def test_a_build_makes_an_image_and_shows_its_output(bench: Bench) -> None:
    image = bench.build("RUN echo hel''lo\n")
    assert image.startswith("sha256:")
    assert len(image) == 71
    assert bench.output


def test_a_build_that_nobody_waits_for_is_ended(bench: Bench) -> None:
    with pytest.raises(Cancelled):
        bench.build(f"RUN {SLEEP}\n", cancelled=lambda: True)


def test_sweeping_where_nothing_is_left_finds_nothing(bench: Bench) -> None:
    assert not bench.builder.sweep()


@real_ones
def test_output_is_shown_while_the_build_runs(bench: Bench) -> None:
    seen = lambda: b"hello" in bench.output  # noqa: E731
    with pytest.raises(Cancelled):
        bench.build(f"RUN echo hel''lo; {SLEEP}\n", cancelled=seen)


@real_ones
@pytest.mark.row("D3")
def test_a_failing_step_is_told_with_its_exit_code_and_leaves_no_image(bench: Bench) -> None:
    before = images()
    with pytest.raises(BuildFailed, match=r"exit 3.* exit code:? 3"):
        bench.build("RUN echo one > /one\nRUN exit 3\n")
    assert images() == before


@real_ones
def test_a_build_that_takes_too_long_is_told_the_limit_and_leaves_nothing(bench: Bench) -> None:
    before = images()
    with pytest.raises(BuildFailed, match=r"cannot build the image: it ended after 1\.5 s, the limit"):
        bench.build(f"RUN echo two > /two\nRUN {SLEEP}\n", seconds=1.5)
    assert images() == before
    assert not [c for c in bench.engine.get("containers", "json", query={"all": True}) if SLEEP in c["Command"]]


@real_ones
def test_endless_output_is_cut_at_the_limit_and_told(bench: Bench) -> None:
    with pytest.raises(BuildFailed, match=r"it printed more than 0\.5 MB, the limit"):
        bench.build("RUN yes\n", most=MB // 2)
    assert len(bench.output) < MB // 2 + 100
    assert bench.output.endswith(b"\n... output truncated\n")


@classic  # BuildKit cuts each step at 1 MiB by itself
def test_much_output_within_the_limit_arrives_whole(bench: Bench) -> None:
    bench.build("RUN seq -f %020.0f 60000\n")
    assert b"%020d\n" % 60000 in bench.output
    assert bench.output.count(b"\n") > 60000


@real_ones
@pytest.mark.row("D1")
def test_no_dockerfile_is_told_in_the_old_words(bench: Bench) -> None:
    with pytest.raises(BuildFailed, match=r"There is no Dockerfile present\."):
        bench.build({"README": b"hello"})


@real_ones
@pytest.mark.parametrize("target", ["/etc/shadow", "../../../../etc/shadow"])
def test_a_symbolic_link_as_dockerfile_shows_no_file_of_the_host(bench: Bench, target: str) -> None:
    with pytest.raises(BuildFailed) as caught:
        bench.build({"Dockerfile": target})
    told = bench.output + caught.value.message.encode()
    assert b"root:" not in told.lower()
    assert b"unknown instruction" not in told


@real_ones
@pytest.mark.parametrize("lines", [b"", b"NONSENSE\n", b"FROM nothing AS\n"])
def test_a_dockerfile_that_is_none_is_told(bench: Bench, lines: bytes) -> None:
    with pytest.raises(BuildFailed, match=r"cannot build the image: .*(empty|no instruction|FROM)"):
        bench.build({"Dockerfile": lines})


@real_ones
def test_a_base_image_that_cannot_be_had_is_named(bench: Bench) -> None:
    with pytest.raises(BuildFailed, match=r"127\.0\.0\.1:1/.*connection refused"):
        bench.build({"Dockerfile": b"FROM 127.0.0.1:1/x\n"})


@real_ones
def test_a_context_that_breaks_off_builds_nothing(bench: Bench) -> None:
    whole = tar({"Dockerfile": (FROM + "RUN true\n").encode(), "more": b"x" * 5000})

    def broken() -> Iterator[bytes]:
        yield whole[:1024]
        raise ConnectionResetError(104, "Connection reset by peer")

    with pytest.raises(BuildFailed, match="its files did not arrive whole: Connection reset by peer"):
        bench.build({}, context=broken())


@real_ones
def test_a_mistake_in_the_source_of_the_context_is_not_hidden(bench: Bench) -> None:
    def wrong() -> Iterator[bytes]:
        yield b""
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        bench.build({}, context=wrong())


@real_ones
def test_escapes_are_handed_on_raw(bench: Bench) -> None:
    bench.build("RUN printf '\\033]0;title\\007\\n'\n")
    assert b"\x1b]0;title\x07" in bench.output


@real_ones
def test_a_client_that_takes_no_output_ends_the_build(bench: Bench) -> None:
    def gone(_: bytes) -> None:
        raise BrokenPipeError(32, "Broken pipe")

    spec = BuildSpec("gone", APP, f"{REPOSITORY}:gone", Limits(256 * MB, 1.0, 100, 60, output=MB))
    with pytest.raises(Cancelled, match="Broken pipe"):
        bench.builder.build(spec, [tar({"Dockerfile": (FROM + f"RUN {SLEEP}\n").encode()})], gone, lambda: False)


@classic
def test_running_out_of_memory_is_told_as_that_even_when_the_step_lives_on(bench: Bench) -> None:
    eat = "python3 -c 'x = bytearray(200 << 20)'"
    for step in (f"RUN exec {eat}\n", f"RUN {eat}; exit 3\n"):
        with pytest.raises(BuildFailed, match=r"ran out of memory \(limit 64 MB\)"):
            bench.build(step, memory=64 * MB)


@classic
def test_a_build_is_held_to_its_limits(bench: Bench) -> None:
    def held() -> bool:
        found = [c for c in bench.engine.get("containers", "json") if SLEEP in c["Command"]]
        if not found:  # the engine lists a container a moment after its first words
            return False
        host = bench.engine.get("containers", found[0]["Id"], "json")["HostConfig"]
        assert (host["Memory"], host["MemorySwap"], host["CpuQuota"]) == (256 * MB, 256 * MB, 100_000)
        return True

    with pytest.raises(Cancelled):
        bench.build(f"RUN ulimit -n; echo re''ady; {SLEEP}\n", cancelled=lambda: b"ready" in bench.output and held())
    assert b"1024\n" in bench.output


@real_ones
def test_a_mistake_in_who_is_asked_leaves_no_build_unwatched(bench: Bench) -> None:
    with pytest.raises(ZeroDivisionError):
        bench.build(f"RUN {SLEEP}\n", cancelled=lambda: bool(1 / 0))
