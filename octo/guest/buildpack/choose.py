"""Which buildpacks build this app: those of BUILDPACK_URL, those of .buildpacks, or the first that detects it."""

import os
import re
import shutil
import stat
import time
from typing import NamedTuple
from urllib.parse import urlsplit

from . import declared, fetch, program, say
from .job import BUILT_IN, Job, Refused

OUTPUT = 64 * 1024  # bytes of bin/detect and of bin/release


class Pack(NamedTuple):
    """A buildpack ready to run: a private, writable copy."""

    name: str  # what bin/detect calls it, else of its URL
    source: str  # the URL without credentials, or the name of a built-in one
    path: str
    folder: str  # of the app, "" for all of it
    headline: str


def choose(job: Job) -> list[Pack]:
    """Find, fetch and name them. Raises Refused when there is none, or one cannot be had."""
    os.makedirs(f"{job.work}/buildpacks", exist_ok=True)
    wanted = [(url, "") for url in job.buildpacks] or listed(job)
    if wanted:
        return [_explicit(job, url, folder, number, len(wanted)) for number, (url, folder) in enumerate(wanted, 1)]
    return [_detected(job)]


def listed(job: Job) -> list[tuple[str, str]]:
    """The lines of .buildpacks: a URL or the name of a built-in one and, optionally, the folder it is for."""
    text = declared.text_of(f"{job.source}/.buildpacks", ".buildpacks")
    found = []
    for number, line in enumerate((text or "").lstrip("\ufeff").splitlines(), 1):
        words = re.split(r"(?:^|\s)#", line, maxsplit=1)[0].split()
        if not words:
            continue
        if len(words) > 2:
            raise Refused(f"cannot read .buildpacks: line {number} is not `URL` or `URL FOLDER`")
        found.append((words[0], _folder(job, words[1] if len(words) > 1 else "", number)))
    if text is not None and not found:
        raise Refused("cannot read .buildpacks: it names no buildpack", "Write one URL a line, or remove the file.")
    return found


def _folder(job: Job, folder: str, number: int) -> str:
    parts = [p for p in folder.split("/") if p not in ("", ".")]
    path = job.source
    for part in parts:
        path = f"{path}/{part}"
        if part == ".." or not os.path.lexists(path) or not stat.S_ISDIR(os.lstat(path).st_mode):
            raise Refused(f"cannot read .buildpacks: line {number}: there is no folder {say.quoted(folder)} in the app")
    if folder.startswith("/"):
        raise Refused(f"cannot read .buildpacks: line {number}: {say.quoted(folder)} does not lie in the app")
    return "/".join(parts)


def _explicit(job: Job, url: str, folder: str, number: int, of: int) -> Pack:
    """One that was asked for by name: its detect is asked for the name only, as it has been decided already."""
    path = f"{job.work}/buildpacks/{number}"
    known = built_in(job, url)
    if known:
        copy(known, path)
    else:
        _fetch(job, url, path)
    _check(url, path)
    shown = os.path.basename(known) if known else say.masked(url)
    name = detect(job, path, folder) or _title(shown)
    headline = f"{name} app detected"
    if of > 1 or folder:
        headline = f"Buildpack {number} of {of}: {name}" + (f" in {folder}/" if folder else "")
    return Pack(name, shown, path, folder, headline)


def built_in(job: Job, word: str) -> str | None:
    """Where the built-in buildpack of that name lies."""
    name = word.removeprefix("heroku/").removeprefix("octo/")
    path = f"{job.built_in}/{name}"
    return path if name.replace("-", "").isalnum() and os.path.isfile(f"{path}/bin/compile") else None


def _title(source: str) -> str:
    last = urlsplit(source).path.rstrip("/").rpartition("/")[2]
    for end in (".git", ".tgz", ".tar.gz"):
        last = last.removesuffix(end)
    return last.removeprefix("heroku-").removeprefix("buildpack-") or "Custom"


def _fetch(job: Job, url: str, path: str) -> None:
    address, _, ref = url.partition("#")
    if not fetch.allowed(address, job):
        raise Refused(
            f"cannot use the buildpack {say.quoted(url)}: it is neither an https:// URL nor a built-in one",
            f"The built-in ones are {', '.join(order(job))}.",
        )
    if ref and not fetch.reference(ref):
        raise Refused(f"cannot use the buildpack {say.quoted(url)}: what follows # is no branch, tag or commit")
    is_archive = urlsplit(address).path.endswith((".tgz", ".tar.gz"))
    start = time.monotonic()

    def once(until: float) -> None:
        if is_archive:
            return fetch.archive(job, address, path, until)
        with fetch.Repository(job, until) as repository:
            fetch.removed(path, job.work)
            return repository.check_out(repository.fetch(address, ref), path)

    say.raw(b"-----> Fetching custom %s buildpack... " % (b"tar" if is_archive else b"git"))
    why = fetch.attempt(job, once)
    say.raw(f"{'failed' if why else 'done'} ({time.monotonic() - start:.1f} s)\n".encode())
    if why is not None:
        raise fetch.refuse("the buildpack", url, why)


def _check(url: str, path: str) -> None:
    compile_ = f"{path}/bin/compile"
    if not os.path.isfile(compile_):
        raise Refused(f"cannot use the buildpack {say.quoted(url)}: it has no bin/compile")
    if not os.access(compile_, os.X_OK):
        raise Refused(f"cannot use the buildpack {say.quoted(url)}: its bin/compile is not executable")


def _detected(job: Job) -> Pack:
    looked = []
    for name in order(job):
        path = f"{job.built_in}/{name}"
        title = detect(job, path, "")
        if title is not None:
            copy(path, f"{job.work}/buildpacks/1")
            return Pack(title or name, name, f"{job.work}/buildpacks/1", "", f"{title or name} app detected")
        looked.append((name, declared.text_of(f"{path}/looks-for", "looks-for")))
    say.step("Unable to select a buildpack")
    raise Refused(
        "There is no Dockerfile present. And no buildpack knows what the app is:",
        *(f"{name}: looked for {what.strip()}" for name, what in looked if what),
        "Add one of these files at the top of the repository, or set BUILDPACK_URL.",
    )


def order(job: Job) -> list[str]:
    """The built-in ones in the order in which they are asked; those that an operator added come last."""
    there = {n for n in os.listdir(job.built_in) if os.path.isfile(f"{job.built_in}/{n}/bin/detect")}
    return [n for n in BUILT_IN if n in there] + sorted(there - {*BUILT_IN})


def detect(job: Job, path: str, folder: str) -> str | None:
    """What bin/detect calls the app, "" when it says nothing; None when it does not know it, or does not end."""
    if not os.access(f"{path}/bin/detect", os.X_OK):
        return None
    out = say.Kept(OUTPUT)
    target = f"{job.source}/{folder}".rstrip("/")
    argv = [f"{path}/bin/detect", target]
    try:
        ended = program.run(
            argv, env=job.environment(), cwd=target, seconds=job.detect_seconds, out=out, err=say.Kept(OUTPUT)
        )
    except OSError as error:
        say.detail(f"bin/detect of {say.quoted(os.path.basename(path))} cannot be run: {error.strerror}")
        return None
    if ended.late or out.over:
        why = f"it ran longer than {job.detect_seconds:.0f} s" if ended.late else "it printed more than 64 KB"
        say.detail(f"bin/detect was stopped: {why}")
        return None
    if ended.code:
        return None
    name = out.first() if out.text.strip() else ""
    return "".join(c for c in name if c.isprintable())[:60]


def copy(source: str, target: str) -> None:
    """A built-in one, with what it shares with another one."""
    shutil.copytree(source, target)
