"""The files of the push in their place: the tar unpacked, submodules fetched into it, as git would check them out."""

import os
import stat
import subprocess
import threading
from collections.abc import Iterator

from . import fetch, program, say
from .job import Job, Refused, Submodule

DEPTH = 5  # of submodules in submodules
MOST = 200  # submodules altogether


def unpack(job: Job, begin: bytes) -> None:
    """Unpack the tars, one behind the other, of which `begin` is the begin and stdin the rest.

    Raises Refused with tar's first complaint.
    """
    argv = ["tar", "-x", "-f", "-", "-C", job.source, "--no-same-owner", "--no-same-permissions"]
    kept = say.Kept(64 * 1024)
    with subprocess.Popen(
        [*argv, "--ignore-zeros", "--delay-directory-restore", "--warning=no-timestamp"],
        env=job.environment(),
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
    ) as tar:
        assert tar.stdin and tar.stderr
        listener = threading.Thread(target=_listen, args=(tar.stderr.fileno(), kept))
        listener.start()
        try:
            for chunk in _rest(begin):
                program.write(tar.stdin.fileno(), chunk)
            tar.stdin.close()
        except BrokenPipeError:
            pass  # tar has given up: it says why
        listener.join()
    if tar.returncode:
        raise Refused(f"cannot unpack the sources: {kept.first().removeprefix('tar: ')}")
    if not os.listdir(job.source):
        raise Refused("nothing to build: the commit has no files")


def _rest(begin: bytes) -> Iterator[bytes]:
    yield begin
    while chunk := os.read(0, program.CHUNK):
        yield chunk


def _listen(pipe: int, kept: say.Kept) -> None:
    while text := os.read(pipe, program.CHUNK):
        kept.feed(text)


def hand_out(job: Job, target: int) -> None:
    """Write the whole tree as a tar to the descriptor."""
    argv = ["tar", "-C", job.source, "-c", "-f", "-", "--sort=name", "--numeric-owner", "--owner=0", "--group=0", "."]
    if subprocess.run(argv, env=job.environment(), stdin=subprocess.DEVNULL, stdout=target, check=False).returncode:
        raise Refused("cannot hand the files on to the build")


def install(job: Job) -> None:
    """Put the files of every submodule into its place. Raises Refused for what octo does not fetch."""
    if not job.submodules:
        return
    say.step("Git submodules detected, installing")
    waiting = [(module, job.source, 1) for module in job.submodules]
    for number, (module, tree, depth) in enumerate(waiting):  # which grows meanwhile
        if number >= MOST or depth > DEPTH:
            limit = f"there are more than {MOST}" if number >= MOST else f"they are nested deeper than {DEPTH}"
            raise Refused(f"cannot install the submodules: {limit}")
        place = _place(module, tree)
        if module.url is None:
            continue
        if not module.url:
            say.detail(f"{say.quoted(module.path)} is not in .gitmodules: it stays empty")
            continue
        waiting += [(nested, place, depth + 1) for nested in _fetch(job, module, place)]


def _place(module: Submodule, tree: str) -> str:
    """Where the submodule goes. Raises Refused when that is not inside the tree, symlinks looked at."""
    path, parts = module.path, module.path.split("/")
    bad = [p for p in parts if p in ("", ".", "..") or p.lower() in (".git", "git~1") or not p.isprintable()]
    if bad or len(path) > 1000:
        raise Refused(f"cannot install the submodule {say.quoted(path)}: its path is not one inside the repository")
    place = tree
    for part in parts:
        place = f"{place}/{part}"
        if os.path.lexists(place) and not stat.S_ISDIR(os.lstat(place).st_mode):
            raise Refused(f"cannot install the submodule {say.quoted(path)}: its path leads over a file or a symlink")
    if module.url is not None and os.path.isdir(place) and os.listdir(place):
        raise Refused(f"cannot install the submodule {say.quoted(path)}: there are files in its place")
    return place


def _fetch(job: Job, module: Submodule, place: str) -> list[Submodule]:
    """Fetch one; return those that are in it."""
    url = module.url or ""
    if not fetch.allowed(url, job):
        raise Refused(
            f"cannot install the submodule {say.quoted(module.path)}: {say.quoted(url)} is not an https:// URL",
            "Only https:// URLs and relative ones are fetched. Change the one in .gitmodules.",
        )
    if not fetch.SHA.fullmatch(module.commit):
        raise Refused(f"cannot install the submodule {say.quoted(module.path)}: it names no commit")
    found: list[Submodule] = []

    def once(until: float) -> None:
        with fetch.Repository(job, until) as repository:
            commit = repository.fetch(url, module.commit)
            if commit != module.commit:
                raise fetch.Failed(f"the server sent another commit than {module.commit}")
            fetch.removed(place, job.work)
            repository.check_out(commit, place)
            found[:] = _nested(repository, module)

    why = fetch.attempt(job, once)
    if why is not None:
        raise fetch.refuse(f"the submodule {say.quoted(module.path)} from", url, why)
    say.detail(f"{say.quoted(module.path)} at {module.commit[:12]}")
    return found


def _nested(repository: fetch.Repository, module: Submodule) -> list[Submodule]:
    """The submodules of a submodule, relative URLs made whole."""
    entries = _Links()
    repository.git("ls-tree", "-r", "-z", module.commit, sink=entries)
    if not entries.links or not entries.named:
        return []
    words = ("config", "-z", f"--blob={module.commit}:.gitmodules", "--get-regexp", r"^submodule\..*\.(path|url)$")
    fields: dict[str, dict[str, str]] = {}
    for line in repository.git(*words).split("\0"):
        key, _, value = line.partition("\n")
        name, _, field = key.rpartition(".")
        fields.setdefault(name, {})[field] = value
    urls = {f["path"]: f.get("url", "") for f in fields.values() if "path" in f}
    found = []
    for link in entries.links:
        head, _, path = link.partition("\t")
        found.append(Submodule(path, head.split()[2], whole(urls.get(path, ""), module.url or "")))
    return found


class _Links:
    """Of the lines of `git ls-tree -z`, however many, those that name submodules."""

    def __init__(self) -> None:
        self.links: list[str] = []
        self.named = False  # there is a .gitmodules
        self._rest = b""

    def feed(self, text: bytes) -> None:
        *lines, self._rest = (self._rest + text).split(b"\0")
        for line in lines:
            if line.startswith(b"160000 ") and len(self.links) <= MOST:
                self.links.append(os.fsdecode(line))
            self.named = self.named or (line.startswith(b"100") and line.endswith(b"\t.gitmodules"))

    def end(self) -> None:
        pass


def whole(url: str, parent: str) -> str:
    """A relative URL of .gitmodules as seen from its parent's; any other as it is."""
    if not url.startswith(("./", "../")):
        return url
    parts = parent.rstrip("/").split("/")
    for part in url.split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in (".", ""):
            parts.append(part)
    return "/".join(parts) if len(parts) > 3 else url
