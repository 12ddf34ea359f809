"""What no slug has, and what .slugignore names, removed from the app before it is packed."""

import os
import re
import subprocess
from collections.abc import Iterator

from . import declared, fetch, program, say
from .job import Job


def ignore(job: Job) -> None:
    """Remove what no slug has, and what .slugignore names. Patterns reach nothing outside the app."""
    fetch.removed(f"{job.source}/.git", job.work)
    text = declared.text_of(f"{job.source}/.slugignore", ".slugignore")
    patterns = [p for p in map(pattern, (text or "").lstrip("\ufeff").splitlines()) if p]
    number = 0
    gone: list[bytes] = []
    for kind, name in _entries(job):
        inside = bool(gone) and name.startswith(gone[-1] + b"/")
        if not inside and any(p.fullmatch(name + b"/" if kind == b"d" else name) for p in patterns):
            gone.append(name)
            inside = True
        elif not inside and name.rpartition(b"/")[2] == b".DS_Store" and kind == b"f":
            gone.append(name)
            continue
        number += inside and kind != b"d"
    for name in gone:
        fetch.removed(os.fsdecode(os.fsencode(job.source) + b"/" + name), job.work)
    if number:
        say.step(f"Deleting {number} files matching .slugignore patterns.")


def pattern(line: str) -> re.Pattern[bytes] | None:
    """A line of .slugignore as what matches a path, folders with a slash at their end; None when it says nothing.

    As in .gitignore: a slash at the begin or inside ties it to the top, one at the end means folders only, `**` stands
    for any folders. There are no exceptions ("!").
    """
    line = line.strip()
    if not line or line.startswith(("#", "!")):
        return None
    only_folders, parts = line.endswith("/"), [p for p in line.split("/") if p not in ("", ".")]
    if ".." in parts or not parts or set(parts) <= {"**"}:
        return None
    tied = "/" in line.rstrip("/")
    said = "" if tied else "(?:.*/)?"
    for part in parts[:-1]:
        said += "(?:.*/)?" if part == "**" else _glob(part) + "/"
    said += "[^/].*" if parts[-1] == "**" else _glob(parts[-1])
    return re.compile((said + ("/" if only_folders else "/?")).encode("utf-8", "surrogateescape"), re.DOTALL)


def _glob(part: str) -> str:
    said, at = "", 0
    while at < len(part):
        char, at = part[at], at + 1
        end = part.find("]", at + 1) if char == "[" else -1
        if char == "*":
            said += "[^/]*" if not said.endswith("[^/]*") else ""
        elif char == "?":
            said += "[^/]"
        elif end > 0:
            inner, at = part[at:end].replace("\\", "\\\\").replace("[", "\\["), end + 1
            said += f"(?!/)[{'^' + inner[1:] if inner[0] in '!^' else inner}]"
        else:
            said += re.escape(char)
    return said


def _entries(job: Job) -> Iterator[tuple[bytes, bytes]]:
    """Kind and path of everything in the app, each folder before what is in it."""
    argv = ["find", job.source, "-mindepth", "1", "-printf", "%y%P\\0"]
    with subprocess.Popen(argv, env=job.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as find:
        assert find.stdout
        rest = b""
        while chunk := find.stdout.read(program.CHUNK):
            *whole, rest = (rest + chunk).split(b"\0")
            yield from ((entry[:1], entry[1:]) for entry in whole)
