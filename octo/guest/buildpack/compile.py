"""Run the chosen buildpacks in their order: compile, export between them, and release of the last one."""

import os
import shlex
import time
from collections.abc import Mapping, Sequence

from . import declared, program, say
from .choose import OUTPUT, Pack
from .job import Job, Refused

RELEASE_SECONDS = 15.0
_AFTER_EXPORTS = 'while [ "$1" != -- ]; do . "$1"; shift; done; shift; exec "$@"'


def declared_well(job: Job) -> None:
    """Refuse a Procfile that cannot be read before anything takes long."""
    text = declared.text_of(f"{job.source}/Procfile", "Procfile")
    declared.procfile(text or "")


def compile_all(job: Job, packs: Sequence[Pack]) -> None:
    """Raises Refused when one fails, or when all together take longer than they may."""
    env_dir = write_env(job)
    until = time.monotonic() + job.compile_seconds
    exports: list[str] = []
    for pack in packs:
        say.step(pack.headline)
        start = time.monotonic()
        cache = f"{job.cache}/folders/{pack.folder.replace('/', '%')}" if pack.folder else job.cache
        os.makedirs(cache, exist_ok=True)
        build = f"{job.source}/{pack.folder}".rstrip("/")
        argv = [f"{pack.path}/bin/compile", build, cache, env_dir]
        if exports:
            argv = ["bash", "-c", _AFTER_EXPORTS, "bash", *exports, "--", *argv]
        _compile(job, pack, argv, until)
        if os.path.isfile(f"{pack.path}/export"):
            exports.append(f"{pack.path}/export")
        if pack.folder:
            carry_profile(job, pack.folder)
        say.detail(f"compiled in {time.monotonic() - start:.1f} s")


def _compile(job: Job, pack: Pack, argv: Sequence[str], until: float) -> None:
    try:
        ended = program.run(
            argv, env=job.environment(), cwd=job.source, seconds=until - time.monotonic(), out=say.Indented()
        )
    except OSError as error:
        raise Refused(
            f"cannot use the buildpack {say.quoted(pack.source)}: its bin/compile cannot be run: {error.strerror}"
        ) from None
    if ended.late:
        raise Refused(
            f"Push rejected, {pack.name} took too long: it must compile in {job.compile_seconds:.0f} s.",
            f"The limit is `seconds`. Raise it: octo limits:set {job.app} seconds={2 * job.compile_seconds:.0f}",
        )
    if ended.code:
        raise Refused(f"Push rejected, failed to compile {pack.name} app: bin/compile {ended}.")


def write_env(job: Job) -> str:
    """The env dir of API v2: one file per config var, for nobody but the build."""
    folder = f"{job.work}/env"
    os.makedirs(folder, mode=0o700, exist_ok=True)
    for name, value in job.config.items():
        with open(f"{folder}/{name}", "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(value)
    return folder


def carry_profile(job: Job, folder: str) -> None:
    """Let the start scripts of a folder run at the app's start, with that folder as their HOME."""
    there = f"{job.source}/{folder}/.profile.d"
    names = sorted(n for n in os.listdir(there) if n.endswith(".sh")) if os.path.isdir(there) else []
    if not names:
        return
    os.makedirs(f"{job.source}/.profile.d", exist_ok=True)
    home = shlex.quote(f"{job.source}/{folder}")
    lines = ["octo_home=$HOME", f"HOME={home}", *(f". {home}/.profile.d/{shlex.quote(n)}" for n in names)]
    with open(f"{job.source}/.profile.d/{folder.replace('/', '-')}.octo.sh", "w", encoding="utf-8") as file:
        file.write("\n".join([*lines, "HOME=$octo_home", "unset octo_home"]) + "\n")


def released(job: Job, pack: Pack) -> declared.Release:
    """What the buildpack's bin/release says; nothing when it has none."""
    path = f"{pack.path}/bin/release"
    if not os.path.isfile(path):
        return declared.Release({}, {}, [])
    out, target = say.Kept(OUTPUT), f"{job.source}/{pack.folder}".rstrip("/")
    what = f"bin/release of {pack.name}"
    try:
        ended = program.run(
            [path, target], env=job.environment(), cwd=target, seconds=RELEASE_SECONDS, out=out, err=say.Indented()
        )
    except OSError as error:
        raise Refused(f"cannot run {what}: {error.strerror}") from None
    if ended.late or out.over or ended.code:
        why = f"it {ended}"
        if ended.late or out.over:
            why = f"it ran longer than {RELEASE_SECONDS:.0f} s" if ended.late else "it printed more than 64 KB"
        raise Refused(f"cannot go on: {what} failed: {why}")
    try:
        return declared.release(out.text.decode("utf-8"))
    except ValueError as error:
        raise Refused(f"cannot read what {what} printed: {error}") from None


def processes(job: Job, pack: Pack, defaults: Mapping[str, str]) -> dict[str, str]:
    """The process types, told to the pusher: the Procfile's when there is one, else the buildpack's."""
    say.step("Discovering process types")
    text = declared.text_of(f"{job.source}/Procfile", "Procfile")
    if text is not None:
        found = declared.procfile(text)
        say.detail(f"Procfile declares types -> {', '.join(found) or '(none)'}")
    else:
        start = f"cd {shlex.quote(pack.folder)} && " if pack.folder else ""
        found = {name: start + command for name, command in defaults.items()}
        say.detail(f"Default types for {pack.name} -> {', '.join(found) or '(none)'}")
    if not found and job.procfile_required:
        raise Refused(
            f"cannot tell what to run: there is no Procfile, and {pack.name} has no default for this app"
            if text is None
            else "cannot tell what to run: the Procfile declares no process type",
            "Add a file named Procfile at the top of the repository with a line such as web: ./start",
        )
    return found
