"""The Builder on Docker: its caches, its left-overs, what it hands over, and which of the two builders it takes."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from octo.buildengine.engine import BuildEngine
from octo.errors import BuildFailed, Cancelled, Unavailable
from octo.images.log import ClassicLog
from tests.contract import engine_parts
from tests.contract.docker_parts import ENGINE, STACK, image
from tests.contract.engine_parts import FROM, INSTANCE, REPOSITORY, SLEEP, Bench, Files, clear, images

STAGES = f"""{FROM.replace(STACK, STACK + " AS first")}
COPY text /one
RUN cat /one > /two
{FROM}
COPY --from=first /two /three
"""
RANDOM = "RUN head -c 16 /dev/urandom | md5sum > /random; echo i''s: $(cat /random)\n"
OTHER = "b" * 12


def said(bench: Bench) -> str:
    return bench.output.decode().partition("is: ")[2].split()[0]


def test_a_second_build_takes_its_layers_from_the_first(bench: Bench) -> None:
    bench.build(RANDOM + "COPY Dockerfile /x\n")
    first = bench.build(RANDOM)
    assert bench.output.count(b"Using cache") == 2
    assert bench.build(RANDOM) == first


def test_no_app_gets_a_layer_that_another_app_made(bench: Bench) -> None:
    one = bench.build(RANDOM)
    made = said(bench)
    two = bench.build(RANDOM, app=OTHER)
    assert said(bench) != made and one != two
    assert b"Using cache" not in bench.output
    assert bench.build(RANDOM) == one, "and the first app still has its own"


def test_the_stages_of_the_last_build_are_the_cache_of_the_next_and_do_not_pile_up(bench: Bench) -> None:
    files: Files = {"Dockerfile": STAGES.encode(), "text": b"1"}
    bench.build(files)
    bench.build(files)
    assert bench.output.count(b"Using cache") == 5
    for text in (b"2", b"3"):
        bench.build(files | {"text": text})
    bench.build(files | {"text": b"3"})
    assert bench.output.count(b"Using cache") == 5
    kept = {
        name.partition(":")[2].partition("-")[0]
        for name in images(bench.engine)
        if name.startswith(f"{INSTANCE}-cache/")
    }
    assert kept == {"last", "stage", "from"}
    assert not {i for i in images(bench.engine) if i.startswith("sha256:")}
    assert {i for i in images() if i.startswith(REPOSITORY)} == {f"{REPOSITORY}:b{n}" for n in range(5)}


@pytest.mark.row("D6")
def test_a_cache_goes_when_its_app_has_no_image_left(bench: Bench) -> None:
    bench.build(RANDOM)
    assert not bench.builder.sweep()
    clear([f"{REPOSITORY}:b0"])
    gone = list(bench.builder.sweep())
    assert gone and all(name.startswith(f"image {INSTANCE}-cache/") for name in gone)
    assert not images(bench.engine)


@pytest.mark.row("D2")
def test_the_image_is_the_same_on_both_engines_and_only_new_layers_travel(bench: Bench) -> None:
    made = bench.build("RUN echo new > /new\n")
    ours, theirs = ENGINE.get("images", made, "json"), bench.engine.get("images", made, "json")
    assert ours["RootFS"] == theirs["RootFS"] and ours["RepoTags"] == [f"{REPOSITORY}:b0"]
    body = {"Image": made, "Cmd": ["cat", "/new"], "Tty": True}
    container = ENGINE.post("containers", "create", body=body)["Id"]
    try:
        ENGINE.post("containers", container, "start")
        ENGINE.post("containers", container, "wait")
        log = b"".join(ENGINE.stream("GET", "containers", container, "logs", query={"stdout": True}).chunks())
    finally:
        ENGINE.delete("containers", container, query={"force": True})
    assert log == b"new\r\n"


def test_a_container_of_an_interrupted_build_is_swept_and_nobody_elses(bench: Bench) -> None:
    ours = {"Image": STACK, "Cmd": ["true"], "HostConfig": {"CgroupParent": f"/{INSTANCE}-engine/build-old"}}
    other = {"Image": STACK, "Cmd": ["true"]}
    bench.build("RUN true\n")
    made, kept = (bench.engine.post("containers", "create", body=body)["Id"] for body in (ours, other))
    try:
        assert list(bench.builder.sweep()) == [f"container {made[:12]}"]
        assert bench.engine.find("containers", made, "json") is None
        assert bench.engine.find("containers", kept, "json")
    finally:
        bench.engine.delete("containers", kept)


def test_sweeping_leaves_a_running_build_alone(bench: Bench) -> None:
    swept: list[object] = []

    def look() -> bool:
        if b"ready" in bench.output:
            swept.append(bench.builder.sweep())
        return bool(swept)

    with pytest.raises(Cancelled):
        bench.build(f"RUN echo re''ady; {SLEEP}\n", cancelled=look)
    assert swept == [()]


def test_lines_of_a_build_that_look_like_the_builders_own_delete_nothing(bench: Bench) -> None:
    victim = bench.build("RUN echo victim > /victim\n")
    short = victim.removeprefix("sha256:")[:12]
    with pytest.raises(BuildFailed, match="exit code 1"):
        bench.build(f"RUN echo ' ---> {short}'; echo 'Step 1/9 : FROM x'; echo ' ---> {short}'; false\n")
    assert bench.engine.find("images", victim, "json")


def test_an_engine_without_buildx_or_too_old_gets_the_classic_builder(engine: BuildEngine) -> None:
    with engine_parts.bench(engine, "auto", docker="/nonexistent/docker") as bench:
        bench.build("RUN true\n")
        assert b"Step 1/3" in bench.output


def test_build_args_reach_the_build_and_no_process_list(bench: Bench) -> None:
    bench.build("ARG WORD\nRUN echo i''s: $WORD\n", args={"WORD": "hidden"})
    assert said(bench) == "hidden"


def test_a_base_that_was_built_anew_is_taken_over_anew(engine: BuildEngine) -> None:
    base = f"{INSTANCE}-base:1"
    with engine_parts.bench(engine, bases=[base]) as bench:
        for text in ("one", "two"):
            with image(base, f"RUN echo {text} > /base"):
                bench.build({"Dockerfile": f"FROM {base}\nRUN echo i''s: $(cat /base)\n".encode()})
                assert said(bench) == text
        clear([n for n in images(bench.engine) if n == base], bench.engine)
        bench.builder.sweep()
        for found in bench.engine.get("images", "json"):
            if all(tag.startswith("octo-base:") for tag in found.get("RepoTags") or ()) and found.get("RepoTags"):
                clear(found["RepoTags"], bench.engine)


def test_buildkit_of_an_engine_that_loses_files_is_refused(engine: BuildEngine) -> None:
    with (
        engine_parts.bench(engine, "buildkit", oldest=(99,)) as bench,
        pytest.raises(Unavailable, match="BuildKit of a Docker before 99 would leave out files"),
    ):
        bench.build("RUN true\n")


def test_the_progress_of_a_pull_is_one_line_per_change() -> None:
    log = ClassicLog()
    messages = [{"status": "Pulling from x", "id": "1"}]
    messages += [{"status": "Downloading", "id": layer, "progress": str(n)} for n in range(500) for layer in "ab"]
    messages += [{"status": "Pull complete", "id": "a"}, {"status": "Digest: sha256:0"}]
    assert b"".join(map(log.read, messages)) == (
        b"1: Pulling from x\na: Downloading\nb: Downloading\na: Pull complete\nDigest: sha256:0\n"
    )


def test_a_build_whose_octod_was_killed_ends_and_leaves_nothing(bench: Bench) -> None:
    script = f"""
import os, signal
from tests.contract.engine_parts import Bench, docker_builder, place
with place() as engine:
    bench = Bench(docker_builder(engine), engine)
    def look():
        if b"ready" in bench.output:
            os.kill(os.getpid(), signal.SIGKILL)
        return False
    bench.build("RUN echo re''ady; {SLEEP}\\n", app="{OTHER}", cancelled=look)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parents[2], check=False)
    assert done.returncode == -signal.SIGKILL
    bench.builder.sweep()
    assert bench.engine.get("containers", "json", query={"all": True}) == []
    assert set(bench.place.cgroups.list() if bench.place else ()) <= {"engine"}
