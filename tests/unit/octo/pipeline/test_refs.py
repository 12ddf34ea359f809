"""What the refs of a push mean."""

import pytest

from octo.model import AppName, app_name
from octo.pipeline.refs import Branches, RefUpdate, Target, branch_name, decide

OLD, NEW, ZERO = "1" * 40, "2" * 40, "0" * 40
MAIN = ("main", "master")
OFF, APPS = Branches(apps=False), Branches()
SHOP = AppName("shop")


def update(ref: str, new: str = NEW, old: str = OLD) -> RefUpdate:
    return RefUpdate(old, new, ref)


@pytest.mark.row("B4")
@pytest.mark.parametrize("branch", MAIN)
@pytest.mark.parametrize("rules", [OFF, APPS], ids=["off", "apps"])
def test_a_deploying_branch_is_built(branch: str, rules: Branches) -> None:
    ref = f"refs/heads/{branch}"
    assert decide([update(ref)], rules).targets == (Target(NEW, ref),)


@pytest.mark.row("B6")
def test_another_branch_is_accepted_and_told_of() -> None:
    verdict = decide([update("refs/heads/feature/x")], OFF)
    assert not verdict.targets and not verdict.refused
    assert verdict.notes == ["Pushed to non-main branch, skipping build. (feature/x)"]


@pytest.mark.row("B6")
def test_a_list_names_the_branches_that_deploy() -> None:
    rules = Branches(main=("live",), apps=False)
    verdict = decide([update("refs/heads/live"), update("refs/heads/main")], rules)
    assert verdict.targets == (Target(NEW, "refs/heads/live"),)
    assert verdict.notes == ["Pushed to non-live branch, skipping build. (main)"]


@pytest.mark.row("B7")
def test_every_branch_of_a_push_deploys_in_turn_and_the_app_itself_first() -> None:
    verdict = decide([update("refs/heads/b"), update("refs/heads/a"), update("refs/heads/master")], APPS)
    assert [(t.ref, t.main) for t in verdict.targets] == [
        ("refs/heads/master", True),
        ("refs/heads/b", False),
        ("refs/heads/a", False),
    ]
    assert not verdict.notes


@pytest.mark.row("B15")
@pytest.mark.parametrize("rules", [OFF, APPS], ids=["off", "apps"])
def test_a_tag_never_deploys(rules: Branches) -> None:
    verdict = decide([update("refs/tags/v1"), update("refs/tags/main")], rules)
    assert not verdict.targets and not verdict.refused and "Tags never deploy" in verdict.notes[0]


@pytest.mark.row("B15")
@pytest.mark.parametrize("rules", [OFF, APPS], ids=["off", "apps"])
def test_deleting_what_runs_is_refused(rules: Branches) -> None:
    assert "cannot delete master branch" in decide([update("refs/heads/master", ZERO)], rules).refused


@pytest.mark.row("B15")
@pytest.mark.parametrize("rules", [OFF, APPS], ids=["off", "apps"])
def test_deleting_another_branch_builds_nothing_and_is_reported(rules: Branches) -> None:
    verdict = decide([update("refs/heads/x", ZERO), update("refs/tags/v1", ZERO)], rules)
    assert not verdict.refused and not verdict.targets and not verdict.notes
    assert verdict.deleted == ("refs/heads/x",)


def test_two_deploying_branches_at_once_are_refused_by_name() -> None:
    refused = decide([update("refs/heads/main"), update("refs/heads/master")], APPS).refused
    assert "main and master" in refused


def test_of_two_that_an_import_brings_the_first_is_what_runs() -> None:
    verdict = decide([update("refs/heads/master"), update("refs/heads/main")], OFF, keep=True)
    assert [t.ref for t in verdict.targets] == ["refs/heads/main"] and not verdict.refused
    assert "master" in verdict.notes[0]


LOOK_ALIKES = ("refs/heads/main2", "refs/heads/x/main", "refs/tags/main", "refs/heads/refs/heads/main", "refs/heads/-x")


@pytest.mark.parametrize("ref", LOOK_ALIKES)
def test_a_branch_that_only_looks_like_one_does_not_deploy(ref: str) -> None:
    assert not decide([update(ref)], OFF).targets
    assert not [t for t in decide([update(ref)], APPS).targets if t.main]


@pytest.mark.row("B7")
@pytest.mark.parametrize(
    ("branch", "name"),
    [
        ("feature/x", "shop-feature-x"),
        ("Feature/X_1", "shop-feature-x-1"),
        ("v1.2", "shop-v1-2"),
        ("-a--b-", "shop-a-b"),
        ("a;b'c$(d)\u2028", "shop-a-b-c-d"),
        ("é/x", "shop-x"),
    ],
)
def test_an_app_is_called_after_its_branch(branch: str, name: str) -> None:
    assert branch_name(SHOP, f"refs/heads/{branch}") == name


@pytest.mark.row("B7")
@pytest.mark.parametrize("app", ["shop", "s" * 63, "a-" * 31 + "b"])
@pytest.mark.parametrize("branch", ["x" * 200, "日本", "_", "\udcff", "a/" * 90])
def test_a_name_that_does_not_fit_is_cut_and_unique(app: str, branch: str) -> None:
    name = branch_name(AppName(app), f"refs/heads/{branch}")
    assert app_name(name) == name and len(name) <= 63 and not name.endswith("-") and "--" not in name
    assert name != branch_name(AppName(app), f"refs/heads/{branch}x") and name != app
