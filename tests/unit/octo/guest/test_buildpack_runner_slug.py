"""The slug and the cache on their way to octod: sizes, retries, limits, what .slugignore leaves out."""

import gzip
import io
import os
import tarfile
from pathlib import Path

import pytest

from octo.guest.buildpack.ignored import pattern
from tests.unit.octo.guest.runner_parts import Place, own

DEFAULT = "printf -- 'default_process_types:\\n  web: x\\n'"
NOISE = 'head -c {0} /dev/urandom >"{1}/noise"'


def ready(here: Place, compile: str = ":") -> Place:
    here.buildpack("python", detect="echo X", compile=compile, release=DEFAULT)
    return here


@pytest.mark.row("E10")
def test_a_slug_over_the_limit_is_refused_with_its_size_and_not_stored(here: Place) -> None:
    built = ready(here, NOISE.format(3 << 20, "$1")).build({"a": b""}, slug_mb=1)
    assert built.code == 1
    assert " !     Push rejected, your compiled slug is 3.0MB (max is 1MB).\n" in built.said
    assert "or ask the operator: octo limits:set shop slug=2M" in built.said
    assert not built.slug and not built.out
    assert max(size for _, size in here.octod.calls) <= 1 << 20


@pytest.mark.row("E11")
def test_a_slug_is_stored_again_when_octod_fails_twice(here: Place) -> None:
    here.octod.answers = [500, 503]
    built = ready(here).build({"a": b"a"})
    assert built.code == 0, built.said
    assert [call for call, _ in here.octod.calls].count("PUT slug") == 3
    assert built.text("app/a") == "a"


@pytest.mark.row("E11")
@pytest.mark.parametrize(("answers", "tries"), [([500] * 5, 3), ([403] * 5, 1), ([500, 403], 2)])
def test_a_slug_that_octod_does_not_take_refuses_the_push(here: Place, answers: list[int], tries: int) -> None:
    here.octod.answers = list(answers)
    built = ready(here, NOISE.format(3 << 20, "$1")).build({"a": b""})
    assert built.code == 1
    assert f" !     cannot store the slug: octod answered {answers[0]}\n" in built.said
    assert [call for call, _ in here.octod.calls].count("PUT slug") == tries


@pytest.mark.row("E5")
def test_what_compile_leaves_in_the_cache_is_there_in_the_next_build(here: Place) -> None:
    ready(here, 'cat "$2/mine" 2>/dev/null; echo kept >"$2/mine"; ln -sf / "$2/root"; mkdir -p "$2/d"; chmod 0 "$2/d"')
    first = here.build({"a": b""})
    assert first.result["cache"]["stored"] is True
    assert "kept" not in first.said
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(here.octod.blobs["cache"]))) as archive:
        assert {m.name: m.linkname for m in archive} == {
            "cache": "", "cache/d": "", "cache/mine": "", "cache/root": "/",
        }  # fmt: skip
    stored = len(here.octod.blobs["cache"])
    second = here.build({"a": b""})
    assert "       kept\n" in second.said
    assert second.result["cache"]["fetched"] == stored


@pytest.mark.row("E5")
def test_a_cache_that_did_not_change_is_not_stored_again(here: Place) -> None:
    ready(here, '[ -f "$2/mine" ] || echo kept >"$2/mine"')
    assert here.build({"a": b""}).result["cache"]["stored"] is True
    assert here.build({"a": b""}).result["cache"]["why"] == "unchanged"
    ready(here, 'echo else >"$2/mine"')
    assert here.build({"a": b""}).result["cache"]["stored"] is True


@pytest.mark.row("E5")
def test_a_broken_cache_counts_as_none(here: Place) -> None:
    ready(here, 'ls "$2" | wc -l')
    whole = gzip.compress(os.urandom(500_000))
    for broken in (b"no gzip", whole, whole[:1000], gzip.compress(b"")[:-4]):
        here.octod.blobs["cache"] = broken
        built = here.build({"a": b""})
        assert built.code == 0, built.said
        assert "-----> The build cache cannot be read: starting with an empty one\n" in built.said
        assert "       0\n" in built.said


@pytest.mark.row("E5")
def test_a_cache_over_its_limit_is_said_and_not_stored_and_the_push_goes_on(here: Place) -> None:
    ready(here, NOISE.format(3 << 20, "$2"))
    here.octod.blobs["cache"] = b""
    built = here.build({"a": b""}, cache_mb=1)
    assert built.code == 0
    assert "The build cache is not kept: it has 3.0MB (max is 1MB, setting cache_mb).\n" in built.said
    assert here.octod.blobs["cache"] == b""


@pytest.mark.row("E5")
def test_a_failed_build_leaves_the_stored_cache_as_it_was(here: Place) -> None:
    ready(here, 'echo 1 >"$2/mine"').build({"a": b""})
    before = here.octod.blobs["cache"]
    ready(here, 'echo 2 >"$2/mine"; exit 1')
    assert here.build({"a": b""}).code == 1
    assert here.octod.blobs["cache"] == before


@pytest.mark.parametrize(
    "name", ["cache/out/hit", "cache/../out/hit", "cache/../../out/hit", "{root}/out/hit", "cache/hard"]
)
def test_what_lies_in_a_cache_leads_no_build_out_of_it(here: Place, name: str) -> None:
    """Whoever builds can send any archive as his cache."""
    (here.root / "out").mkdir(mode=0o777)
    (here.root / "out/old").write_bytes(b"as it was")
    for path in (here.root / "out", here.root / "out/old", here.root):
        own(path)
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz") as archive:
        link, hard = tarfile.TarInfo("cache/out"), tarfile.TarInfo("cache/hard")
        link.type, link.linkname = tarfile.SYMTYPE, str(here.root / "out")
        hard.type, hard.linkname = tarfile.LNKTYPE, str(here.root / "out/old")
        member = tarfile.TarInfo(name.format(root=here.root))
        member.size, member.mode = 3, 0o6777
        for each in (hard, link, link):
            archive.addfile(each)
        archive.addfile(member, io.BytesIO(b"new"))
    here.octod.blobs["cache"] = target.getvalue()
    ready(here).build({"a": b""})
    assert {f.name: f.read_bytes() for f in (here.root / "out").iterdir()} == {"old": b"as it was"}


@pytest.mark.row("E8")
def test_slugignore_git_and_ds_store_are_left_out(here: Place) -> None:
    ignore = b"\xef\xbb\xbf# notes\n\n*.psd\n/top\ndocs/\nlib/**/tests\n/../../../etc\n../x\n!keep\n/\n**\nsp ace\r\n"
    files = {
        ".slugignore": ignore, "a.psd": b"", "x/b.psd": b"", "top/1": b"", "x/top/1": b"", "docs/a": b"", "x/docs": b"",
        "lib/tests/1": b"", "lib/a/b/tests/1": b"", "tests/1": b"", ".DS_Store": b"", "x/.DS_Store": b"", "sp ace": b"",
        "a\nb.psd": b"", "keep": b"", "dir.psd/deep/file": b"", "link.psd": "/etc/passwd",
    }  # fmt: skip
    built = ready(here, 'mkdir -p "$1/.git/objects"; touch "$1/.git/HEAD" "$1/x/made.psd"').build(files)
    assert built.code == 0, built.said
    assert "-----> Deleting 11 files matching .slugignore patterns.\n" in built.said
    kept = {n.removeprefix("app/") for n, m in built.members().items() if not m.isdir()}
    assert kept == {".slugignore", "x/top/1", "x/docs", "tests/1", "keep"}
    assert Path("/etc/passwd").exists()


@pytest.mark.parametrize(
    ("line", "hits", "misses"),
    [
        ("*.log", ["a.log", "x/y/a.log"], ["a.logs", "log"]),
        ("/a", ["a"], ["x/a"]),
        ("a/b", ["a/b"], ["x/a/b"]),
        ("d/", ["d/", "x/d/"], ["d"]),
        ("a/**", ["a/b", "a/b/c"], ["a/", "b"]),
        ("**/b", ["b", "a/b", "a/c/b"], ["bb"]),
        ("a/**/b", ["a/b", "a/x/y/b"], ["ab", "xa/b"]),
        ("f?[0-9].t", ["fx1.t"], ["f/1.t", "fx.t"]),
        ("[!a]z", ["bz"], ["az", "/z"]),
        ("a*b*c", ["abc", "axxbyyc"], ["ab/c"]),
        ("[]x", ["[]x"], ["x"]),
        ("(.+)$^", ["(.+)$^"], ["aaa"]),
        ("./a", ["a"], ["x/a"]),
        ("é*", ["é1"], ["e"]),
    ],
)
def test_patterns_match_as_in_gitignore(line: str, hits: list[str], misses: list[str]) -> None:
    found = pattern(line)
    assert found
    assert [h for h in hits if not found.fullmatch(h.encode())] == []
    assert [m for m in misses if found.fullmatch(m.encode())] == []


@pytest.mark.parametrize("line", ["", "  ", "# x", "!x", "/", "//", "..", "../x", "a/../b", "**", "/**/", "."])
def test_lines_that_name_nothing_inside_are_no_patterns(line: str) -> None:
    assert pattern(line) is None


@pytest.mark.parametrize("ignore", ["/etc/passwd", b"\xff", b"x" * 70_000])
def test_a_slugignore_that_is_no_text_file_is_refused(here: Place, ignore: bytes | str) -> None:
    built = ready(here).build({"a": b"", ".slugignore": ignore})
    assert built.code == 1 and "cannot read .slugignore" in built.said
