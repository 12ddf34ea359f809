"""The files of a Dockerfile build: what a COPY takes is what was pushed, to the byte."""

import hashlib
import re
from collections.abc import Iterator

import pytest

from octo.buildengine.engine import BuildEngine
from tests.contract import engine_parts
from tests.contract.docker_parts import STACK
from tests.contract.engine_parts import FROM, INSTANCE, Bench, Files

# A name without a tag, a variable, two stages: what octo writes out for the classic builder.
SHORT = STACK.removesuffix(":latest")
DOCKERFILE = f"""# escape=\\
ARG BASE={SHORT}
FROM ${{BASE}} AS one
ENV OCTO_TEST={INSTANCE}
WORKDIR /w
COPY . .
{FROM.replace(STACK, SHORT)}WORKDIR /w
COPY --from=one /w/text /
COPY . .
RUN find . -type f -exec sha256sum {{}} +; find . -type d | sed 's|^|folder |'
""".encode()
TREE: Files = {"Dockerfile": DOCKERFILE, "text": b"1", "x.log": b"2", "sub/a": b"3", "sub/x.log": b"4"}
ALL = {"Dockerfile", "text", "x.log", "sub", "sub/a", "sub/x.log"}
classic = pytest.mark.parametrize("bench", ["classic"], indirect=True)


@pytest.fixture(params=["classic", "buildkit"])
def bench(request: pytest.FixtureRequest, engine: BuildEngine) -> Iterator[Bench]:
    with engine_parts.bench(engine, request.param) as made:
        yield made


def built(bench: Bench, files: Files) -> dict[str, str]:
    """The files below the image's /w, as its last step finds them, with their digests; folders have none."""
    bench.build(files)
    found = re.findall(r"(?:([0-9a-f]{64})  |folder )\./(.+)$", bench.output.decode(), re.MULTILINE)
    assert found
    return {name: digest for digest, name in found}


def digest(text: bytes | str) -> str:
    assert isinstance(text, bytes)
    return hashlib.sha256(text).hexdigest()


@pytest.mark.parametrize(
    ("ignored", "left"),
    [
        (None, ALL),
        (b"*.log\n", ALL - {"x.log"} | {".dockerignore"}),
        (b"**/*.log\n.dockerignore\n", ALL - {"x.log", "sub/x.log"}),
        (b"sub\n!sub/a\n!Dockerfile", ALL - {"sub/x.log"} | {".dockerignore"}),
    ],
)
def test_the_image_holds_the_pushed_files_and_no_others(bench: Bench, ignored: bytes | None, left: set[str]) -> None:
    files = TREE if ignored is None else {**TREE, ".dockerignore": ignored}
    found = built(bench, files)
    assert set(found) == left
    if ignored and b"!" in ignored and b"Step" in bench.output:  # the classic builder needs a line of octo's there
        del found[".dockerignore"]
    assert {n: d for n, d in found.items() if d} == {n: digest(files[n]) for n in found if n in files}


@classic
@pytest.mark.parametrize("ignored", [b"Dockerfile\n", b"*\n!text\n"])
def test_a_dockerfile_that_is_left_out_is_built_all_the_same(bench: Bench, ignored: bytes) -> None:
    found = built(bench, {**TREE, ".dockerignore": ignored})
    assert "text" in found and "Dockerfile" not in found


@classic
@pytest.mark.parametrize("ignored", [None, b"*.log\n"])
def test_the_same_files_are_taken_from_the_cache(bench: Bench, ignored: bytes | None) -> None:
    files = TREE if ignored is None else {**TREE, ".dockerignore": ignored}
    first = bench.build(files)
    assert bench.build(files if ignored is None else {**files, "x.log": b"another"}) == first
    assert bench.output.count(b"Using cache") == 8
    assert b"octo-recipe" not in bench.output


@pytest.mark.parametrize("bench", ["buildkit"], indirect=True)
def test_for_buildkit_no_line_is_another_but_one_that_asks_for_another_reader(bench: Bench) -> None:
    rest = DOCKERFILE.partition(b"\n")[2]
    found = built(bench, {**TREE, "Dockerfile": b"# syntax=docker/dockerfile:1\n" + rest})
    assert found["Dockerfile"] == digest(b"#\n" + rest)
