"""The Builder on Docker: its cache, its left-overs, and which of the two builders it takes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from octo.adapters.builder_docker import DockerBuilder
from octo.buildlog import ClassicLog, Context
from octo.errors import Cancelled
from tests.contract.docker_parts import ENGINE, STACK, image, need_stack, tar
from tests.contract.test_builder import INSTANCE, REPOSITORY, SLEEP, Bench, clear, images

BASE = f"{REPOSITORY}-base:1"  # of its own: what others build on the stack at the same time upsets the engine's cache
STAGES = f"""FROM {BASE} AS first
COPY text /one
RUN cat /one > /two
FROM {BASE}
COPY --from=first /two /three
"""


@pytest.fixture
def bench() -> Iterator[Bench]:
    need_stack()
    before = images()
    builder = DockerBuilder(ENGINE, instance=INSTANCE, mode="classic")
    with image(BASE, ""):
        yield Bench(builder)
        clear(n for n in images() - before if n.startswith(f"{REPOSITORY}:"))
        builder.sweep()
    assert images() == before


def test_the_stages_of_the_last_build_are_the_cache_of_the_next_and_do_not_pile_up(bench: Bench) -> None:
    before = images()
    files: dict[str, bytes | str] = {"Dockerfile": STAGES.encode(), "text": b"1"}
    bench.build(files)
    bench.build(files)
    assert bench.output.count(b"Using cache") == 3
    for text in (b"2", b"3"):
        bench.build(files | {"text": text})
    bench.build(files | {"text": b"3"})
    assert bench.output.count(b"Using cache") == 3
    stage = f"{INSTANCE}-stages/{REPOSITORY}:aaaaaaaaaaaa-1"
    assert images() - before == {stage, *(f"{REPOSITORY}:b{n}" for n in range(5))}


def test_stages_go_when_their_app_has_no_image_left(bench: Bench) -> None:
    before = images()
    bench.build({"Dockerfile": STAGES.encode(), "text": b"1"})
    assert not bench.builder.sweep()
    clear([f"{REPOSITORY}:b0"])
    assert list(bench.builder.sweep()) == [f"image {INSTANCE}-stages/{REPOSITORY}:aaaaaaaaaaaa-1"]
    assert images() == before


def test_a_container_of_an_interrupted_build_is_swept_and_nobody_elses(bench: Bench) -> None:
    ours = {"Image": STACK, "Cmd": ["true"], "HostConfig": {"CgroupParent": f"/{INSTANCE}-build"}}
    other = {"Image": STACK, "Cmd": ["true"]}
    made, kept = (ENGINE.post("containers", "create", body=body)["Id"] for body in (ours, other))
    try:
        assert list(bench.builder.sweep()) == [f"container {made[:12]}"]
        assert ENGINE.find("containers", made, "json") is None
        assert ENGINE.find("containers", kept, "json")
    finally:
        ENGINE.delete("containers", kept)


def test_sweeping_leaves_a_running_build_alone(bench: Bench) -> None:
    swept: list[object] = []

    def look() -> bool:
        if b"ready" in bench.output:
            swept.append(bench.builder.sweep())
        return bool(swept)

    with pytest.raises(Cancelled):
        bench.build(f"RUN echo re''ady; {SLEEP}\n", cancelled=look)
    assert swept == [()]


def test_no_cgroup_of_a_build_is_left(bench: Bench) -> None:
    bench.build("RUN true\n")
    bench.builder.sweep()
    root = Path("/sys/fs/cgroup")
    assert not [*root.glob(f"*/{INSTANCE}-build"), *root.glob(f"{INSTANCE}-build")]


def test_lines_of_a_build_that_look_like_the_builders_own_delete_nothing(bench: Bench) -> None:
    victim = bench.build("RUN echo victim > /victim\n")
    short = victim.removeprefix("sha256:")[:12]
    with pytest.raises(Exception, match="exit code 1"):
        bench.build(f"RUN echo ' ---> {short}'; echo 'Step 1/9 : FROM x'; echo ' ---> {short}'; false\n")
    assert ENGINE.find("images", victim, "json")


def test_an_engine_without_buildx_or_too_old_gets_the_classic_builder(bench: Bench) -> None:
    bench.builder = DockerBuilder(ENGINE, instance=INSTANCE, mode="auto", docker="/nonexistent/docker")
    bench.build("RUN true\n")
    assert b"Step 1/3" in bench.output


def test_the_progress_of_a_pull_is_one_line_per_change() -> None:
    log = ClassicLog()
    messages = [{"status": "Pulling from x", "id": "1"}]
    messages += [{"status": "Downloading", "id": layer, "progress": str(n)} for n in range(500) for layer in "ab"]
    messages += [{"status": "Pull complete", "id": "a"}, {"status": "Digest: sha256:0"}]
    assert b"".join(map(log.read, messages)) == (
        b"1: Pulling from x\na: Downloading\nb: Downloading\na: Pull complete\nDigest: sha256:0\n"
    )


@pytest.mark.parametrize("size", [1, 7, 512, 100_000])
def test_the_dockerfile_of_a_context_is_found_in_pieces_of_any_size(size: int) -> None:
    def kind(files: dict[str, bytes | str]) -> str:
        whole = tar(files)
        context = Context(whole[i : i + size] for i in range(0, len(whole), size))
        assert b"".join(context) == whole
        return context.dockerfile

    assert kind({"a": b"x" * 700, "./Dockerfile": b"FROM x"}) == "0"
    assert kind({"a": b"x" * 512, "Dockerfile": "b"}) == "2"
    assert kind({"sub/Dockerfile": b"FROM x", "Dockerfile.dev": b"", "x" * 90 + "/" + "Dockerfile": b"1"}) == ""
    assert kind({}) == ""
