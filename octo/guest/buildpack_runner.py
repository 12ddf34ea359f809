"""Build an app with buildpacks, inside a build sandbox: the files of the push in, a slug out.

stdin   a line of JSON, the header; then the tar of the sources, and more tars behind it
stdout  a line of JSON, the result (mode "buildpack"), or the tar of the tree, submodules included (mode "source")
stderr  text for the pusher
exit    0 done · 1 refused, the pusher has been told why · 70 octo's own fault

Header (mode is required, the rest has defaults):
  mode "buildpack" or "source" · app, commit, stack: names, for messages and the buildpacks' environment
  config: {name: value}, the env dir · buildpacks: [URL or name of a built-in one], empty: .buildpacks, else detection
  submodules: [[path, commit, URL]], URL "" when .gitmodules has none, null when its files come in a tar
  fetch_seconds: of one try of three · detect_seconds · compile_seconds: of all buildpacks together
  slug_mb, cache_mb: the most that is stored · procfile_required: refuse an app without any process type (default)
  insecure_fetch: http:// and git:// too · root: goes before every path; for tests

Result: {"buildpack": name of the last one, "buildpacks": [URL without credentials, or name], "processes": {type:
command}, "config": {defaults of bin/release}, "addons": [...], "slug": {"bytes", "unpacked", "files"}, "cache":
{"fetched", "stored", ...}, "took": {step: seconds}}. All of it is as the pushed code wants it: octod checks it.

/app is the build folder, as it is later in the app's container, so that absolute paths stay right. /work has the rest:
cache, buildpacks (private, writable copies), env. CACHE_GET_URL, CACHE_PUT_URL and SLUG_PUT_URL are asked over
octod's socket; a cache or slug is PUT again up to two times when octod breaks off or answers 5xx.
Copied into the sandbox with the folder beside it; standard library only.
"""

import errno
import json
import os
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .buildpack import cache, choose, compile, ignored, job, program, say, slug, source
else:
    sys.path.append(os.path.dirname(os.path.abspath(__file__)))
    from buildpack import cache, choose, compile, ignored, job, program, say, slug, source

took: dict[str, float] = {}


def main() -> int:
    result = os.dup(1)  # nothing else may write there
    os.dup2(2, 1)
    os.umask(0o022)
    try:
        line, begin = header()
        order = job.read(line)
        program.adopt()
        for folder in (order.work, f"{order.work}/tmp"):
            os.makedirs(folder, exist_ok=True)
        with timed("unpack"):
            source.unpack(order, begin)
        with timed("submodules"):
            source.install(order)
        if order.mode == "source":
            source.hand_out(order, result)
        else:
            program.write(result, json.dumps(build(order)).encode() + b"\n")
    except job.Refused as refusal:
        for text in refusal.lines:
            say.error(text)
        return 1
    return 0


def header() -> tuple[bytes, bytes]:
    """The first line of stdin, and what came with it."""
    text = b""
    while b"\n" not in text:
        chunk = os.read(0, 64 * 1024)
        text += chunk
        if not chunk or len(text) > job.MAX_HEADER:
            raise ValueError("there is no header")
    line, _, rest = text.partition(b"\n")
    return line, rest


def build(order: job.Job) -> dict[str, object]:
    """Everything after the sources; the result."""
    with timed("cache"):
        fetched = cache.restore(order, os.environ["CACHE_GET_URL"])
        before = cache.mark(order)
    compile.declared_well(order)
    with timed("buildpacks"):
        packs = choose.choose(order)
    with timed("compile"):
        compile.compile_all(order, packs)
    with timed("release"):
        release = compile.released(order, packs[-1])
        processes = compile.processes(order, packs[-1], release.processes)
    with timed("slug"):
        ignored.ignore(order)
        size = slug.push(order, os.environ["SLUG_PUT_URL"])
    say.step(f"Compiled slug size is {say.size(size.bytes)} ({took['slug']:.1f} s)")
    with timed("store"):
        kept = cache.keep(order, os.environ["CACHE_PUT_URL"], before)
    return {
        "buildpack": packs[-1].name,
        "buildpacks": [pack.source for pack in packs],
        "processes": processes,
        "config": release.config,
        "addons": release.addons,
        "slug": size._asdict(),
        "cache": {"fetched": fetched, **kept},
        "took": {name: round(seconds, 3) for name, seconds in took.items()},
    }


@contextmanager
def timed(name: str) -> Iterator[None]:
    start = time.monotonic()
    yield
    took[name] = time.monotonic() - start


def run() -> int:
    try:
        return main()
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            say.error("cannot go on: the disk of the build is full")
            return 1
        say.error(f"octo: the build broke off, which is not the app's fault: {type(error).__name__}: {error}")
        traceback.print_exc()
        return 70


if __name__ == "__main__":
    sys.exit(run())
