"""What is fetched comes by HTTPS alone: from real servers, with certificates that somebody vouches for."""

import io
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.unit.octo.guest.git_parts import GIT, file_server, git, repository
from tests.unit.octo.guest.https_parts import Server, certificate, https_server
from tests.unit.octo.guest.runner_parts import Built, Place
from tests.unit.octo.guest.test_buildpack_runner_fetch import MINE
from tests.unit.octo.guest.test_buildpack_runner_source import SHA, gitlink, tree


@pytest.fixture
def server(here: Place, tmp_path: Path) -> Iterator[Server]:
    shutil.copy(certificate(tmp_path, "127.0.0.1"), here.root / "trusted")
    with https_server(tmp_path) as made:
        yield made


def url(server: Server, name: str) -> str:
    return f"https://127.0.0.1:{server.server_address[1]}/{name}"


def trusting(here: Place) -> dict[str, str]:
    """The build's environment when the stack trusts the server."""
    return dict.fromkeys(("GIT_SSL_CAINFO", "CURL_CA_BUNDLE"), str(here.root / "trusted"))


def source(here: Place, submodules: list[list[str | None]]) -> Built:
    return here.build({"a": b"a"}, mode="source", submodules=submodules, env=trusting(here))


# --- submodules ---


@pytest.mark.row("B14")
def test_submodules_in_submodules_come_by_https_and_by_urls_beside_it(here: Place, server: Server) -> None:
    deepest = repository(server.folder / "deepest", {"end": "the end"})
    inner = repository(server.folder / "inner", {"deep": "deep"})
    inner = gitlink(server.folder / "inner", "further", deepest, "./../deepest")
    repository(server.folder / "lib", {"run": "run"})
    outer = gitlink(server.folder / "lib", "nested/inner", inner, url(server, "inner"))
    built = source(here, [["vendor/lib", outer, url(server, "lib")]])
    assert built.code == 0, built.said
    found = tree(built)
    assert found["vendor/lib/nested/inner/further/end"] == "the end" and found["vendor/lib/run"] == "run"
    assert built.said.count(" at ") == 3


@pytest.mark.row("B14")
def test_a_server_that_nobody_vouches_for_is_refused(here: Place, server: Server) -> None:
    sha = repository(server.folder / "lib", {"x": ""})
    built = here.build({"a": b""}, mode="source", submodules=[["lib", sha, url(server, "lib")]])
    assert built.code == 1 and "certificate" in built.said and not server.asked


@pytest.mark.row("B14")
def test_no_redirection_leads_away_from_https(here: Place, server: Server, tmp_path: Path) -> None:
    sha = repository(server.folder / "lib", {"x": ""})
    git(server.folder / "lib", "update-server-info")
    with file_server(tmp_path) as plain:
        built = source(here, [["lib", sha, url(server, f"to/{quote(f'{plain}/lib/.git', safe='')}")]])
    assert built.code == 1 and "cannot fetch the submodule" in built.said and server.asked


@pytest.mark.row("B14")
@pytest.mark.parametrize(
    ("path", "to"),
    [("inner", "ext::sh -c id>&2"), ("inner", "file:///etc"), ("inner", "-u./payload"), ("inner", "--upload-pack=id"),
     ("inner", "git@127.0.0.1:x"), ("inner", "http://127.0.0.1/x"), ("inner", "../../../.."), ("x/.git/hooks", "")],
)  # fmt: skip
def test_what_a_submodule_itself_names_is_held_to_the_same_rules(
    here: Place, server: Server, path: str, to: str
) -> None:
    """Nobody has checked that commit: it never was pushed here."""
    where = server.folder / "lib"
    repository(where, {"x": ""})
    entries = f"160000 commit {SHA}\t{path.partition('/')[0]}\0"
    modules = f'[submodule "i"]\n\tpath = {path}\n\turl = {to or "https://127.0.0.1/x"}\n'
    if "/" in path:  # a folder called .git, which no plumbing but this one makes
        blob = plumb(where, "hash-object", "-w", "--stdin", given="#!/bin/sh\nid >&2\n")
        hooks = plumb(where, "mktree", "-z", given=f"100755 blob {blob}\tpost-checkout\0")
        folder = plumb(where, "mktree", "-z", given=f"040000 tree {hooks}\t.git\0")
        entries = f"040000 tree {folder}\tx\0"
    blob = plumb(where, "hash-object", "-w", "--stdin", given=modules)
    made = plumb(where, "mktree", "-z", "--missing", given=f"100644 blob {blob}\t.gitmodules\0{entries}")
    commit = plumb(where, "commit-tree", "-m", "by hand", made)
    git(where, "update-ref", "refs/heads/main", commit)
    built = source(here, [["lib", commit, url(server, "lib")]])
    assert built.code == 1 and "uid=" not in built.said and not built.out
    assert "cannot install the submodule" in built.said or "invalid path" in built.said, built.said


def plumb(where: Path, *words: str, given: str = "") -> str:
    done = subprocess.run(["git", *words], cwd=where, env=GIT, input=given.encode(), capture_output=True, check=True)
    return done.stdout.decode().strip()


def test_a_submodule_may_have_as_many_files_as_an_app(here: Place, server: Server) -> None:
    """Their list alone is longer than what octo keeps of any program's words."""
    where = server.folder / "lib"
    repository(where, {"x": ""})
    lines = "".join(f"M 100644 inline {n % 100}/{'n' * 150}{n}\ndata 0\n" for n in range(30_000))
    text = f"commit refs/heads/main\ncommitter Ann <a@b.c> 1 +0000\ndata 0\n{lines}\n"
    subprocess.run(["git", "fast-import", "--quiet", "--force"], cwd=where, env=GIT, input=text.encode(), check=True)
    commit = git(where, "rev-parse", "main")
    built = source(here, [["lib", commit, url(server, "lib")]])
    assert built.code == 0, built.said
    assert len(list((here.root / "app/lib").glob("*/n*"))) == 30_000


# --- archives of buildpacks ---


def packed(server: Server, name: str) -> None:
    repository(server.folder / "bp", MINE)
    with tarfile.open(server.folder / name, "w:gz") as archive:
        archive.add(server.folder / "bp/bin", "bin")


@pytest.mark.row("E1")
def test_an_archive_comes_by_https_through_redirections_to_https(here: Place, server: Server) -> None:
    packed(server, "bp.tgz")
    for address in (url(server, "bp.tgz"), url(server, f"to/{quote(url(server, 'bp.tgz'), safe='')}")):
        built = here.build({"a": b""}, buildpacks=[address], env=trusting(here))
        assert built.code == 0 and "app/made" in built.members(), built.said
    assert len(server.asked) == 3


@pytest.mark.row("E1")
@pytest.mark.parametrize("kind", ["http", "file"])
def test_an_archive_that_is_redirected_elsewhere_is_refused(
    here: Place, server: Server, tmp_path: Path, kind: str
) -> None:
    packed(server, "bp.tgz")
    with file_server(tmp_path) as plain:
        target = f"{plain}/bp.tgz" if kind == "http" else f"file://{server.folder}/bp.tgz"
        built = here.build({"a": b""}, buildpacks=[url(server, f"to/{target}")], env=trusting(here))
    assert built.code == 1 and "Fetching custom tar buildpack... failed" in built.said and server.asked


def test_an_archive_that_leads_out_of_its_folder_does_not(here: Place, server: Server) -> None:
    target, mark = io.BytesIO(), here.root / "app/out"
    with tarfile.open(fileobj=target, mode="w:gz") as archive:
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "../../../app"
        archive.addfile(link)
        for name in ("../../out", str(mark), "link/out", "../../../app/out", "../../../work/out", "bin/compile"):
            member = tarfile.TarInfo(name)
            member.mode = 0o755
            archive.addfile(member)
    (server.folder / "bp.tgz").write_bytes(target.getvalue())
    here.build({"a": b""}, buildpacks=[url(server, "bp.tgz")], env=trusting(here))
    assert "/bp.tgz" in server.asked
    assert not [f for folder in (here.root, here.root / "app", here.root / "work") for f in folder.glob("out")]
