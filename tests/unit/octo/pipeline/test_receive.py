"""What the refs of a push mean."""

import pytest

from octo.pipeline.receive import RefUpdate, decide

OLD, NEW, ZERO = "1" * 40, "2" * 40, "0" * 40
MAIN = ("main", "master")


def update(ref: str, new: str = NEW, old: str = OLD) -> RefUpdate:
    return RefUpdate(old, new, ref)


@pytest.mark.row("B4")
@pytest.mark.parametrize("branch", MAIN)
def test_a_deploying_branch_is_built(branch: str) -> None:
    assert decide([update(f"refs/heads/{branch}")], MAIN).commit == NEW


@pytest.mark.row("B6")
def test_another_branch_is_accepted_and_told_of() -> None:
    verdict = decide([update("refs/heads/feature/x")], MAIN)
    assert not verdict.commit and not verdict.refused
    assert verdict.notes == ["Pushed to non-main branch, skipping build. (feature/x)"]


@pytest.mark.row("B15")
def test_a_tag_never_deploys() -> None:
    verdict = decide([update("refs/tags/v1")], MAIN)
    assert not verdict.commit and not verdict.refused and "Tags never deploy" in verdict.notes[0]


@pytest.mark.row("B15")
def test_deleting_what_runs_is_refused() -> None:
    assert "cannot delete master branch" in decide([update("refs/heads/master", ZERO)], MAIN).refused


def test_deleting_another_branch_is_accepted() -> None:
    assert not decide([update("refs/heads/x", ZERO)], MAIN).refused


def test_two_deploying_branches_at_once_are_refused_by_name() -> None:
    refused = decide([update("refs/heads/main"), update("refs/heads/master")], MAIN).refused
    assert "main and master" in refused


def test_a_branch_that_only_looks_like_one_does_not_deploy() -> None:
    for ref in (
        "refs/heads/main2",
        "refs/heads/x/main",
        "refs/tags/main",
        "refs/heads/refs/heads/main",
        "refs/heads/-x",
    ):
        assert not decide([update(ref)], MAIN).commit
