"""What follows from a commit before its files are there."""

import pytest

from octo.errors import BuildFailed
from octo.model import AppName
from octo.pipeline.source import Source, Strategy, buildpacks, neighbour, processes_of, strategy

SHOP = AppName("shop")


@pytest.mark.row("D1")
@pytest.mark.row("E1")
def test_a_dockerfile_is_built_unless_a_buildpack_is_asked_for() -> None:
    with_file, without = Source("c", "FROM x", None), Source("c", None, "web: x")
    assert strategy(with_file, {}) is Strategy.DOCKERFILE
    assert strategy(without, {}) is Strategy.BUILDPACK
    assert strategy(with_file, {"BUILDPACK_URL": "https://example.com/b.git"}) is Strategy.BUILDPACK


def test_buildpack_url_may_hold_several() -> None:
    assert buildpacks({"BUILDPACK_URL": " https://a/b.git#v1\n https://a/c.tgz "}) == [
        "https://a/b.git#v1",
        "https://a/c.tgz",
    ]
    assert buildpacks({}) == []


def test_without_a_procfile_a_dockerfile_makes_one_web_process() -> None:
    assert processes_of(Source("c", "FROM x", None)) == {"web": None}
    assert processes_of(Source("c", "FROM x", "worker: run\n")) == {"worker": "run"}


@pytest.mark.row("B14")
@pytest.mark.parametrize(
    ("url", "app"),
    [
        ("../lib.git", "lib"),
        ("../lib", "lib"),
        ("./../lib.git", "lib"),
        ("../a/../lib.git", "lib"),
        ("https://example.com/lib.git", None),
        ("ext::sh -c id", None),
        ("lib.git", None),
    ],
)
def test_a_relative_submodule_is_an_app_here(url: str, app: str | None) -> None:
    assert neighbour(SHOP, url) == app


@pytest.mark.row("B14")
@pytest.mark.parametrize("url", ["../..", "./x.git", "../LIB.git", "../lib/../../../etc/passwd", "../a\nb.git", "../"])
def test_a_relative_submodule_that_is_no_app_is_refused(url: str) -> None:
    with pytest.raises(BuildFailed, match="it is no app of this octo"):
        neighbour(SHOP, url)
