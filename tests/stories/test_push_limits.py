"""What a push may bring, and how long it may take, before anything is built: which limit struck is told."""

import os
from collections.abc import Iterator

import pytest

from tests.apps import buildpacks as apps
from tests.stories.conftest import Name, serving
from tests.stories.host import Host, Repository


@pytest.fixture(scope="module", params=["lxc", "docker"])
def yard(request: pytest.FixtureRequest) -> Iterator[Host]:
    with serving(OCTO_SANDBOX=request.param, OCTO_PUSH_SECONDS="4", OCTO_PUSH_MB="1") as made:
        yield made


@pytest.mark.row("C11")
def test_a_push_that_takes_too_long_is_told_its_limit_and_leaves_nothing(yard: Host, names: Name) -> None:
    clone = Repository(yard, names("slow"), apps.hostile("exec sleep inf"))
    said = clone.push(code=None)
    assert "it took longer than 4 s, the limit" in said and "raise the setting push_seconds" in said, said
    yard.idle()
    assert not yard.left_over()
    assert [build["status"] for build in yard.json("builds", "-a", clone.app)] == ["abandoned"]


def test_a_pack_that_is_too_large_is_refused_with_the_size_and_not_kept(yard: Host, names: Name) -> None:
    clone = Repository(yard, names("large"), apps.static("small"))
    clone.push()
    (clone.folder / "large").write_bytes(os.urandom(3_000_000))
    clone.commit({})
    said = clone.push(code=1)
    assert "pack exceeds maximum allowed size (1024.00 KiB)" in said, said
    assert yard.get(clone.app) == (200, "<h1>small</h1>\n")
    repository = yard.home / "octo/repos" / f"{yard.json('apps:info', '-a', clone.app)['id']}.git"
    assert sum(f.stat().st_size for f in repository.rglob("*") if f.is_file()) < 1_000_000
