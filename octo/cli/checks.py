"""What `octo doctor` finds out by itself when octod is not there."""

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from octo.cli.client import Json, UnixConnection, Unreachable
from octo.errors import OctoError
from octo.settings import Settings

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
MIN_FREE_SHARE, MIN_FREE_BYTES = 0.10, 2 * 1024**3
GB = 1024**3
LISTEN = "0A"  # of /proc/net/tcp


def examine(settings: Settings, away: Unreachable, problem: OctoError | None) -> Sequence[Json]:
    found = [_finding("octod", False, away.message, away.hint)]
    if problem:
        found.append(_finding("settings", False, problem.message, problem.hint or "Correct it."))
    found.append(_engine(settings))
    found += [_program(name) for name in ("nginx", "git")]
    found.append(_folder(settings.home))
    found.append(_disk(settings.home))
    found += [_port(port, settings) for port in (settings.ssh_port, settings.http_port, settings.https_port) if port]
    return found


def _finding(check: str, ok: bool, detail: str, hint: str = "") -> Json:
    return {"check": check, "ok": ok, "detail": detail, "hint": hint}


def _engine(settings: Settings) -> Json:
    import json

    connection = UnixConnection(settings.engine, 5)
    try:
        connection.request("GET", "/version")
        answer = json.loads(connection.getresponse().read())
        return _finding("engine", True, f"Docker {answer['Version']}")
    except (OctoError, OSError, ValueError, KeyError):
        allowed = not settings.engine.exists() or os.access(settings.engine, os.R_OK | os.W_OK)
        hint = "Start it: sudo ./setup demo" if allowed else "Run it with sudo."
        return _finding("engine", False, f"no Docker engine answers at {settings.engine}", hint)
    finally:
        connection.close()


def _program(name: str) -> Json:
    found = shutil.which(name, path=PATH)
    return _finding(name, found is not None, found or "it is not installed", "Run: sudo ./setup prerequisites")


def _folder(home: Path) -> Json:
    if not home.exists():
        return _finding("folder", True, f"{home} is not made yet")
    mode = home.stat().st_mode & 0o777
    if not os.access(home, os.W_OK):
        return _finding("folder", False, f"you may not write to {home}", "Run it with sudo.")
    closed = not mode & 0o022
    return _finding("folder", closed, f"{home}, mode {mode:o}", f"Run: chmod go-w {home}")


def _disk(home: Path) -> Json:
    there = next(folder for folder in (home, *home.parents) if folder.exists())
    usage = shutil.disk_usage(there)
    enough = usage.free >= MIN_FREE_BYTES and usage.free >= MIN_FREE_SHARE * usage.total
    detail = f"{usage.free / GB:.1f} of {usage.total / GB:.1f} GB free at {there}"
    return _finding("disk", enough, detail, "Free some space: docker system df shows what the engine holds.")


def _port(port: int, settings: Settings) -> Json:
    inodes = set(_listening(port))
    if not inodes:
        return _finding(f"port {port}", True, "free")
    pid, line = _holder(inodes)
    if str(settings.home) in line:  # nginx goes on without octod
        return _finding(f"port {port}", True, f"octo's own: process {pid}")
    shown = f"process {pid} ({line.split(' ')[0][:60]})" if pid else "a process of somebody else"
    ports = ("ssh_port", "http_port", "https_port")
    name = next(name for name in ports if getattr(settings, name) == port)
    return _finding(f"port {port}", False, f"in use by {shown}", f"Stop it, or set OCTO_{name.upper()} to a free port.")


def _listening(port: int) -> Iterator[str]:
    """Inodes of the sockets that listen there. Source: proc(5), /proc/net/tcp."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for fields in map(str.split, lines):
            if fields[3] == LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                yield fields[9]


def _holder(inodes: set[str]) -> tuple[str, str]:
    """The pid and command line of who has one of the sockets open; empty when we may not see it."""
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if any(os.readlink(fd) in wanted for fd in (folder / "fd").iterdir()):
                return folder.name, (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue
    return "", ""
