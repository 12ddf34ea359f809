"""The Sandbox as an LXC container: openruko's way, and the fast one.

Its root is a folder of mount points (sandbox/lxcroot.py) with the stack's folders laid over it, read-only. Each
container has user, process and network namespaces of its own, no capabilities, a filter of system calls, and the limits
of its control group. The configuration and why each line is there: lxc/sandbox.conf.
"""

import contextlib
import os
import shutil
import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from octo import process
from octo.errors import OctoError
from octo.sandbox import syscalls
from octo.sandbox.cells import Cell
from octo.sandbox.cgroups import Cgroups, Group, end
from octo.sandbox.life import FIRST, SHM, SOCKETS, Folders, SandboxHost
from octo.sandbox.lxcroot import LxcRoots
from octo.specs import SandboxSpec

# Host uids and gids of everybody inside but the one user: above those of containers and of users by any convention.
# Source: systemd's docs/UIDS-GIDS.md, "unused".
RANGE, SIZE = 0x70000000, 65536
OLDEST = (4, 0, 6)  # LXC; Debian 11's
_OPEN = "bind,rw,nosuid,nodev"
_CLOSED = "bind,ro,nosuid,nodev"
# What would tell of the host in /proc and /sys, where the kernel has it.
_HIDDEN_FILES = ("kcore", "keys", "latency_stats", "timer_list", "timer_stats", "sched_debug", "kmsg", "kallsyms")
_HIDDEN_FOLDERS = ("/proc/acpi", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap", "/sys/fs/cgroup")


class LxcKind:
    def __init__(self, host: SandboxHost) -> None:
        self._host = host
        self._roots = LxcRoots(host.state / "roots", host.resolv)

    def start(self, spec: SandboxSpec, cell: Cell, folders: Folders) -> "Started":
        config = cell.folder / "config"
        config.write_text(self._config(spec, cell, folders))
        argv = [*self._command(spec.id), "-F", "-f", str(config), "--", *FIRST]
        rules = syscalls.compiled(self._host.syscalls)
        said = os.memfd_create("lxc")
        try:
            # Without newuidmap in its PATH, LXC writes the map itself: no lines in /etc/subuid, two programs less.
            program = process.spawn(argv, env={"PATH": "/nowhere"}, stdout=said, stderr=said)
        except BaseException:
            os.close(said)
            raise
        return Started(cell.group, rules, program, said)

    def found(self) -> Sequence[str]:
        return ()

    def remove(self, id: str) -> None:
        """End an lxc-start of an octod that was killed, which may be about to make the group that is to go."""
        words = self._command(id)
        for file in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                if file.read_bytes().split(b"\0")[: len(words)] == [os.fsencode(w) for w in words]:
                    end(int(file.parent.name))

    def tidy(self) -> None:
        self._roots.sweep()

    def _command(self, id: str) -> Sequence[str]:
        return ("/usr/bin/lxc-start", "-n", f"{self._host.instance}-{id}", "-P", str(self._host.state))

    def _config(self, spec: SandboxSpec, cell: Cell, folders: Folders) -> str:
        template = string.Template((self._host.share / "lxc" / "sandbox.conf").read_text())
        stack, user = self._host.stack(spec.stack), self._host.user
        text = template.substitute(
            root=self._roots.root(stack),
            idmap="\n".join(f"lxc.idmap = {kind} {line}" for kind in "ug" for line in idmap(user)),
            user=user,
            files_soft=min(1024, spec.limits.open_files),
            files_hard=spec.limits.open_files,
            group=cell.group.name[1:],
        )
        _open_way(Path(spec.socket_dir).parent)
        entries = [*_stack(Path(stack.tree)), *_hidden(), *self._own(spec), *_folders(folders)]
        return text + "".join(f"lxc.mount.entry = {entry} 0 0\n" for entry in entries)

    def _own(self, spec: SandboxSpec) -> Iterator[str]:
        owner = f"uid={self._host.user},gid={self._host.user},mode=0700"
        executable = "" if spec.build else "noexec,"
        yield f"tmpfs tmp tmpfs rw,nosuid,nodev,{executable}size={spec.limits.tmp},nr_inodes=50000,{owner}"
        if spec.build:
            yield f"tmpfs dev/shm tmpfs rw,nosuid,nodev,noexec,create=dir,size={SHM}m,{owner}"


@dataclass
class Started:
    group: Group
    rules: bytes
    program: process.Program
    said: int  # what lxc-start had to say

    def alive(self) -> bool:
        return self.program.poll() is None

    def why(self) -> str:
        """The first thing that lxc-start complained of."""
        lines = os.pread(self.said, 10_000, 0).decode("utf-8", "replace").splitlines()
        return lines[0].rpartition(": ")[2] if lines else "it said nothing"

    def end(self) -> None:
        """Before it has put itself into the group it would go on making it."""
        self.program.kill()
        self.program.wait()

    def clear(self) -> None:
        os.close(self.said)


def usable(share: Path) -> str:
    """ "", or why there can be no LXC sandboxes here, in words for an operator."""
    if not shutil.which("lxc-start", path=process.PATH):
        return "LXC is not installed"
    try:
        version = process.run(["lxc-start", "--version"]).out.decode().strip()
        syscalls.compiled(share / "lxc" / "syscalls.toml")
    except OctoError as error:
        return error.message
    if tuple(int(n) for n in version.split("~")[0].split(".") if n.isdigit()) < OLDEST:
        return f"LXC {version} is too old"
    most = Path("/proc/sys/user/max_user_namespaces")
    if not Path("/proc/self/ns/user").exists() or (most.exists() and most.read_text().strip() == "0"):
        return "the kernel has no user namespaces"
    closed = next((p for p in (share, *share.parents) if not p.stat().st_mode & 0o001), None)
    if closed:
        return f'"{closed}" is closed to other users'
    return Cgroups("octo").usable()


def idmap(user: int) -> Sequence[str]:
    """ "INSIDE OUTSIDE COUNT" lines: this one id is the same outside, all others lie in octo's range."""
    return (f"0 {RANGE} {user}", f"{user} {user} 1", f"{user + 1} {RANGE + user + 1} {SIZE - user - 1}")


def _stack(tree: Path) -> Iterator[str]:
    for name in LxcRoots.laid_over(tree):
        yield _bind(tree / name, name, _CLOSED)


def _hidden() -> Iterator[str]:
    for name in _HIDDEN_FILES:
        if Path("/proc", name).exists():
            yield _bind(Path("/dev/null"), f"proc/{name}", _CLOSED)
    for name in _HIDDEN_FOLDERS:
        if Path(name).is_dir():
            yield f"tmpfs {name[1:]} tmpfs ro,nosuid,nodev,noexec,size=4k,mode=0555"


def _folders(folders: Folders) -> Iterator[str]:
    for target, source in folders.closed.items():
        yield _bind(source, target[1:], _CLOSED + (",noexec" if target == SOCKETS else ""))
    for target, source in folders.writable.items():
        yield _bind(source, target[1:], _OPEN)


def _bind(source: Path, target: str, options: str) -> str:
    return f"{_word(str(source))} {target} none {options}"


def _word(path: str) -> str:
    """A path as fstab(5) wants it."""
    return path.replace("\\", "\\134").replace(" ", "\\040").replace("\t", "\\011").replace("\n", "\\012")


def _open_way(folder: Path) -> None:
    """Let LXC, which mounts as the container's own root, get through a folder that is closed to everybody else.

    Only its group comes to be able to, and no process but LXC's has that group.
    """
    now = folder.stat()
    if not now.st_mode & 0o001 and now.st_gid != RANGE:
        os.chown(folder, -1, RANGE)
        folder.chmod(now.st_mode & 0o777 | 0o010)
