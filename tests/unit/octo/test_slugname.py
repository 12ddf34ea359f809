"""Names of slugs: one spelling each, read back as what they were, and nothing else is read."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octo import codec, slugname
from octo.errors import Usage
from octo.model import App, AppName, Build, UserName
from octo.slugname import SlugName, Wanted

APP = App("0123456789ab", AppName("shop"), 1.0, UserName("ann"))
BUILD = Build("6920aabb0c0ffe", APP.id, "c0ffee" + "0" * 34, None, 1.0, ref="refs/heads/feature/x")
PARTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)


@pytest.mark.row("F5")
def test_a_name_has_owner_app_ref_and_commit_and_three_slashes() -> None:
    name = slugname.name_of(APP, BUILD)
    assert str(name) == f"ann/shop/feature%2Fx/{BUILD.commit}"
    assert slugname.slug_name(str(name)) == name
    of_operator = slugname.name_of(replace(APP, owner=None), BUILD)
    assert str(of_operator).startswith("operator/shop/")


def test_a_build_from_before_refs_were_kept_is_read_and_has_no_name() -> None:
    old = codec.loads(Build, codec.dumps(BUILD).replace(b',"ref":"refs/heads/feature/x"', b""))
    assert old == replace(BUILD, ref="") and slugname.name_of(APP, old) is None
    assert slugname.file_name(APP, old) == "shop-c0ffee00.tgz"


@pytest.mark.row("F5")
@given(
    PARTS, st.sampled_from(["refs/heads/", "refs/tags/", "refs/heads/tags/", "refs/heads/heads/", "refs/heads/refs/"])
)
def test_every_ref_is_read_back_from_its_shortest_spelling_and_from_its_name(text: str, kind: str) -> None:
    try:
        ref = slugname.git_ref(kind + text)
    except Usage:
        return
    assert ref == kind + text and slugname.git_ref(slugname.short(ref)) == ref
    name = SlugName("ann", "shop", ref, "c0ffee")
    assert str(name).count("/") == 3 and str(name).isascii() and slugname.slug_name(str(name)) == name


@given(st.text(max_size=40), st.sampled_from(["ann/shop/main/c0ffee", "ann/shop/a%2Fb/v3"]), st.integers(0, 20))
def test_no_name_has_a_second_spelling(text: str, true: str, at: int) -> None:
    for tried in (text, true[:at] + text + true[at:]):
        try:
            found = slugname.slug_name(tried)
        except Usage:
            continue
        assert str(found) == tried


@pytest.mark.row("F5")
@given(st.text(max_size=60))
def test_a_file_name_is_letters_digits_dots_and_dashes(text: str) -> None:
    made = slugname.file_name(APP, replace(BUILD, ref=f"refs/heads/{text}"))
    assert made.isascii() and "/" not in made and "\n" not in made and '"' not in made
    assert made.startswith("shop-") and made.endswith("-c0ffee00.tgz")


MAIN = "refs/heads/main"


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("main", [Wanted(ref=MAIN)]),
        ("refs/heads/main", [Wanted(ref=MAIN)]),
        ("tags/v3", [Wanted(ref="refs/tags/v3")]),
        ("v3", [Wanted(version="v3")]),
        ("heads/v3", [Wanted(ref="refs/heads/v3")]),
        ("@c0ffee", [Wanted(ref="refs/heads/@c0ffee"), Wanted(version="c0ffee")]),
        ("main@c0ffee", [Wanted(ref="refs/heads/main@c0ffee"), Wanted(ref=MAIN, version="c0ffee")]),
        ("main@v3", [Wanted(ref="refs/heads/main@v3"), Wanted(ref=MAIN, version="v3")]),
        ("main@{1}", []),
        ("c0ffee", [Wanted(ref="refs/heads/c0ffee"), Wanted(version="c0ffee")]),
        (BUILD.id, [Wanted(ref=f"refs/heads/{BUILD.id}"), Wanted(build=BUILD.id), Wanted(version=BUILD.id)]),
        ("", []),
        ("..", []),
    ],
)
def test_a_word_is_read_in_each_of_its_meanings_the_likeliest_first(word: str, meant: list[Wanted]) -> None:
    if meant:
        assert slugname.readings(word) == meant
    else:
        with pytest.raises(Usage, match="to find a slug"):
            slugname.readings(word)


@pytest.mark.row("F5")
@pytest.mark.parametrize(
    ("query", "fits"),
    [
        ({}, True),
        ({"ref": "feature/x", "version": "c0ffee", "namespace": "ann", "build": "6920"}, True),
        ({"ref": "refs/heads/feature/x"}, True),
        ({"ref": "main"}, False),
        ({"ref": "tags/feature/x"}, False),
        ({"ref": "feature"}, False),
        ({"version": "0ffee"}, False),
        ({"version": "v3"}, True),
        ({"version": "v4"}, False),
        ({"version": "v5"}, False),
        ({"namespace": "bob"}, False),
        ({"namespace": "operator"}, False),
        ({"build": "920a"}, False),
    ],
)
def test_a_build_is_found_by_what_it_was_pushed_as(query: dict[str, str], fits: bool) -> None:
    released = {"v3": BUILD.id, "v4": "6920aabb0c0fff"}
    assert slugname.fits(BUILD, APP, slugname.wanted(query), released) is fits
