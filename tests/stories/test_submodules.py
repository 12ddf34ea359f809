"""Submodules, and a build's sources as git would check them out."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import apps
from tests.stories.conftest import Name, serving
from tests.stories.host import Host, Repository

SERVE = "python3 -m http.server $PORT"
# Prints all that lies in a folder: what it is, whether it is executable, what is in it or where it leads.
LOOK = """
import os, sys
os.chdir(sys.argv[1])
lines = []
for top, folders, files in os.walk(b"."):
    folders[:] = [f for f in folders if f != b".git" or sys.argv[1] == "."]
    for path in [os.path.join(top, n) for n in folders + files]:
        if os.path.islink(path):
            lines.append(repr((path, "link", os.readlink(path))))
        elif os.path.isdir(path):
            lines.append(repr((path, "folder", os.listdir(path) == [])))
        else:
            lines.append(repr((path, os.access(path, os.X_OK), open(path, "rb").read())))
print("\\n".join(sorted(lines)))
"""
ATTRIBUTES = "secret.txt export-ignore\nsubst.txt export-subst\ncrlf.txt text eol=crlf\nident.txt ident\n"


@pytest.fixture(scope="module")
def yard() -> Iterator[Host]:
    """Few files, and little time: what would take for ever shows."""
    with serving(OCTO_BUILD_FILES="3000", OCTO_PUSH_SECONDS="120") as made:
        yield made


def git(clone: Repository, *words: str, given: bytes = b"") -> str:
    done = subprocess.run(clone.argv(*words), env=clone.environment(), input=given, capture_output=True, check=True)
    return done.stdout.decode().strip()


def add_submodule(clone: Repository, path: str, commit: str, url: str) -> None:
    """As `git submodule add` does it, without the fetching. url "": .gitmodules does not name it."""
    (clone.folder / path).mkdir(parents=True)  # or `git add -A` would take it for removed
    if url:
        words = ("config", "-f", ".gitmodules", "--add")
        git(clone, *words, "submodule.lib.path", path)
        git(clone, *words, "submodule.lib.url", url)
    git(clone, "update-index", "--add", "--cacheinfo", f"160000,{commit},{path}")
    clone.commit({})


def committed(clone: Repository, *entries: bytes) -> str:
    """A commit of one tree, made of lines as `git ls-tree -z` prints them."""
    tree = git(clone, "mktree", "-z", "--missing", given=b"".join(e + b"\0" for e in entries))
    return git(clone, "commit-tree", "-m", "by hand", tree)


# --- submodules ---


@pytest.mark.row("B14")
@pytest.mark.parametrize("kind", ["buildpack", "dockerfile"])
def test_a_relative_submodule_is_another_app_at_the_pinned_commit(yard: Host, names: Name, kind: str) -> None:
    lib = Repository(yard, names("lib"), {**apps_static("the library's page"), "deep/part.txt": "pinned\n"})
    lib.push()
    pinned = lib.git("rev-parse", "HEAD").strip()
    lib.commit({"deep/part.txt": "newer\n"})
    lib.push()
    files = {"Procfile": f"web: cat vendor/lib/deep/part.txt >index.html; exec {SERVE}\n"}
    if kind == "dockerfile":
        files = {"Dockerfile": f"{apps.BASE}COPY vendor/lib/deep/part.txt index.html\nEXPOSE 5000\nCMD exec {SERVE}\n"}
    shop = Repository(yard, names("shop"), files)
    add_submodule(shop, "vendor/lib", pinned, f"../{lib.app}.git")
    said = shop.push()
    assert "-----> Git submodules detected, installing" in said
    assert yard.get(shop.app) == (200, "pinned\n")


def apps_static(text: str) -> dict[str, str]:
    return {"index.html": text}


REFUSED = [
    ("../no-such-app.git", "no such app for you here"),
    ("../../etc/passwd", "it is no app of this octo"),
    ("./lib.git", "it is no app of this octo"),
    ("ext::sh -c touch% /tmp/owned", "is not an https:// URL"),
    ("file:///octo", "is not an https:// URL"),
    ("/octo", "is not an https:// URL"),
    ("ssh://git@127.0.0.1/lib.git", "is not an https:// URL"),
    ("git@127.0.0.1:lib.git", "is not an https:// URL"),
    ("http://127.0.0.1/lib.git", "is not an https:// URL"),
    ("https://127.0.0.1/lib.git", "cannot fetch the submodule"),
    ("-u./payload", "disallowed submodule url"),
]


@pytest.mark.row("B14")
@pytest.mark.parametrize(("url", "words"), REFUSED, ids=[url for url, _ in REFUSED])
def test_a_submodule_from_elsewhere_is_refused(yard: Host, names: Name, url: str, words: str) -> None:
    shop = Repository(yard, names("shop"), apps_static("hello"))
    add_submodule(shop, "lib", "1" * 40, url)
    said = shop.push(code=1)
    assert words in said and "rejected]" in said, said
    assert yard.get(shop.app)[0] == 503


@pytest.mark.row("B14")
@pytest.mark.parametrize("url", ["../no-such-app.git", "ext::sh -c id"])
def test_a_dockerfile_build_refuses_such_a_submodule_too(yard: Host, names: Name, url: str) -> None:
    shop = Repository(yard, names("shop"), apps.web("hello"))
    add_submodule(shop, "lib", "1" * 40, url)
    said = shop.push(code=1)
    assert "submodule" in said and "[remote rejected]" in said
    (build,) = yard.json("builds", "-a", shop.app)
    assert build["status"] == "failed"


@pytest.mark.row("B14")
def test_a_commit_that_the_other_app_does_not_have_is_named(yard: Host, names: Name) -> None:
    lib = Repository(yard, names("lib"), apps_static("library"))
    lib.push()
    shop = Repository(yard, names("shop"), apps_static("hello"))
    add_submodule(shop, "lib", "c0ffee" + "0" * 34, f"../{lib.app}.git")
    said = shop.push(code=1)
    assert "the app has no commit c0ffee000000" in said and "Push that commit to it first." in said
    assert "fatal:" not in said and "tar" not in said


@pytest.mark.row("B14")
@pytest.mark.parametrize(
    ("path", "words"), [(b"lib\r", "its path is not one inside the repository"), (b"..", "hasDotdot")]
)
def test_a_submodule_with_a_path_that_deceives_is_refused(yard: Host, names: Name, path: bytes, words: str) -> None:
    lib = Repository(yard, names("lib"), apps_static("library"))
    lib.push()
    head = lib.git("rev-parse", "HEAD").strip().encode()
    shop = Repository(yard, names("shop"), apps_static("hello"))
    written = b'[submodule "lib"]\npath = "%s"\nurl = ../%s.git\n' % (path, lib.app.encode())
    modules = git(shop, "hash-object", "-w", "--stdin", given=written)
    page = git(shop, "rev-parse", "HEAD:index.html")
    entries = [b"160000 commit %s\t%s" % (head, path), b"100644 blob %s\tindex.html" % page.encode()]
    commit = committed(shop, b"100644 blob %s\t.gitmodules" % modules.encode(), *entries)
    said = shop.push(f"{commit}:refs/heads/main", code=1)
    assert words in said and "rejected]" in said, said


# --- the sources as git checks them out ---


def odd(kind: str) -> dict[str, str]:
    files = {
        ".gitattributes": ATTRIBUTES,
        "look": LOOK,
        "secret.txt": "not for archives\n",
        "subst.txt": "$Format:%H$\n",
        "crlf.txt": "one\ntwo\n",
        "ident.txt": "$Id$\n",
        "-rf": "a dash\n",
        "new\nline": "a newline\n",
        "sp ace/ tab\t": "blanks\n",
        "run.sh": "#!/bin/sh\n",
    }
    start = "python3 /tmp/look . >/tmp/index.html; cd /tmp; exec " + SERVE
    if kind == "dockerfile":
        lines = "COPY . /app\nRUN cp /app/look /tmp/look\nWORKDIR /app\nEXPOSE 5000\n"
        return {**files, "Dockerfile": f"FROM octo/stack\n{lines}CMD {start}\n"}
    return {**files, "Procfile": f"web: cp look /tmp; {start}\n"}


def with_links(folder: Path) -> None:
    (folder / "run.sh").chmod(0o755)
    (folder / "link").symlink_to("look")
    (folder / "outside").symlink_to("/etc/shadow")
    (folder / "up").symlink_to("../../..")
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff\xfe-bytes")).write_text("no UTF-8\n")


@pytest.mark.row("B10")
@pytest.mark.row("E8")
@pytest.mark.parametrize("kind", ["buildpack", "dockerfile"])
def test_what_is_built_is_what_git_would_check_out(yard: Host, names: Name, kind: str) -> None:
    clone = Repository(yard, names("odd"), odd(kind))
    with_links(clone.folder)
    add_submodule(clone, "no-such-module", "1" * 40, "")
    assert "rejected" not in clone.push()
    copy = f"{clone.folder}-copy"
    clone.git("clone", "-q", str(clone.folder), copy)
    wanted = subprocess.run(["python3", f"{copy}/look", copy], capture_output=True, text=True, check=True).stdout
    served = set(yard.get(clone.app)[1].splitlines())
    assert len(wanted.splitlines()) > 15
    missing = set(wanted.splitlines()) - served
    assert {line for line in missing if not line.startswith("(b'./Dockerfile'")} == set()  # whose bases octo names
    assert not [line for line in served if line.startswith("(b'./.git'")]


# --- too many ---


def test_a_commit_with_too_many_files_is_refused_before_anything_is_built(yard: Host, names: Name) -> None:
    clone = Repository(yard, names("many"), {"one": "1"})
    blob = git(clone, "rev-parse", "HEAD:one").encode()
    commit = committed(clone, *(b"100644 blob %s\tf%d" % (blob, n) for n in range(3001)))
    said = clone.push(f"{commit}:refs/heads/main", code=1)
    assert "the commit holds more than 3000 files and folders, the limit" in said and "[remote rejected]" in said
    assert yard.json("builds", "-a", clone.app) == []


@pytest.mark.parametrize("leaf", ["file", "empty folder"])
def test_a_bomb_of_ten_thousand_million_entries_is_refused(yard: Host, names: Name, leaf: str) -> None:
    clone = Repository(yard, names("bomb"), {"one": "1"})
    blob = git(clone, "rev-parse", "HEAD:one").encode()
    empty = git(clone, "mktree").encode()
    entry = b"100644 blob " + blob if leaf == "file" else b"040000 tree " + empty
    for _ in range(9):
        lines = b"".join(b"%s\td%d\0" % (entry, n) for n in range(10))
        entry = b"040000 tree " + git(clone, "mktree", "-z", given=lines).encode()
    commit = committed(clone, *(b"%s\td%d" % (entry, n) for n in range(10)))
    said = clone.push(f"{commit}:refs/heads/main", code=1)
    assert "the commit holds more than 3000 files and folders" in said, said


def test_a_path_that_nothing_can_check_out_is_refused(yard: Host, names: Name) -> None:
    clone = Repository(yard, names("deep"), {"one": "1"})
    entry = b"100644 blob " + git(clone, "rev-parse", "HEAD:one").encode() + b"\tone"
    for _ in range(30):
        entry = b"040000 tree " + git(clone, "mktree", "-z", given=entry + b"\0").encode() + b"\t" + b"n" * 200
    commit = committed(clone, entry)
    said = clone.push(f"{commit}:refs/heads/main", code=1)
    assert "path of more than 3900 bytes" in said and "[remote rejected]" in said
