"""The build engine's first process, until it becomes dockerd: where it counts, what it sees.

A program of its own, `python -m octo.buildengine.box FILE`: it joins its control group and its network, makes a mount
namespace in which the host's /run, the other engine's socket and the mounts of sandboxes do not exist, mounts its
disk there, and puts a few files of its own over the host's. All of this ends with its last process: nothing of it is
written to the host, and after a kill -9 there is nothing to mend.
"""

import ctypes
import json
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from octo import process
from octo.buildengine.spec import Box

NEW_NETWORK, NEW_MOUNTS = 0x40000000, 0x00020000  # CLONE_NEWNET, CLONE_NEWNS
BIND, RECURSIVE, PRIVATE = 0x1000, 0x4000, 0x40000  # MS_*
NOSUID, NODEV, DETACH = 2, 4, 2  # MS_NOSUID, MS_NODEV, MNT_DETACH
SYSTEM = ("/proc", "/sys", "/dev")  # what lies under these is kept as it is
PROGRAMS = ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc")

_libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    note = Path(sys.argv[1])
    box = Box(**json.loads(note.read_text()))
    network = os.open(box.network, os.O_RDONLY | os.O_CLOEXEC)
    for group in box.folders:
        Path(group, "cgroup.procs").write_text(str(os.getpid()))
    Path("/proc/self/oom_score_adj").write_text(str(box.oom))
    _call("unshare", NEW_MOUNTS)
    _mount("none", "/", flags=RECURSIVE | PRIVATE)
    _drop(box)
    done = process.run(["mount", "-t", "ext4", "-o", "loop,nodev,nosuid,noatime", box.disk, box.mounted])
    if done.code:
        sys.exit(done.text)
    _cover(box.files)
    _call("setns", network, NEW_NETWORK)
    _become(box, note)


def _drop(box: Box) -> None:
    """Let go of every mount that dockerd has no business with: held here, its device would stay busy on the host."""
    needed = (*PROGRAMS, box.folder, box.argv[0], sys.executable, __file__)
    for point in reversed(list(_points())):
        under = any(point == s or point.startswith(s + "/") for s in (*SYSTEM, "/usr", "/etc"))
        above = any(n == point or n.startswith(point.rstrip("/") + "/") for n in needed)
        if not under and not above:
            _libc.umount2(point.encode(), DETACH)  # one that is gone already is as good


def _points() -> Iterator[str]:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        yield line.split()[4].encode().decode("unicode_escape")  # source: proc(5): a space is \040


def _cover(files: Mapping[str, str]) -> None:
    """An empty /run, and files of our own over those of the host."""
    targets = {os.path.realpath(path): text for path, text in files.items()}
    _mount("tmpfs", "/run", kind="tmpfs", flags=NOSUID | NODEV, data="mode=755")
    for number, (target, text) in enumerate(targets.items()):
        if target.startswith("/run/"):  # as where resolv.conf is a link into it
            Path(target).parent.mkdir(parents=True, exist_ok=True)
            Path(target).write_text(text)
            continue
        own = Path(f"/run/cover-{number}")
        own.write_text(text)
        _mount(str(own), target, flags=BIND)


def _become(box: Box, note: Path) -> None:
    """Go on as dockerd in a process of its own. This one ends when that is dockerd, and its number is noted."""
    became, open_until = os.pipe2(os.O_CLOEXEC)
    if pid := os.fork():
        os.close(open_until)
        fresh = note.with_suffix(".new")
        fresh.write_text(json.dumps(replace(box, pid=pid).as_dict()))
        fresh.replace(note)
        os.read(became, 1)
        return
    os.setsid()
    os.chdir("/")
    log = os.open(box.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    for number in (1, 2):
        os.dup2(log, number)
    os.execve(box.argv[0], list(box.argv), dict(box.env))  # noqa: S606 - it becomes what it was started for


def _mount(source: str, target: str, *, kind: str = "", flags: int = 0, data: str = "") -> None:
    _call("mount", source.encode(), target.encode(), kind.encode(), flags, data.encode())


def _call(name: str, *arguments: object) -> None:
    if getattr(_libc, name)(*arguments):
        number = ctypes.get_errno()
        sys.exit(f"{name}: {os.strerror(number)}")


if __name__ == "__main__":
    main()
