"""The slug: a gzipped tar of the app, straight into octod's socket, never a copy on the disk."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from . import program, say, wire
from .job import MB, Job, Refused

TRIES = 3
OWNER = 59205  # the stack's user `app`
# Measured with tar on two cores, 26,000 files of 100 MB like a node_modules: tar alone 360 ms; igzip -0 560 ms and
# 29.4 MB, -1 640 and 27.8, -2 600 and 27.4, -3 900 and 26.1; gzip -1 1,700 and 28.3; Python's zlib at level 1 1,900
# and 28.2; its tarfile 12,500. zstd would take 500 and 22.3, but is not gzip.
WRITERS = (("igzip", "-2", "-c"), ("pigz", "-1", "-c"), ("gzip", "-1", "-c"))


class Size(NamedTuple):
    bytes: int  # of the gzipped tar
    unpacked: int
    files: int  # and folders and links


class TooBig(Exception):
    """The archive has more bytes than allowed: so many."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.size = size


class Unreadable(Exception):
    """tar met something that it cannot read; the message is its own."""


class _Answered(Exception):
    """octod does not want it: its status."""

    def __init__(self, status: int) -> None:
        super().__init__(f"octod answered {status}")
        self.status = status


def push(job: Job, url: str) -> Size:
    """Store the slug. Raises Refused when it is too big, cannot be read or cannot be stored."""
    unpacked, files = measure(job, job.source)
    try:
        size = store(job, url, os.path.dirname(job.source) or "/", os.path.basename(job.source), int(job.slug_mb * MB))
    except TooBig as big:
        raise Refused(
            f"Push rejected, your compiled slug is {say.size(big.size)} (max is {job.slug_mb:g}MB).",
            "Leave files out by naming them in .slugignore,",
            f"or ask the operator: octo limits:set {job.app} slug={2 * job.slug_mb:.0f}M",
        ) from None
    except (OSError, Unreadable) as error:
        raise Refused(f"cannot store the slug: {error}") from None
    return Size(size, unpacked, files)


def measure(job: Job, folder: str) -> tuple[int, int]:
    """Bytes and number of all that is in the folder, which is made readable when it is not."""
    for again in (True, False):
        found = _Totals()
        argv = ["find", folder, "-printf", "%y %m %s\\n"]
        ended = program.run(argv, env=job.environment(), cwd="/", seconds=300, out=found, err=say.Kept(64 << 20))
        if not (again and (found.closed or ended.code)):
            break
        argv = ["chmod", "-R", "u+rwX", "--", folder]
        program.run(argv, env=job.environment(), cwd="/", seconds=300, out=say.Kept(64 << 20))
    return found.bytes, found.number


class _Totals:
    """Adds lines "kind mode bytes" up."""

    def __init__(self) -> None:
        self.bytes, self.number, self.closed, self._rest = 0, 0, False, b""

    def feed(self, text: bytes) -> None:
        *lines, self._rest = (self._rest + text).split(b"\n")
        for line in lines:
            kind, mode, size = line.split()
            self.number += 1
            self.bytes += int(size) if kind == b"f" else 0
            needed = {b"d": 0o700, b"f": 0o400}.get(kind, 0)
            self.closed = self.closed or int(mode, 8) & needed != needed

    def end(self) -> None:
        pass


def store(job: Job, url: str, parent: str, name: str, most: int) -> int:
    """PUT the folder, up to three times; its size. Raises TooBig, Unreadable, OSError when it cannot be stored."""
    failed = OSError()
    for number in range(TRIES):
        counted = _Counted(most)
        try:
            with packed(job, parent, name) as chunks:
                status = wire.put(job, url, counted.through(chunks))
                if not 200 <= status < 300:
                    raise _Answered(status)
        except OSError as error:
            failed = error
        except _Answered as answer:
            if number == 0 or answer.status >= 500:  # else a URL that works once was used up: the first reason counts
                failed = OSError(str(answer))
            if answer.status < 500:
                break
        else:
            return counted.size
    raise failed


class _Counted:
    def __init__(self, most: int) -> None:
        self.most, self.size = most, 0

    def through(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Hand the chunks on up to the limit; beyond it the rest is only counted, for the message."""
        for chunk in chunks:
            self.size += len(chunk)
            if self.size <= self.most:
                yield chunk
        if self.size > self.most:
            raise TooBig(self.size)


@contextmanager
def packed(job: Job, parent: str, name: str) -> Iterator[Iterator[bytes]]:
    """The folder as a gzipped tar in chunks. Raises Unreadable on leaving when tar failed.

    Links that lead out of the folder stay as they are: in the app's container they lead to the container's own files.
    """
    writer = next(w for w in WRITERS if shutil.which(w[0]))
    tar = ["tar", "-C", parent, "--sort=name", "--hard-dereference", "--numeric-owner", f"--owner={OWNER}"]
    tar += [f"--group={OWNER}", "--mode=ug-s", "-c", "-f", "-", "--", name]
    env = job.environment()
    with (
        open(f"{job.work}/tar.said", "w+b") as said,
        subprocess.Popen(tar, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said) as first,
        subprocess.Popen(writer, env=env, stdin=first.stdout, stdout=subprocess.PIPE, stderr=said) as second,
    ):
        assert first.stdout and second.stdout
        first.stdout.close()
        try:
            yield _chunks(second.stdout.fileno())
        except BaseException:
            first.kill()
            second.kill()
            raise
        if first.wait() or second.wait():
            said.seek(0)
            kept = say.Kept(8192)
            kept.feed(said.read(8192))
            raise Unreadable(kept.first())


def _chunks(pipe: int) -> Iterator[bytes]:
    while chunk := os.read(pipe, program.CHUNK):
        yield chunk
