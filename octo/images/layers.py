"""An image from one engine to another on the same machine, with only the layers that the other lacks.

`docker save | docker load` carries every layer each time. But an engine that loads an archive does not look at the
file of a layer that it has already, so those can be left out; and a layer that must go along can be made again, byte
by byte, from the source's store: its tar is the recorded headers (tar-split) with the files' content in between.
Both need the graph driver overlay2, the default of engines 20.10 to 28; for any other store it is save and load.
The stores are only read. What lies in a layer comes from anybody: no link in it is followed, nothing but regular
files is opened, and the receiving engine takes a layer only when its digest is right.
"""

import base64
import contextlib
import gzip
import hashlib
import io
import json
import os
import stat
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from octo.engine import Engine
from octo.errors import BuildFailed, NotFound, OctoError, Unavailable
from octo.images.tarwalk import Tally

DRIVER = "overlay2"
CHUNK = 1024 * 1024  # bytes
FILE, SEGMENT = 1, 2  # tar-split's kinds of entries


@dataclass(frozen=True)
class Store:
    """An engine's layers as they lie on the disk. root: its data root, as this process reaches it."""

    root: Path

    @classmethod
    def of(cls, engine: Engine, seen_from: Path = Path("/")) -> "Store | None":
        """None when it is of another kind, or not to be reached. seen_from: the engine's "/", as /proc/PID/root."""
        info = engine.get("info")
        root = seen_from / str(info["DockerRootDir"]).lstrip("/")
        return cls(root) if info["Driver"] == DRIVER and (root / "image" / DRIVER / "layerdb").is_dir() else None

    def has(self, chain: str) -> bool:
        return self._layer(chain).is_dir()

    def config(self, image: str) -> bytes:
        """The image's own description, whose digest is its id."""
        return (self.root / "image" / DRIVER / "imagedb/content/sha256" / _hex(image)).read_bytes()

    def size(self, chain: str) -> tuple[int, int]:
        """Bytes of the layer's tar, and how many files and folders are in it."""
        size, files = 0, Tally()
        for entry in self._entries(chain):
            if entry["type"] == FILE:
                size += entry.get("size", 0)
                files.add(_name(entry))
            else:
                size += _decoded(entry["payload"])
        return size, files.number

    def layer(self, chain: str) -> Iterator[bytes]:
        """The layer's tar. Raises BuildFailed when its files are not as they were recorded."""
        cache = (self._layer(chain) / "cache-id").read_text()
        with _Files(self.root / DRIVER / cache / "diff") as files:
            for entry in self._entries(chain):
                if entry["type"] == SEGMENT:
                    yield base64.b64decode(entry["payload"])
                elif size := entry.get("size", 0):
                    yield from files.read(_name(entry), size)

    def _entries(self, chain: str) -> Iterator[Mapping[str, Any]]:
        with gzip.open(self._layer(chain) / "tar-split.json.gz") as lines:
            yield from map(json.loads, lines)

    def _layer(self, chain: str) -> Path:
        return self.root / "image" / DRIVER / "layerdb/sha256" / _hex(chain)


class _Files:
    """Regular files below one folder, opened part by part, so that no link leads elsewhere."""

    def __init__(self, root: Path) -> None:
        self._opened = [os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)]
        self._path: list[bytes] = []  # of the folders after the first

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for number in self._opened:
            os.close(number)

    def read(self, name: bytes, size: int) -> Iterator[bytes]:
        try:
            with self._open(name) as file:
                while size and (data := file.read(min(size, CHUNK))):
                    size -= len(data)
                    yield data
        except OSError as error:
            raise _odd(name, error.strerror or str(error)) from None
        if size:
            raise _odd(name, "it is shorter than it was")

    def _open(self, name: bytes) -> io.FileIO:
        *folders, last = [part for part in name.split(b"/") if part not in (b"", b".")] or [b".."]
        if b".." in (*folders, last):
            raise _odd(name, "its name leads elsewhere")
        self._enter(folders)
        if not stat.S_ISREG(os.stat(last, dir_fd=self._opened[-1], follow_symlinks=False).st_mode):
            raise _odd(name, "it is no regular file")
        return io.FileIO(os.open(last, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=self._opened[-1]), "rb")

    def _enter(self, folders: list[bytes]) -> None:
        """Names come in order: mostly it is the folder of the last one."""
        pairs = zip(self._path, folders, strict=False)
        same = next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(self._path), len(folders)))
        while len(self._path) > same:
            self._path.pop()
            os.close(self._opened.pop())
        for part in folders[same:]:
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
            self._opened.append(os.open(part, flags, dir_fd=self._opened[-1]))
            self._path.append(part)


def hand_over(
    image: str,
    name: str,
    tag: str,
    source: Engine,
    theirs: Store | None,
    target: Engine,
    ours: Store | None,
    count: Callable[[int], None] = lambda files: None,
) -> str:
    """Bring an image to `target` and call it `tag` there; return its id there.

    image, name: what `source` calls it, by its id and by a name. theirs, ours: the stores of the two. count: is told
    how many files go along, where that is known, and ends it by raising.
    Raises BuildFailed, NotFound, Unavailable.
    """
    if theirs and ours:
        with contextlib.suppress(_Vanished):
            return _with_layers(image, tag, theirs, target, ours, count)
    return _whole(name, tag, source, target)


@contextlib.contextmanager
def base_layer(image: str, name: str, theirs: Store | None, target: Engine, ours: Store | None) -> Iterator[None]:
    """Have the image's lowest layer in `target` for the body of a `with`, which then need not bring it.

    It is unpacked as it comes, while `images/load` writes all to the disk first: 10 to 14 s for 700 MB, not 20.
    name: name:tag that the layer has meanwhile.
    """
    lowest = json.loads(theirs.config(image))["rootfs"]["diff_ids"][:1] if theirs else []
    if not theirs or not ours or not lowest or ours.has(lowest[0]):
        yield
        return
    repository, _, tag = name.rpartition(":")
    target.delete("images", name)
    stream = target.upload("images", "create", query={"fromSrc": "-", "repo": repository, "tag": tag})
    try:
        with contextlib.closing(stream), contextlib.suppress(OSError, OctoError):  # then it is brought later
            stream.send(theirs.layer(lowest[0]))
            stream.answer()
            list(stream.lines())
        yield
    finally:
        target.delete("images", name)


class _Vanished(OctoError):
    """A layer that was there went away meanwhile."""


def _with_layers(image: str, tag: str, theirs: Store, target: Engine, ours: Store, count: Callable[[int], None]) -> str:
    config = theirs.config(image)
    diffs = json.loads(config)["rootfs"]["diff_ids"]
    chains = list(chain_ids(diffs))
    present = target.find("images", image, "json") is not None
    lacking = {} if present else {d: c for d, c in zip(diffs, chains, strict=True) if not ours.has(c)}
    if present:
        give_name(target, image, tag)
        return image
    sizes = {d: theirs.size(c) for d, c in lacking.items()}
    count(sum(files for _, files in sizes.values()))
    layers = {d: Layer(sizes[d][0], lambda c=c: theirs.layer(c)) for d, c in lacking.items()}  # type: ignore[misc]
    try:
        load(target, archive(config, [tag], diffs, layers))
    except BuildFailed:
        if all(ours.has(c) for d, c in zip(diffs, chains, strict=True) if d not in lacking):
            raise
        raise _Vanished("cannot hand the image over: a layer went away") from None
    return image


@dataclass(frozen=True)
class Layer:
    size: int  # bytes
    chunks: Callable[[], Iterable[bytes]]


def archive(config: bytes, tags: Sequence[str], diffs: Sequence[str], layers: Mapping[str, Layer]) -> Iterator[bytes]:
    """What `docker save` would write, without the layers that are not in `layers`. Source: image/tarexport of moby."""
    name = hashlib.sha256(config).hexdigest() + ".json"
    manifest = [{"Config": name, "RepoTags": list(tags), "Layers": [f"{_hex(d)}/layer.tar" for d in diffs]}]
    for file, content in ((name, config), ("manifest.json", json.dumps(manifest).encode())):
        yield from _member(file, len(content), [content])
    for diff, layer in layers.items():
        yield from _member(f"{_hex(diff)}/layer.tar", layer.size, layer.chunks())
    yield bytes(1024)


def load(target: Engine, chunks: Iterable[bytes]) -> None:
    """POST /images/load. Raises BuildFailed with the engine's words."""
    stream = target.upload("images", "load", query={"quiet": True})
    with contextlib.closing(stream):
        with contextlib.suppress(OSError):  # the answer says why
            stream.send(chunks)
        try:
            stream.answer()
            said = list(stream.lines())
        except Unavailable:
            raise
        except OctoError as error:
            raise _refused(error.message) from None
    errors = [str(m["error"]) for m in said if "error" in m]
    if errors:
        raise _refused(errors[0])


def _whole(name: str, tag: str, source: Engine, target: Engine) -> str:
    """Under its name in `source`: ids differ between kinds of stores."""
    stream = source.stream("GET", "images", name, "get")
    with contextlib.closing(stream):
        load(target, stream.chunks())
    found = target.find("images", name, "json")
    if found is None:
        raise NotFound(f'cannot hand the image "{name}" over: it did not arrive')
    if name != tag:
        give_name(target, name, tag)
        target.delete("images", name)
    return str(found["Id"])


def give_name(engine: Engine, image: str, tag: str) -> None:
    name, _, version = tag.rpartition(":")
    engine.post("images", image, "tag", query={"repo": name, "tag": version})


def chain_ids(diffs: Iterable[str]) -> Iterator[str]:
    """The name of each layer together with all below it. Source: OCI image specification, "Layer ChainID"."""
    chain = ""
    for diff in diffs:
        chain = "sha256:" + hashlib.sha256(f"{chain} {diff}".encode()).hexdigest() if chain else diff
        yield chain


def _member(name: str, size: int, chunks: Iterable[bytes]) -> Iterator[bytes]:
    member = tarfile.TarInfo(name)
    member.size = size
    yield member.tobuf()
    yield from chunks
    yield bytes(-size % 512)


def _decoded(text: str) -> int:
    """The length that base64 text stands for."""
    return len(text) // 4 * 3 - text[-2:].count("=")


def _hex(digest: str) -> str:
    return digest.removeprefix("sha256:")


def _name(entry: Mapping[str, Any]) -> bytes:
    return base64.b64decode(entry["name_raw"]) if "name_raw" in entry else os.fsencode(str(entry["name"]))


def _odd(name: bytes, why: str) -> BuildFailed:
    return BuildFailed(
        f"cannot take the image over: its file {name.decode('utf-8', 'replace')!r} cannot be read: {why}"
    )


def _refused(words: str) -> BuildFailed:
    return BuildFailed(f"cannot take the image over: the engine refused it: {words}")
