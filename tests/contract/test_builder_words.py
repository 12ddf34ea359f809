"""What a Dockerfile may say: whose images it names, what needs BuildKit, and which files it is given."""

import contextlib
from pathlib import Path

import pytest

from octo.errors import BuildFailed
from tests.contract.docker_parts import tar
from tests.contract.engine_parts import FROM, INSTANCE, Bench, images


@pytest.mark.row("C1")
def test_no_other_apps_image_can_be_had_by_any_name(bench: Bench) -> None:
    secret = bench.build("RUN echo the-sec''ret > /secret\n", app="b" * 12)
    short = secret.removeprefix("sha256:")
    cache = next(n for n in images(bench.engine) if n.endswith(":last"))
    names = [
        f"{INSTANCE}/{'b' * 12}:b0",
        secret,
        short,
        short[:12],
        short[:3],
        short[:1],
        f"docker.io/{INSTANCE}/{'b' * 12}:b0",
    ]
    for name in names:
        for lines in (
            f"FROM {name}\nRUN cat /secret\n",
            f"{FROM}COPY --from={name} /secret /s\nRUN cat /s\n",
            f"ARG X={name}\nFROM $X\nRUN cat /secret\n",
        ):
            with pytest.raises(BuildFailed):
                bench.build({"Dockerfile": lines.encode()})
            assert b"the-secret" not in bench.output, lines
    assert len(cache.partition("/")[2].partition(":")[0]) == 32, "a name that nobody guesses"
    assert cache.encode() not in bench.output


@pytest.mark.parametrize("line", ["# syntax=evil/frontend", "#syntax = docker/evil:1", "#!/bin/sh\n# syntax=evil/x"])
def test_no_foreign_reader_of_dockerfiles_is_fetched(bench: Bench, line: str) -> None:
    with pytest.raises(BuildFailed, match="foreign reader"):
        bench.build({"Dockerfile": f"{line}\n{FROM}".encode()})


def test_the_official_reader_is_not_fetched_either_and_the_build_goes_on(bench: Bench) -> None:
    bench.build({"Dockerfile": f"# syntax=docker/dockerfile:1\n{FROM}RUN true\n".encode()})
    assert b"docker/dockerfile" not in bench.output


@pytest.mark.parametrize(
    "lines", ["RUN --mount=type=cache,target=/x ls\n", "RUN <<EOF\nls\nEOF\n", "COPY --link Dockerfile /\n"]
)
def test_what_needs_buildkit_says_so_where_there_is_none(bench: Bench, lines: str) -> None:
    with pytest.raises(BuildFailed, match=r"line 3 \(.*\) needs BuildKit") as caught:
        bench.build(lines)
    assert "Docker 26" in caught.value.hint


@pytest.mark.parametrize(
    "files",
    [
        {".dockerignore": "/etc/shadow"},
        {".dockerignore": "../../../../etc/shadow", "a": b"x"},
        {"x": "/etc/shadow"},
        {"../../../../../etc/octo-was-here": b"x"},
        {"sub": "../../../../../../etc", "sub/octo-was-here": b"x"},
    ],
)
def test_links_and_odd_members_among_the_files_show_and_change_nothing_of_the_host(
    bench: Bench, files: dict[str, bytes | str]
) -> None:
    with contextlib.suppress(BuildFailed):
        bench.build({"Dockerfile": (FROM + "COPY . /all/\nRUN cat /all/x /all/.dockerignore; true\n").encode()} | files)
    hashes = [line for line in Path("/etc/shadow").read_text().splitlines() if line.startswith("root:")]
    assert hashes[0].encode() not in bench.output
    assert not Path("/etc/octo-was-here").exists()


@pytest.mark.parametrize("line", ["COPY ../x /x", "COPY /etc/shadow /x", "ADD ../../etc/shadow /x"])
def test_files_outside_the_repository_cannot_be_copied(bench: Bench, line: str) -> None:
    with pytest.raises(BuildFailed, match=r"COPY|ADD|no such file|not found|outside"):
        bench.build(f"{line}\n")


def test_the_last_of_two_dockerfiles_is_the_one_that_is_checked_and_built(bench: Bench) -> None:
    first, last = (
        tar({"Dockerfile": b"FROM evil\n"}),
        tar(
            {
                "x": ".",
                "x/Dockerfile": b"FROM evil\n",
                "Dockerfile": (FROM + "RUN echo th''is\n").encode(),
                "x/./Dockerfile": b"FROM evil\n",
            }
        ),
    )
    bench.build({}, context=[first[:1024] + last])
    assert b"this" in bench.output


@pytest.mark.row("D3")
def test_nothing_of_hostile_builds_is_left_on_the_main_engine(bench: Bench) -> None:
    before = images()
    with pytest.raises(BuildFailed):
        bench.build("RUN echo x > /x\nRUN exit 1\n")
    assert images() == before
