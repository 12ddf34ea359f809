"""Members of a tar as it passes by, in pieces of any size, and of any kind."""

import io
import tarfile

import pytest

from octo.errors import BuildFailed
from octo.images.context import Files
from octo.images.tarwalk import Member, Tally, Walk
from tests.contract.docker_parts import tar

LONG = "d/" * 120 + "x"


def walked(data: bytes, size: int = 10_000) -> list[Member]:
    found: list[Member] = []
    walk = Walk(found.append)
    for at in range(0, len(data), size):
        walk.feed(data[at : at + size])
    walk.finish()
    return found


def made(format: int) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=format) as archive:
        for name, content in (("a", b"x" * 700), (LONG, b"y"), ("é", b""), ("n" * 99, b"z" * 512)):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, LONG
        archive.addfile(link)
        folder = tarfile.TarInfo("folder")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
    return target.getvalue()


@pytest.mark.parametrize("format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
@pytest.mark.parametrize("size", [1, 7, 512, 100_000])
def test_members_are_the_same_in_every_format_and_in_pieces_of_any_size(format: int, size: int) -> None:
    data = made(format)
    found = walked(data, size)
    assert [m.name.decode() for m in found] == ["a", LONG, "é", "n" * 99, "link", "folder/"]
    assert [m.kind for m in found] == ["0", "0", "0", "0", "2", "5"]
    assert found[4].link.decode() == LONG
    assert [data[m.at : m.at + m.size] for m in found[:4]] == [b"x" * 700, b"y", b"", b"z" * 512]


def test_what_comes_behind_its_end_is_not_looked_at() -> None:
    assert [m.name for m in walked(tar({"a": b"1"}) + tar({"b": b"2"}))] == [b"a"]


@pytest.mark.parametrize(
    "data",
    [
        b"x" * 512,
        b"\0" * 100,
        tar({"a": b"x" * 5000})[:2000],
        tar({"a": b""})[:512].replace(b"0000644", b"0000645") + bytes(512),
    ],
)
def test_what_is_no_whole_tar_is_refused(data: bytes) -> None:
    with pytest.raises(BuildFailed, match="cannot read the files"):
        walked(data)


@pytest.mark.parametrize(
    ("names", "number"),
    [
        ([b"app/", b"app/a", b"app/d/", b"app/d/x", b"app/d/y", b"app/e"], 6),
        ([b"./app", b"./app/d//x"], 3),
        ([b"a/b/c/d", b"a/b/c/e", b"a/f/g"], 7),
        ([b"a", b"a", b"a"], 3),
        ([b"d/" * 500 + b"x", b"e/" * 500 + b"x"], 1002),
        ([b""], 1),
    ],
)
def test_folders_that_nobody_named_are_counted_with_what_lies_in_them(names: list[bytes], number: int) -> None:
    tally = Tally()
    assert [tally.add(name) for name in names][-1] == number


def dockerfile(files: dict[str, bytes | str]) -> bytes:
    with Files([tar(files)], 1 << 20) as kept:
        return kept.dockerfile()


def test_the_dockerfile_is_the_last_of_its_name_at_the_root() -> None:
    assert (
        dockerfile({"a": b"x" * 700, "./Dockerfile": b"one", "sub/Dockerfile": b"two", "Dockerfile.dev": b"three"})
        == b"one"
    )
    assert dockerfile({"x/../Dockerfile": b"one", "/Dockerfile": b"two"}) == b"two"


def test_a_link_as_dockerfile_is_followed_within_the_files_alone() -> None:
    assert dockerfile({"Dockerfile": "docker/web", "docker/web": "../a/./b", "a/b": b"text"}) == b"text"
    for target in ("/etc/passwd", "../../etc/passwd", "Dockerfile", "gone", "."):
        with pytest.raises(BuildFailed, match="its Dockerfile is no file"):
            dockerfile({"Dockerfile": target})


def test_no_dockerfile_is_told_in_the_old_words() -> None:
    with pytest.raises(BuildFailed, match=r"There is no Dockerfile present\."):
        dockerfile({"sub/Dockerfile": b"x"})


def test_what_is_sent_ends_with_the_text_that_was_checked() -> None:
    with Files([tar({"Dockerfile": b"old", "b": b"2"})], 1 << 20) as kept:
        for _ in range(2):
            whole = b"".join(kept.chunks({"Dockerfile": b"new"}))
            with tarfile.open(fileobj=io.BytesIO(whole)) as archive:
                assert [m.name for m in archive] == ["Dockerfile", "b", "Dockerfile"]
                last = archive.extractfile(archive.getmembers()[-1])
                assert last and last.read() == b"new"


def test_more_files_than_may_be_are_refused_while_they_come() -> None:
    def endless() -> object:
        yield tar({"a": b"x" * 5000})[:5120]
        raise AssertionError("read on")

    with pytest.raises(BuildFailed, match="more than 0 MB"):
        Files(endless(), 5000)  # type: ignore[arg-type]
