"""Which files a .dockerignore leaves out."""

import io
import os
import tarfile

import pytest

from octo.errors import BuildFailed
from octo.images.context import Files
from octo.images.ignore import Ignored
from tests.contract.docker_parts import tar


@pytest.mark.parametrize(
    ("text", "name", "gone"),
    [
        ("a", "a", True),
        ("a", "a/b/c", True),
        ("a", "b/a", False),
        ("/a/", "a", True),
        ("./a/../b", "b/x", True),
        ("  a  \r", "a", True),
        ("\ufeffa", "a", True),
        ("# a", "a", False),
        (" # a", "# a", True),
        ("!", "!", False),
        ("*.md", "x.md", True),
        ("*.md", "d/x.md", False),
        ("*/*.md", "d/x.md", True),
        ("**/*.md", "x.md", True),
        ("**/*.md", "d/e/x.md", True),
        ("a/**", "a", False),
        ("a/**", "a/b/c", True),
        ("a/**/z", "a/z", True),
        ("a/**/z", "a/b/c/z", True),
        ("a/**/z", "a/b/c/y", False),
        ("**", "a/b", True),
        ("**/b/**/d", "b/x/b/d", True),
        ("*", ".hidden", True),
        ("x?", "xy", True),
        ("x?", "x", False),
        ("[a-c]x", "bx", True),
        ("[^a]x", "ax", False),
        ("[^a]x", "bx", True),
        (r"\*", "*", True),
        (r"\*", "a", False),
        ("*\n!a", "a", False),
        ("*\n!a", "b", True),
        ("a\n!a/b\na/b/c", "a/b/d", False),
        ("a\n!a/b\na/b/c", "a/b/c", True),
        ("!a\n*", "a", True),
        ("../a", "a", False),
        ("é*", "éa", True),
    ],
)
def test_the_last_pattern_that_says_something_about_a_file_or_its_folders_counts(
    text: str, name: str, gone: bool
) -> None:
    assert Ignored(text.encode())(name) is gone


def test_names_made_to_be_slow_are_not() -> None:
    slow = Ignored(b"*a*a*a*a*a*a*a*a*b\n" + b"**/a/" * 30 + b"b\n!c\n")
    assert not slow("a" * 255) and not slow("a/" * 2000 + "a") and not slow("a/" * 500_000 + "a")
    with pytest.raises(BuildFailed, match="more than 200 patterns"):
        Ignored(b"x\n" * 201)


def sent(files: dict[str, bytes | str], recipe: bytes = b"r") -> tuple[str, dict[str, bytes]]:
    """What the classic builder is told to build from, and all files that it gets, the last of each name."""
    with Files([tar(files)], 1 << 20) as kept:
        name, added = kept.beside(recipe)
        with tarfile.open(fileobj=io.BytesIO(b"".join(kept.chunks(added)))) as archive:
            return name, {m.name: ((f := archive.extractfile(m)) and f.read()) or b"" for m in archive if m.isfile()}


def test_what_is_left_out_is_not_sent_whatever_stands_around_it() -> None:
    long = "d/" + "n" * 200
    files: dict[str, bytes | str] = {long: b"1" * 700, "keep/a": b"2" * 513, "x.log": b"3", long + "x": b"4", "z": b"5"}
    for first in (True, False):
        dockerignore: dict[str, bytes | str] = {".dockerignore": b"d\n*.log\n"}
        _, got = sent(dockerignore | files if first else files | dockerignore)
        assert {n: got[n] for n in ("keep/a", "z")} == {"keep/a": b"2" * 513, "z": b"5"}
        assert not [n for n in got if n.startswith("d/") or n == "x.log"]


@pytest.mark.parametrize(
    "own", [b"*.log", b"node_modules", b"Dockerfile", b"**/.git", b"!a\n/out/", b"*\n!.dockerignore\nsecret"]
)
def test_a_dockerignore_is_sent_as_it_was_pushed_and_leaves_out_what_is_built_from(own: bytes) -> None:
    name, got = sent({".dockerignore": own, "Dockerfile": b"d", "node_modules_": b""})
    assert got[".dockerignore"] == own and got[name] == b"r" and Ignored(own)(name)


@pytest.mark.parametrize("own", [None, b".dockerignore", b"*", b".*\n!x"])
def test_where_none_is_sent_one_of_octos_own_leaves_out_itself_and_what_is_built_from(own: bytes | None) -> None:
    name, got = sent({"Dockerfile": b"d"} | ({} if own is None else {".dockerignore": own}))
    assert got[name] == b"r" and all(Ignored(got[".dockerignore"])(n) for n in (name, ".dockerignore"))


@pytest.mark.parametrize("own", [b"", b"# nothing", b"a/b", b"*\n!*", b"taken"])
def test_one_that_leaves_out_no_name_that_is_free_has_a_line_more(own: bytes) -> None:
    name, got = sent({".dockerignore": own, "Dockerfile": b"d", "b": b"", "!taken": b"", "taken/x": b""})
    if own != b"taken":
        assert got[".dockerignore"].startswith(own) and Ignored(got[".dockerignore"])(name)
    assert got[name] == b"r"


def test_a_dockerignore_that_is_a_link_is_followed_within_the_files_alone() -> None:
    assert "x.log" not in sent({".dockerignore": "etc/i", "etc/i": b"*.log\n", "x.log": b"", "Dockerfile": b"d"})[1]
    assert "x.log" in sent({".dockerignore": "/etc/hostname", "x.log": b"", "Dockerfile": b"d"})[1]
    assert os.path.exists("/etc/hostname")
