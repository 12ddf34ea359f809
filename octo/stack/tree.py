"""What is in the tree of a stack beside its packages: mount points, names; and what must not be: set-uid, devices."""

import contextlib
import os
import shutil
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

APP_UID = 59205  # the user `app`, who runs slugs
MOUNT_POINTS = ("app", "work", "octo", "octo-buildpacks", "run/octo", "tmp", "dev", "proc", "sys")
# Made anew, whatever programs or an engine's export left in them.
_BARE = ("debootstrap", ".dockerenv", "dev", "tmp", "run", "work", "octo", "octo-buildpacks", "proc", "sys")
_UNREAD = ("usr/share/man", "usr/share/info", "usr/share/locale", "var/lib/apt/lists", "var/cache/apt", "var/log")
_NAMES = {
    "etc/hostname": "octo\n",
    "etc/hosts": "127.0.0.1 localhost\n::1 localhost\n",
    "etc/resolv.conf": "",  # there, because something may be mounted on it
    "etc/machine-id": "",
}
_ARMS = stat.S_ISUID | stat.S_ISGID


def write(root: Path, files: Mapping[str, str], *, mode: int = 0o644) -> None:
    """Write each text to its place, and put nothing else's target in its stead: a link is replaced."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_text(text)
        path.chmod(mode)


def tidy(root: Path) -> int:
    """Take out what is of no use or can be misused, put in what is mounted on. Returns the size in bytes."""
    for name in (*_BARE, *_UNREAD):
        shutil.rmtree(root / name, ignore_errors=True)
        (root / name).unlink(missing_ok=True)
    for name in (*MOUNT_POINTS, *_UNREAD):
        (root / name).mkdir(parents=True, exist_ok=True)
    _drop_documents(root / "usr/share/doc")
    (root / "tmp").chmod(0o1777)
    (root / "app").chmod(0o755)
    os.chown(root / "app", APP_UID, APP_UID)
    write(root, _NAMES)
    (root / "etc/mtab").unlink(missing_ok=True)
    (root / "etc/mtab").symlink_to("/proc/mounts")  # as engines make it in theirs
    return sum(_disarmed(Path(folder), names) for folder, *kinds in os.walk(root) for names in kinds)


def _drop_documents(folder: Path) -> None:
    """debootstrap unpacks its first packages without dpkg, and so without what dpkg leaves out."""
    for place, _, files in os.walk(folder):
        for name in files:
            if name != "copyright":
                Path(place, name).unlink()


def _disarmed(folder: Path, names: Sequence[str]) -> int:
    """Leave no set-uid or set-gid bit, no file capability and no device. Returns the bytes on disk."""
    size = 0
    for name in names:
        path = folder / name
        found = path.lstat()
        mode = found.st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode)):
            path.unlink()
            continue
        if mode & _ARMS and not stat.S_ISLNK(mode):
            path.chmod(stat.S_IMODE(mode) & ~_ARMS)
        if stat.S_ISREG(mode) and mode & 0o111:
            with contextlib.suppress(OSError):
                os.removexattr(path, "security.capability", follow_symlinks=False)
        size += found.st_blocks * 512 // (1 if stat.S_ISDIR(mode) else found.st_nlink)
    return size
