"""The machine's disks: what is free, what octo's folders take, and the layers of the engine's images."""

import os
import stat
import threading
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from octo.disk import Room, Stored, Taken
from octo.engine import Engine
from octo.errors import OctoError

MOST = 200_000  # entries of one folder that are looked at: a repository is its pushers' to fill
DEEPEST = 60  # folders within folders
BLOCK = 512  # bytes of st_blocks. Source: stat(2)
EMPTY = ("CMD", "ENTRYPOINT", "ENV", "LABEL", "EXPOSE", "USER", "VOLUME", "STOPSIGNAL", "SHELL", "ARG", "HEALTHCHECK")


class HostDisk:
    """repositories, blobs, stacks, build_engine: the folders that are told apart, wherever they lie."""

    def __init__(
        self,
        engine: Engine,
        *,
        home: Path,
        repositories: Path,
        apart: Sequence[Path],
        build_engine: Path,
        build_engine_most: int,
    ) -> None:
        self._engine, self._home, self._repositories = engine, home, repositories
        self._apart = {repositories, build_engine, *apart}
        self._build_engine, self._build_engine_most = build_engine, build_engine_most
        self._root: Path | None = None  # the engine's
        self._known: dict[str, tuple[tuple[str, int], ...]] = {}  # image id -> its layers, which never change
        self._lock = threading.Lock()

    # --- what is free ---

    def rooms(self) -> Sequence[Room]:
        found: dict[int, Room] = {}
        for place in (self._home, self._engine_root()):
            if place.exists():  # an engine elsewhere has its root elsewhere
                found.setdefault(place.stat().st_dev, _room(place))
        return list(found.values())

    def _engine_root(self) -> Path:
        if self._root is None:
            self._root = Path(self._engine.get("info")["DockerRootDir"])
        return self._root

    # --- what octo takes ---

    def repository(self, app: str) -> Taken:
        return taken(self._repositories / f"{app}.git")

    def build_engine(self) -> tuple[Taken, int]:
        return taken(self._build_engine), self._build_engine_most

    def others(self) -> Taken:
        parts = [taken(Path(e)) for e in os.scandir(self._home) if Path(e) not in self._apart]
        return Taken(sum(p.bytes for p in parts), all(p.whole for p in parts))

    # --- images ---

    def tags(self) -> Sequence[str]:
        return [tag for image in self._engine.get("images", "json") for tag in image.get("RepoTags") or ()]

    def images(self) -> Sequence[Stored]:
        with self._lock:
            listed = self._engine.get("images", "json")
            layers = {i["Id"]: self._known.get(i["Id"]) or self._layers(i["Id"]) for i in listed}
            self._known = {id: found for id, found in layers.items() if found}
        return [Stored(i["Id"], tuple(i.get("RepoTags") or ()), layers[i["Id"]]) for i in listed]

    def _layers(self, id: str) -> tuple[tuple[str, int], ...]:
        try:
            image, history = self._engine.get("images", id, "json"), self._engine.get("images", id, "history")
        except OctoError:  # removed meanwhile
            return ()
        return layers_of(image["RootFS"].get("Layers") or (), history)


def layers_of(digests: Sequence[str], history: Sequence[dict[str, Any]]) -> tuple[tuple[str, int], ...]:
    """Each layer's name and size, the base first. history: as the engine has it, the newest first.

    A layer is the same as another when all below it are the same too: its name is made of all their digests. The
    history has a line for each instruction and does not say which of those without a size made a layer: the
    instructions that can make none are left out first, then the newest.
    """
    lines = [(int(h.get("Size") or 0), str(h.get("CreatedBy") or "")) for h in reversed(history)]
    spare = len(lines) - len(digests)
    for empty_alone in (True, False):
        for index in reversed(range(len(lines))):
            size, created_by = lines[index]
            if spare > 0 and not size and (not empty_alone or _instruction(created_by) in EMPTY):
                del lines[index]
                spare -= 1
    sizes = [size for size, _ in lines][: len(digests)]
    sizes += [0] * (len(digests) - len(sizes))
    names, below = [], b""
    for digest in digests:
        below = sha256(below + digest.encode()).digest()
        names.append(below.hex())
    return tuple(zip(names, sizes, strict=True))


def _instruction(created_by: str) -> str:
    """ "CMD" of "/bin/sh -c #(nop)  CMD [...]" and of "CMD [...]"."""
    words = created_by.removeprefix("/bin/sh -c #(nop)").split()
    return words[0].upper() if words else ""


def _room(path: Path) -> Room:
    found = os.statvfs(path)
    files = found.f_favail if found.f_files else None  # btrfs and its like make them as they need them
    return Room(str(path), found.f_frsize * found.f_blocks, found.f_frsize * found.f_bavail, files)


def taken(top: Path, *, most: int = MOST) -> Taken:
    """What a file, or a folder with all below it, takes on its own file system. No link is ever followed.

    A pusher's git may be at work in it, and swap a folder for a link between two looks: each is opened as what it is.
    """
    try:
        found = os.lstat(top)
    except OSError:
        return Taken(0)
    total = _Total(found.st_dev, most)
    total.add(found)
    if stat.S_ISDIR(found.st_mode):
        total.descend(str(top), None, 0)
    return Taken(total.blocks * BLOCK, total.whole)


class _Total:
    def __init__(self, device: int, most: int) -> None:
        self.blocks, self.whole = 0, True
        self._device, self._left = device, most
        self._linked: set[int] = set()  # inodes of files that have several names

    def add(self, found: os.stat_result) -> None:
        if found.st_nlink > 1 and not stat.S_ISDIR(found.st_mode):
            if found.st_ino in self._linked:
                return
            self._linked.add(found.st_ino)
        self.blocks += found.st_blocks

    def descend(self, name: str, within: int | None, depth: int) -> None:
        try:
            folder = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=within)
        except OSError:  # gone, or no folder any more
            return
        try:
            for entry in os.listdir(folder):
                self._entry(entry, folder, depth)
        finally:
            os.close(folder)

    def _entry(self, name: str, folder: int, depth: int) -> None:
        if self._left <= 0 or depth >= DEEPEST:
            self.whole = False
            return
        self._left -= 1
        try:
            found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except OSError:
            return
        if found.st_dev != self._device:
            return
        self.add(found)
        if stat.S_ISDIR(found.st_mode):
            self.descend(name, folder, depth + 1)
