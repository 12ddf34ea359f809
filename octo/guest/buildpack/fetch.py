"""Fetch what is not in the push: git repositories and archives, by https, within a time, three tries."""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable

from . import program, say
from .job import Job, Refused

TRIES = 3
SHA = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_REF = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./-]{0,199}")
_URL = re.compile(r"https://[A-Za-z0-9_\[][^\s\\\"'`<>|;${}()\x00-\x1f\x7f]*")
_INSECURE = re.compile(_URL.pattern.replace("https", "(?:https?|git)", 1))
_ARCHIVE_MB = 500  # of a .tgz


class Failed(Exception):
    """One try has failed; the message says why, without credentials."""


def allowed(url: str, job: Job) -> bool:
    """Whether octo fetches this kind of URL: never a local one, nor what makes git run a program."""
    return len(url) <= 2000 and bool((_INSECURE if job.insecure_fetch else _URL).fullmatch(url))


def reference(text: str) -> bool:
    """Whether the text can name a branch, a tag or a commit."""
    return bool(_REF.fullmatch(text)) and ".." not in text and not text.endswith((".lock", "/", "."))


def attempt(job: Job, fetch: Callable[[float], None]) -> str | None:
    """Call `fetch` with the time at which the try ends, up to three times. Returns why the last one failed."""
    why = None
    for number in range(TRIES):
        time.sleep(0.5 * number)
        try:
            fetch(time.monotonic() + job.fetch_seconds)
        except Failed as error:
            why = str(error)
        else:
            return None
    return why


class Repository:
    """A git repository fetched into a folder of its own beside the tree, removed on leaving: no `.git` in the tree.

    It has no hooks and no configuration but ours, and git reads no other: nothing that was fetched has a say.
    """

    def __init__(self, job: Job, until: float) -> None:
        self._job, self._until = job, until
        self._folder = f"{job.work}/git"

    def __enter__(self) -> "Repository":  # noqa: PYI034 - Self came with 3.11, stacks may have 3.10
        shutil.rmtree(self._folder, ignore_errors=True)
        self.git("init", "-q", "--template=", self._folder)
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def fetch(self, url: str, ref: str) -> str:
        """The commit that `ref` ("" is the default branch) names there; the newest commit alone where that will do."""
        try:
            self.git("fetch", "-q", "--depth=1", "--no-tags", "--", url, ref or "HEAD")
            return self.git("rev-parse", "--verify", "-q", "FETCH_HEAD^{commit}").strip()
        except Failed:
            # Some servers hand commits out only by the names of branches, or know nothing but whole histories; and
            # none knows a shortened commit.
            if not re.fullmatch(r"[0-9a-f]{7,64}", ref):
                self.git("fetch", "-q", "--no-tags", "--", url, ref or "HEAD")
                return self.git("rev-parse", "--verify", "-q", "FETCH_HEAD^{commit}").strip()
        self.git("fetch", "-q", "--", url, "+refs/*:refs/fetched/*")
        return self.git("rev-parse", "--verify", "-q", f"{ref}^{{commit}}").strip()

    def check_out(self, commit: str, into: str) -> None:
        os.makedirs(into, exist_ok=True)
        self.git(f"--work-tree={into}", "checkout", "-q", "-f", "--detach", commit)

    def git(self, *words: str, sink: program.Sink | None = None) -> str:
        """What it prints, up to 4 MB, which a `sink` gets instead. Raises Failed with git's own last line."""
        out, err = say.Kept(4 << 20), say.Kept(64 * 1024)
        options = ("core.hooksPath=/dev/null", "protocol.version=2", "gc.auto=0", "core.fsmonitor=false")
        argv = ["git", *(w for o in options for w in ("-c", o))]
        if words[0] != "init":
            argv.append(f"--git-dir={self._folder}/.git")
        left = self._until - time.monotonic()
        argv += words
        ended = program.run(argv, env=self._environment(), cwd=self._job.work, seconds=left, out=sink or out, err=err)
        if ended.late:
            raise Failed(f"it took longer than {self._job.fetch_seconds:.0f} s, the limit (fetch_seconds)")
        if ended.code:
            raise Failed(err.last())
        return out.text.decode("utf-8", "surrogateescape")

    def _environment(self) -> dict[str, str]:
        return {
            **self._job.environment(),
            "HOME": self._job.work,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_NO_REPLACE_OBJECTS": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": "/bin/false",
            "GIT_ALLOW_PROTOCOL": "https:http:git" if self._job.insecure_fetch else "https",
        }


def archive(job: Job, url: str, into: str, until: float) -> None:
    """Fetch a gzipped tar and unpack it as it comes. Raises Failed."""
    kinds = "=https,http" if job.insecure_fetch else "=https"
    left = f"{max(1.0, until - time.monotonic()):.0f}"
    curl = ["curl", "-q", "-sSfL", "--proto", kinds, "--proto-redir", kinds, "--max-redirs", "5", "--max-time", left]
    curl += ["--connect-timeout", "20", "--max-filesize", str(_ARCHIVE_MB << 20), "--", url]
    fresh(into, job.work)
    env = {**job.environment(), "HOME": job.work}
    tar = ["tar", "-xz", "-C", into, "--no-same-owner", "-f", "-"]
    pipe = subprocess.PIPE
    said: dict[str, bytes] = {}
    with (
        subprocess.Popen(curl, env=env, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe) as get,
        subprocess.Popen(tar, env=env, stdin=get.stdout, stderr=pipe) as unpack,
    ):
        assert get.stdout and get.stderr and unpack.stderr
        get.stdout.close()
        said["tar"] = unpack.stderr.read()[-4096:]
        said["curl"] = get.stderr.read()[-4096:]
    program.clear()
    for code, name in ((get.returncode, "curl"), (unpack.returncode, "tar")):
        if code and not (name == "curl" and code == 23 and unpack.returncode):  # it could not hand on: tar says why
            kept = say.Kept(8192)
            kept.feed(said[name])
            raise Failed(kept.last())
    _raise_the_only_folder(into)


def _raise_the_only_folder(into: str) -> None:
    """Archives of forges hold one folder with everything in it."""
    names = os.listdir(into)
    if len(names) == 1 and os.path.isdir(f"{into}/{names[0]}") and not os.path.islink(f"{into}/{names[0]}"):
        if names[0] == "bin":
            return
        os.rename(f"{into}/{names[0]}", f"{into}.only")
        os.rmdir(into)
        os.rename(f"{into}.only", into)


def fresh(path: str, work: str) -> None:
    """Make an empty folder, whatever was there."""
    removed(path, work)
    os.makedirs(path)


def removed(path: str, work: str) -> None:
    """Remove a tree, whatever its modes are and however deep it is."""
    if os.path.islink(path):  # chmod -R would follow it
        os.unlink(path)
    if not os.path.lexists(path):
        return
    env = {"PATH": os.environ.get("PATH", "/usr/bin:/bin")}
    for argv in (["chmod", "-R", "u+rwX", "--", path], ["rm", "-rf", "--", path]):
        sink = say.Kept(4096)
        program.run(argv, env=env, cwd=work, seconds=120, out=sink)


def refuse(what: str, url: str, why: str) -> Refused:
    return Refused(f"cannot fetch {what} {say.quoted(url)}: {say.masked(why)}")
