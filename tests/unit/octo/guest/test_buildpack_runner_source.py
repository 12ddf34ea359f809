"""The files of the push in their place: what git has, submodules from real servers, and what is refused."""

import io
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.unit.octo.guest.git_parts import commit, git, git_server, repository
from tests.unit.octo.guest.runner_parts import Built, Place, tar

SHA = "a" * 40


def source(here: Place, files: dict[str, Any] | bytes, submodules: list[list[str | None]], **header: Any) -> Built:
    return here.build(files, mode="source", submodules=submodules, **header)


def tree(built: Built) -> dict[str, str]:
    """Path to content, "-> target" or "/" of what came out in mode "source"."""
    found = {}
    with tarfile.open(fileobj=io.BytesIO(built.out)) as archive:
        for member in archive:
            content = archive.extractfile(member) if member.isreg() else None
            text = content.read().decode() if content else "/" if member.isdir() else f"-> {member.linkname}"
            found[member.name.removeprefix("./")] = text + ("*" if member.isreg() and member.mode & 0o100 else "")
    return found


def gitlink(where: Path, path: str, sha: str, url: str) -> str:
    git(where, "update-index", "--add", "--cacheinfo", f"160000,{sha},{path}")
    modules = where / ".gitmodules"
    old = modules.read_text() if modules.exists() else ""
    modules.write_text(f'{old}[submodule "{path}"]\n\tpath = {path}\n\turl = {url}\n')
    git(where, "add", ".gitmodules")
    git(where, "commit", "-q", "-m", "link")
    return git(where, "rev-parse", "HEAD")


@pytest.mark.row("B14")
def test_submodules_are_fetched_into_their_places_with_nothing_of_git_left(here: Place, tmp_path: Path) -> None:
    inner = repository(tmp_path / "inner", {"deep": "deep"})
    old = repository(tmp_path / "lib", {"bin/run": "old", ".gitattributes": "* export-ignore filter=evil\n"})
    outer = gitlink(tmp_path / "lib", "nested/inner", inner, "../inner")
    commit(tmp_path / "lib", {"new": "new"})
    with git_server(tmp_path) as url:
        modules: list[list[str | None]] = [["vendor/lib", outer, f"{url}/lib"], ["old", old, f"{url}/lib"]]
        files = {"a": b"a", "vendor/x": b"", "l": "a", "p": ("", 0o755)}
        built = source(here, files, modules, insecure_fetch=True)
    assert built.code == 0, built.said
    assert built.said.startswith("-----> Git submodules detected, installing\n")
    found = tree(built)
    assert found["vendor/lib/nested/inner/deep"] == "deep"
    assert (found["vendor/lib/bin/run"], found["old/bin/run"], found["l"], found["p"]) == ("old*", "old*", "-> a", "*")
    assert "vendor/lib/new" not in found and "old/new" not in found
    assert not [name for name in found if ".git" in name.split("/")]


@pytest.mark.row("B14")
@pytest.mark.parametrize(
    "url",
    ["ext::sh -c id", "file:///etc", "/etc", "ssh://h/x", "git@h:x", "http://h/x", "git://h/x", "--upload-pack=id",
     "fd::3", "https://h/\rx", "https://-oProxyCommand=x y/", "../other"],
)  # fmt: skip
def test_a_submodule_that_is_not_https_is_refused_before_anything_is_asked(here: Place, url: str) -> None:
    built = source(here, {"a": b""}, [["lib", SHA, url]])
    assert built.code == 1
    assert "is not an https:// URL" in built.said
    assert not built.out


@pytest.mark.row("B14")
@pytest.mark.parametrize(
    "path",
    ["../x", "/etc/x", "a/../../x", "lib\r", "a\nb", "", ".", "a//b", ".git", "x/.GIT/hooks", "git~1", "link/x", "link",
     "file", "full"],
)  # fmt: skip
def test_a_submodule_whose_path_leaves_the_tree_is_refused(here: Place, path: str) -> None:
    files = {"link": "/tmp", "file": b"", "full/x": b""}
    built = source(here, files, [[path, SHA, "https://host.invalid/x"]])
    assert built.code == 1
    assert built.said.splitlines()[-1].startswith(" !     cannot install the submodule ")
    assert not built.out


def test_a_submodule_beyond_the_depth_is_refused(here: Place, tmp_path: Path) -> None:
    sha = repository(tmp_path / "r0", {"end": ""})
    for number in range(1, 7):
        repository(tmp_path / f"r{number}", {"x": ""})
        sha = gitlink(tmp_path / f"r{number}", "next", sha, f"../r{number - 1}")
    with git_server(tmp_path) as url:
        built = source(here, {"a": b""}, [["s", sha, f"{url}/r6"]], insecure_fetch=True)
    assert built.code == 1 and "nested deeper than 5" in built.said


def test_a_submodule_that_has_another_one_by_a_local_path_is_refused(here: Place, tmp_path: Path) -> None:
    sha = repository(tmp_path / "secret", {"secret": "s"})
    repository(tmp_path / "lib", {"x": ""})
    outer = gitlink(tmp_path / "lib", "inner", sha, str(tmp_path / "secret"))
    with git_server(tmp_path) as url:
        built = source(here, {"a": b""}, [["lib", outer, f"{url}/lib"]], insecure_fetch=True)
    assert built.code == 1 and "is not an https:// URL" in built.said


def test_a_commit_that_is_not_there_is_refused_in_plain_words(here: Place, tmp_path: Path) -> None:
    repository(tmp_path / "lib", {"x": ""})
    with git_server(tmp_path) as url:
        built = source(here, {"a": b""}, [["lib", SHA, f"{url}/lib"]], insecure_fetch=True)
    assert built.code == 1 and 'cannot fetch the submodule "lib" from "git://' in built.said


def test_submodules_without_a_url_stay_empty_and_those_that_came_along_are_taken(here: Place) -> None:
    more = tar({"lib/inside": b"1"})
    built = source(here, tar({"a": b"a"}) + more, [["lib", SHA, None], ["gone", SHA, ""]])
    assert built.code == 0, built.said
    assert '"gone" is not in .gitmodules: it stays empty' in built.said
    assert tree(built)["lib/inside"] == "1"


def test_a_tar_that_leads_out_of_the_app_does_not(here: Place) -> None:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for name in ("../out", "/tmp/octo-runner-out", "link/out", "inside"):
            if name == "link/out":
                link = tarfile.TarInfo("link")
                link.type, link.linkname = tarfile.SYMTYPE, "../work"
                archive.addfile(link)
            archive.addfile(tarfile.TarInfo(name))
        suid = tarfile.TarInfo("suid")
        suid.mode = 0o6777
        archive.addfile(suid)
    here.build(target.getvalue(), mode="source")
    assert not (here.root / "out").exists()
    assert not Path("/tmp/octo-runner-out").exists()
    assert not (here.root / "work/out").exists()
    assert (here.root / "app/suid").stat().st_mode & 0o7777 == 0o755


def test_a_name_that_is_too_long_is_refused_with_tars_words(here: Place) -> None:
    built = here.build({"d/" * 5000 + "x": b""})
    assert built.code == 1
    assert built.said.startswith(" !     cannot unpack the sources: d/d/d/")
    assert "File name too long" in built.said
    assert len(built.said) < 16_000


def test_a_broken_tar_is_refused(here: Place) -> None:
    built = here.build(tar({"a": b"x" * 100_000})[:60_000])
    assert built.code == 1 and "cannot unpack the sources: Unexpected EOF" in built.said


def test_100_000_files_go_through_whole(here: Place) -> None:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for number in range(100_000):
            archive.addfile(tarfile.TarInfo(f"{number % 100}/{number}"))
    here.buildpack("python", detect="echo X", compile=":", release="echo 'default_process_types: {}'")
    built = here.build(target.getvalue(), procfile_required=False)
    assert built.code == 0, built.said
    assert built.result["slug"]["files"] == 100_101
    assert len(built.members()) == 100_101
    print(built.result["took"])
