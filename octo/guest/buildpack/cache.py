"""What buildpacks keep between pushes: fetched before, stored afterwards when it has changed."""

import os
import shutil
import subprocess
import zlib
from collections.abc import Iterable, Mapping
from itertools import chain

from . import fetch, program, say, wire
from .job import MB, Job
from .slug import TooBig, Unreadable, measure, store


def restore(job: Job, url: str) -> int:
    """Fill the cache with what the last build left; the number of bytes fetched. A broken one counts as none."""
    os.makedirs(job.cache, exist_ok=True)
    chunks, fetched = wire.get(job, url), 0
    try:
        first = next(chunks, b"")
        if first:
            fetched = _unpack(job, chain([first], chunks))
    except (OSError, ValueError):
        say.step("The build cache cannot be read: starting with an empty one")
        fetch.fresh(job.cache, job.work)
    return fetched


def _unpack(job: Job, chunks: Iterable[bytes]) -> int:
    """Raises OSError for what is no whole gzipped tar."""
    unpack = ["--use-compress-program=igzip"] if shutil.which("igzip") else ["-z"]
    argv = ["tar", "-x", *unpack, "-f", "-", "-C", job.cache, "--no-same-owner", "--strip-components=1"]
    fetched, null = 0, subprocess.DEVNULL
    with subprocess.Popen(argv, env=job.environment(), stdin=subprocess.PIPE, stderr=null, bufsize=0) as tar:
        assert tar.stdin
        try:
            for chunk in chunks:
                fetched += len(chunk)
                program.write(tar.stdin.fileno(), chunk)
        except BaseException:
            tar.kill()
            raise
    program.clear()
    if tar.returncode:
        raise OSError("tar cannot read it")
    return fetched


class _Sum:
    """A checksum of a program's output."""

    def __init__(self) -> None:
        self.value = (0, 1)

    def feed(self, text: bytes) -> None:
        self.value = zlib.crc32(text, self.value[0]), zlib.adler32(text, self.value[1])

    def end(self) -> None:
        pass


def mark(job: Job) -> tuple[int, int]:
    """What tells whether anything in the cache was changed since."""
    found = _Sum()
    argv = ["find", job.cache, "-mindepth", "1", "-printf", "%i %s %C@ %P\\0"]
    program.run(argv, env=job.environment(), cwd="/", seconds=300, out=found, err=say.Kept(64 << 20))
    return found.value


def keep(job: Job, url: str, before: tuple[int, int]) -> Mapping[str, object]:
    """Store the cache when this build has changed it, and tell how that went. Never a reason to refuse."""
    if mark(job) == before:
        return {"stored": False, "why": "unchanged"}
    measure(job, job.cache)  # for what it makes readable
    try:
        size = store(job, url, job.work, "cache", int(job.cache_mb * MB))
    except TooBig as big:
        say.detail(
            f"The build cache is not kept: it has {say.size(big.size)} (max is {job.cache_mb:g}MB, setting cache_mb)."
        )
        return {"stored": False, "why": "too big", "bytes": big.size}
    except (OSError, Unreadable) as error:
        say.detail(f"The build cache is not kept: {error}")
        return {"stored": False, "why": str(error)}
    return {"stored": True, "bytes": size}
