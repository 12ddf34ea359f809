"""A slug to an image: one layer on a stack, made without running anything.

The engine unpacks it in a process confined to the layer's own folder. Here its members are only looked at: what is not
under app/, or is no file, folder or link, is refused, and so is a slug that unpacks to more than it may.
"""

import contextlib
import hashlib
import json
import tarfile
import tempfile
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any

from octo.engine import Engine
from octo.errors import BuildFailed, NotFound, OctoError
from octo.images.layers import Layer, Store, archive, load
from octo.images.tarwalk import FILE, FOLDER, HARD_LINK, LINK, Member, Tally, Walk
from octo.ports import SlugSpec
from octo.specs import MB
from octo.stack.tree import APP_UID

CHUNK = 1024 * 1024  # bytes
GZIP = b"\x1f\x8b"
KINDS = (FILE, FOLDER, HARD_LINK, LINK)
_LEAVE_OUT = "Leave files out by .slugignore, or ask the operator: octo limits:set {} {}"
# The shell becomes the command, whose words follow: "$@" is what CMD, or the process type, says.
START = 'for f in /app/.profile.d/*.sh; do if [ -r "$f" ]; then . "$f"; fi; done; exec "$@"'


@dataclass(frozen=True)
class _Slug:
    file: IO[bytes]  # unpacked
    size: int
    digest: str

    def chunks(self) -> Iterator[bytes]:
        self.file.seek(0)
        while data := self.file.read(CHUNK):
            yield data


class Slugs:
    """most: bytes of a slug, unpacked. image: how the engine calls a version of a stack."""

    def __init__(self, engine: Engine, instance: str, most: int, image: Callable[[str], str]) -> None:
        self._engine, self._instance, self._most, self._image = engine, instance, most, image

    def compose(self, spec: SlugSpec, slug: Iterable[bytes]) -> str:
        name = self._image(spec.stack)
        stack = self._engine.find("images", name, "json")
        if stack is None:
            raise NotFound(
                f'cannot make the image: there is no stack "{spec.stack}"', hint="Build it: octo stack:build"
            )
        with tempfile.TemporaryFile(prefix="octo-slug-") as file:
            ready = _unpacked(slug, file, spec.most or self._most, spec)
            if Store.of(self._engine):
                return self._loaded(spec, stack, ready)
            return self._committed(spec, name, ready)

    def _loaded(self, spec: SlugSpec, stack: Mapping[str, Any], slug: _Slug) -> str:
        """Nothing of the stack goes along: the engine has its layers. A layer that it has already is not sent again."""
        diffs = [*stack["RootFS"]["Layers"], slug.digest]
        config = json.dumps(
            {
                "architecture": stack["Architecture"],
                "os": stack["Os"],
                "created": _now(),
                "config": {**_runtime(stack["Config"]), "Labels": self._labels(spec)},
                "rootfs": {"type": "layers", "diff_ids": diffs},
                "history": [{"created_by": "octo"} for _ in diffs],
            }
        ).encode()
        load(self._engine, archive(config, [spec.tag], diffs, {slug.digest: Layer(slug.size, slug.chunks)}))
        return "sha256:" + hashlib.sha256(config).hexdigest()

    def _committed(self, spec: SlugSpec, stack: str, slug: _Slug) -> str:
        """The same where the engine keeps its images in another way: in a container that is never started."""
        body = {"Image": stack, "Cmd": ["true"], "NetworkDisabled": True}
        container = self._engine.post("containers", "create", body=body)["Id"]
        try:
            _put_archive(self._engine, container, slug.chunks())
            repository, _, tag = spec.tag.rpartition(":")
            config = self._engine.get("images", stack, "json")["Config"]
            body = {**_runtime(config), "Labels": self._labels(spec), "Cmd": []}
            query = {"container": container, "repo": repository, "tag": tag, "pause": False}
            self._engine.post("commit", query=query, body=body, timeout=None)
        finally:
            self._engine.remove_container(container)
        return str(self._engine.get("images", spec.tag, "json")["Id"])

    def _labels(self, spec: SlugSpec) -> Mapping[str, str]:
        return {"octo.instance": self._instance, "octo.app": spec.app, "octo.stack": spec.stack}


def _runtime(stack: Mapping[str, Any]) -> Mapping[str, Any]:
    env = [e for e in stack.get("Env") or () if not e.startswith("HOME=")]
    return {
        "User": "app",
        "WorkingDir": "/app",
        "Env": [*env, "HOME=/app"],
        "Entrypoint": ["/bin/bash", "-c", START, "start"],
    }


def _unpacked(slug: Iterable[bytes], file: IO[bytes], most: int, spec: SlugSpec) -> _Slug:
    digest, walk, size = hashlib.sha256(), Walk(_Check(spec)), 0
    for chunk in _with_home(_plain(slug)):
        size += len(chunk)
        if size > most:
            raise BuildFailed(
                f"cannot make the image: the slug unpacks to more than {most // MB} MB, the limit",
                hint=_LEAVE_OUT.format(spec.name, "disk=4G"),
            )
        digest.update(chunk)
        walk.feed(chunk)
        file.write(chunk)
    walk.finish()
    return _Slug(file, size, f"sha256:{digest.hexdigest()}")


def _with_home(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The folder itself first, where the slug does not begin with it: the engine would make it root's."""
    seen: list[Member] = []
    walk, held = Walk(seen.append), b""
    for chunk in chunks:
        walk.feed(chunk)
        held += chunk
        if seen:
            break
    if not seen or seen[0].name.strip(b"./") != b"app":
        home = tarfile.TarInfo("app")
        home.type, home.mode, home.uid, home.gid = tarfile.DIRTYPE, 0o755, APP_UID, APP_UID
        yield home.tobuf(tarfile.GNU_FORMAT)
    yield held
    yield from chunks


def _plain(slug: Iterable[bytes]) -> Iterator[bytes]:
    """The tar, in pieces of at most CHUNK: a small piece may unpack to anything. Gzip may have several members."""
    unzip, zipped, whole = zlib.decompressobj(wbits=31), None, True
    for chunk in filter(None, slug):
        zipped = chunk.startswith(GZIP) if zipped is None else zipped
        if not zipped:
            yield chunk
            continue
        while chunk:
            try:
                yield unzip.decompress(chunk, CHUNK)
            except zlib.error:
                raise _not_gzip() from None
            chunk, whole = unzip.unconsumed_tail, unzip.eof
            if whole:
                chunk, unzip = unzip.unused_data, zlib.decompressobj(wbits=31)
    if not whole:
        raise _not_gzip()


def _not_gzip() -> BuildFailed:
    return BuildFailed("cannot make the image: the slug is no whole gzip file")


class _Check:
    """Looks at one member after the other. A tiny slug can hold more files than a host's disk has room for."""

    def __init__(self, spec: SlugSpec) -> None:
        self._spec, self._tally = spec, Tally()

    def __call__(self, member: Member) -> None:
        found = self._tally.add(member.name)
        if found > (self._spec.files or found):
            raise BuildFailed(
                f"cannot make the image: the slug holds more than {self._spec.files} files and folders, the limit",
                hint=_LEAVE_OUT.format(self._spec.name, "files=500000"),
            )
        parts = member.name.removeprefix(b"./").rstrip(b"/").split(b"/")
        if parts in ([b"."], [b""]):
            return
        if parts[0] != b"app" or b".." in parts or (member.kind not in KINDS):
            name = member.name.decode("utf-8", "replace")
            raise BuildFailed(f"cannot make the image: {name!r} in the slug is not a file, folder or link under app/")


def _put_archive(engine: Engine, container: str, chunks: Iterable[bytes]) -> None:
    stream = engine.upload("containers", container, "archive", query={"path": "/"}, method="PUT")
    with contextlib.closing(stream):
        with contextlib.suppress(OSError):  # the answer says why
            stream.send(chunks)
        try:
            stream.answer()
        except OctoError as error:
            raise BuildFailed(f"cannot make the image: {error.message}") from None


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
