"""The receiver's git and its hook, as they meet hostile refs and trees: real git, octo's own configuration."""

import json
import os
import socketserver
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from octo.guest import pre_receive, receiver
from tests.unit.octo.guest.git_parts import GIT, commit, git, repository

URLS = {name: f"http+unix://octo/{name.lower()}/t" for name in ("CALLBACK_URL", "BUILD_PUT_URL", "ROUTE_URL")}
URLS["BUILD_CALLBACK_URL"] = "http+unix://octo/built/t"


class Octod(socketserver.ThreadingUnixStreamServer):
    """Answers the hook's calls; asked: what each of them brought."""

    daemon_threads = True

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), Handler)
        self.asked: dict[str, bytes] = {}
        self.verdict = "exit 0"
        self.next: list[str] = []  # what comes after each build

    def says(self, name: str, body: bytes) -> str:
        failed = name == "built" and json.loads(body)["exit"]
        if name == "callback_url":
            return self.verdict
        return self.next.pop(0) if self.next and (failed or name == "route_url") else f"exit {int(bool(failed))}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Octod

    def address_string(self) -> str:
        return "the hook"

    def log_message(self, *_: object) -> None:
        pass

    def do_PUT(self) -> None:
        body = b""
        while size := int(self.rfile.readline() or b"0", 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        name = self.path.split("/")[1]
        self.server.asked[name] = body
        said = b"\0" + self.server.says(name, body).encode()
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        self.wfile.write(head + b"%x\r\n%s\r\n0\r\n\r\n" % (len(said), said))


@dataclass
class Place:
    bare: Path
    clone: Path
    octod: Octod
    env: dict[str, str] = field(default_factory=dict)

    def push(self, *refs: str | bytes) -> tuple[int, str]:
        argv = [b"git", b"push", os.fsencode(self.bare), *map(os.fsencode, refs)]
        done = subprocess.run(argv, cwd=self.clone, env={**GIT, **self.env}, capture_output=True, check=False)
        return done.returncode, (done.stdout + done.stderr).decode("utf-8", "replace")

    def refs(self) -> list[bytes]:
        """What the hook told octod of."""
        given = json.loads(self.octod.asked["callback_url"])
        return [os.fsencode(update["ref"]) for update in given]

    def plumb(self, *words: str, given: bytes = b"") -> str:
        argv = ["git", *words]
        done = subprocess.run(argv, cwd=self.clone, env=GIT, input=given, capture_output=True, check=True)
        return done.stdout.decode().strip()

    def tree(self, *entries: bytes) -> str:
        """A commit of one tree, of lines as `git ls-tree -z` prints them."""
        made = self.plumb("mktree", "-z", "--missing", given=b"".join(e + b"\0" for e in entries))
        return self.plumb("commit-tree", "-m", "by hand", made)


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Place]:
    bare, hooks = tmp_path / "bare", tmp_path / "hooks"
    git(tmp_path, "init", "-q", "--bare", str(bare))
    hooks.mkdir()
    text = Path(pre_receive.__file__).read_text().replace(pre_receive.SOCKET, str(tmp_path / "octo.sock"))
    refused = str(tmp_path / "refused")
    (hooks / "pre-receive").write_text(text.replace(pre_receive.REFUSED, refused))
    update = Path(pre_receive.__file__).with_name("update").read_text()
    (hooks / "update").write_text(update.replace(pre_receive.REFUSED, refused))
    for hook in hooks.iterdir():
        hook.chmod(0o755)
    (bare / "config").write_text(receiver.CONFIG.replace("HOOKS", str(hooks)))
    repository(tmp_path / "clone", {"one": "1"})
    with Octod(tmp_path / "octo.sock") as octod:
        thread = threading.Thread(target=octod.serve_forever, args=[0.01])
        thread.start()
        yield Place(bare, tmp_path / "clone", octod, URLS)
        octod.shutdown()
        thread.join()


ODD = ["-x", "--help", "`id`", "a;id", "a'b", "a|b", "$(id)", "%0a", "%00", "\U0001f419", "HEAD", "refs/heads/main",
       "a\u2028b", "a\u2029b", "a\u0085b", "a\u009b2Jb", "\u202egnp", "a" * 200]  # fmt: skip


def test_refs_of_any_name_that_git_takes_come_to_octod_as_they_are(here: Place) -> None:
    names = [b"refs/heads/" + name.encode() for name in ODD] + [b"refs/heads/no-\xff\xfe-text"]
    code, said = here.push(*(b"main:" + name for name in names))
    assert code == 0 and "Traceback" not in said, said
    assert sorted(here.refs()) == sorted(names)


REFUSED = [b"refs/heads/a\x1b[2Jb", b"refs/heads/a\nb", b"refs/heads/a b", b"refs/heads/../../../escaped", b"config",
           b"objects/info/alternates", b"refs/heads/x.lock", b"refs/heads/.hidden", b"refs/heads/a\x7fb"]  # fmt: skip
HIDDEN = [b"refs/replace/" + b"1" * 40, b"refs/octo/x", b"refs/notes/x", b"refs/hidden", b"HEAD"]


@pytest.mark.parametrize("ref", [*REFUSED, *HIDDEN], ids=repr)
def test_what_is_no_ref_or_none_of_the_pushers_is_refused_and_makes_nothing(here: Place, ref: bytes) -> None:
    """By hand: no git would send some of these."""
    here.push("main")
    here.octod.asked.clear()
    head = git(here.clone, "rev-parse", "main").encode()
    line = b"0" * 40 + b" " + head + b" " + ref + b"\0 report-status\n"
    empty = here.plumb("pack-objects", "-q", "nothing")
    (pack,) = here.clone.glob(f"nothing-{empty}.pack")
    before = tree_of(here.bare)
    argv = ["git", "receive-pack", str(here.bare)]
    given = b"%04x%s0000" % (len(line) + 4, line) + pack.read_bytes()
    done = subprocess.run(argv, env={**GIT, **here.env}, input=given, capture_output=True, check=False)
    said = done.stdout + done.stderr
    refusals = (b"funny refname", b"hidden ref", b"protocol error", b"names a ref that is none")
    assert any(words in said for words in refusals) and b"Traceback" not in said, said
    assert tree_of(here.bare) == before and not (here.bare.parent / "escaped").exists()


def tree_of(folder: Path) -> list[str]:
    """All refs there are, and every file but objects, which come in before the refs are looked at."""
    files = [str(f.relative_to(folder)) for f in folder.rglob("*") if f.is_file() and "objects/pack" not in str(f)]
    return [*sorted(files), git(folder, "for-each-ref")]


TREES = [b".git", b".GIT", b"git~1", ".g\u200cit".encode(), b"..", b"."]


@pytest.mark.parametrize("name", TREES, ids=repr)
def test_a_tree_with_something_of_gits_own_in_it_is_refused(here: Place, name: bytes) -> None:
    blob = here.plumb("hash-object", "-w", "--stdin", given=b"#!/bin/sh\necho OWNED >&2\n").encode()
    hooks = here.plumb("mktree", "-z", given=b"100755 blob %s\tpost-checkout\0" % blob).encode()
    folder = here.plumb("mktree", "-z", given=b"040000 tree %s\thooks\0" % hooks).encode()
    code, said = here.push(here.tree(b"040000 tree %s\t%s" % (folder, name)) + ":refs/heads/main")
    assert code == 1 and "fatal: fsck error in packed object" in said and "OWNED" not in said, said
    assert not here.octod.asked and not git(here.bare, "for-each-ref")


MODULES = {
    "symlink": b"120000 blob %s\t.gitmodules",
    "[submodule \"x\"]\n\tpath = x\n\turl = -u./payload\n": b"100644 blob %s\t.gitmodules",
    "[submodule \"../../x\"]\n\tpath = x\n\turl = https://host/x\n": b"100644 blob %s\t.gitmodules",
    "[submodule \"x\"]\n\tpath = x\n\turl = https://host/x\n\tupdate = !id\n": b"100644 blob %s\t.gitmodules",
    "[submodule \"x\"]\n\tpath = x\n\turl = https://host/%0ahost=evil/x\n": b"100644 blob %s\t.gitmodules",
    "[submodule \"x\"]\n\tpath = -x\n\turl = https://host/x\n": b"100644 blob %s\t.gitmodules",
}  # fmt: skip


@pytest.mark.row("B14")
@pytest.mark.parametrize("text", MODULES)
def test_a_gitmodules_that_means_harm_is_refused_by_git_itself(here: Place, text: str) -> None:
    blob = here.plumb("hash-object", "-w", "--stdin", given=text.encode()).encode()
    code, said = here.push(here.tree(MODULES[text] % blob) + ":refs/heads/main")
    assert code == 1 and "fatal: fsck error in packed object" in said, said
    assert not here.octod.asked


@pytest.mark.row("B3")
def test_hooks_that_were_pushed_as_files_never_run(here: Place) -> None:
    names = ("pre-receive", "post-receive", "update", "post-checkout", "reference-transaction")
    script = "#!/bin/sh\necho OWNED >&2\ntouch /tmp/octo-hook-ran\n"
    paths = [f"{folder}/{name}" for folder in ("hooks", "bin/hooks", ".githooks") for name in names]
    commit(here.clone, dict.fromkeys(paths, script))
    for path in paths:
        (here.clone / path).chmod(0o755)
    commit(here.clone, {})
    here.octod.verdict = "build {} 100 shop".format(git(here.clone, "rev-parse", "main"))
    code, said = here.push("main")
    assert code == 0 and "OWNED" not in said and not Path("/tmp/octo-hook-ran").exists(), said
    assert b"hooks/pre-receive" in here.octod.asked["build_put_url"]


def test_too_many_files_are_told_with_how_to_have_more(here: Place) -> None:
    commit(here.clone, {f"f{number}": "" for number in range(30)})
    here.octod.verdict = "build {} 20 shop".format(git(here.clone, "rev-parse", "main"))
    code, said = here.push("main")
    assert code == 1 and "the commit holds more than 20 files and folders, the limit" in said
    assert "ask the operator: octo limits:set shop files=40" in said
    assert "build_put_url" not in here.octod.asked


def test_a_commit_without_files_is_refused_in_plain_words(here: Place) -> None:
    made = here.tree()
    here.octod.verdict = f"build {made} 20 shop"
    code, said = here.push(f"{made}:refs/heads/main")
    assert code == 1 and "the commit holds no files, so there is nothing to deploy" in said


def test_push_options_and_signed_pushes_are_not_taken(here: Place) -> None:
    for word in ("--push-option=a;b=c", "--signed"):
        argv = ["git", "push", word, str(here.bare), "main"]
        done = subprocess.run(argv, cwd=here.clone, env={**GIT, **here.env}, capture_output=True, check=False)
        assert done.returncode and b"does not support" in done.stderr and not here.octod.asked


@pytest.mark.row("B7")
def test_branches_are_built_in_turn_and_what_octod_refuses_is_refused_alone(here: Place) -> None:
    good = here.plumb("rev-parse", "main")
    bad = here.tree()  # no files: the hook itself refuses to build it
    here.octod.verdict = f"build {good} 100 shop"
    here.octod.next = [f"build {bad} 100 shop-bad", "refuse refs/heads/bad refs/heads/x.y"]
    code, said = here.push("main", f"{bad}:refs/heads/bad", "main:refs/heads/xzy", "main:refs/tags/v1")
    assert code == 1 and "holds no files" in said and "[remote rejected]" in said
    there = here.plumb("ls-remote", str(here.bare))
    assert {line.split("\t")[1] for line in there.splitlines()} >= {"refs/heads/main", "refs/heads/xzy", "refs/tags/v1"}
    assert "refs/heads/bad" not in there
