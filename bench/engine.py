"""The docker command, what it is, and the removal of what a bench left in it."""

import json
import os
import platform
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bench.pushes import program


def docker(*words: str) -> str:
    """Raises RuntimeError with the command's own words."""
    done = subprocess.run(
        [program("docker"), *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"cannot go on: docker {words[0]} failed: {done.stderr.strip()}")
    return done.stdout.strip()


def has_buildkit() -> bool:
    """As octo decides it: an engine from 26 on, and buildx."""
    major = int(docker("version", "-f", "{{.Server.Version}}").split(".")[0])
    return (
        major >= 26 and not subprocess.run(["docker", "buildx", "version"], capture_output=True, check=False).returncode
    )


def sweep(*filters: str, images: Sequence[str] = ()) -> None:
    """Remove the containers and networks with these labels, then the images of these repositories."""
    for label in filters:
        for kind, remove in (("container", ("rm", "-f")), ("network", ("rm",))):
            listing = ("ls", "-qa") if kind == "container" else ("ls", "-q")
            ids = docker(kind, *listing, "--filter", f"label={label}").split()
            if ids:
                docker(kind, *remove, *ids)
    for reference in images:
        tags = docker("images", "--format", "{{.Repository}}:{{.Tag}}", "--filter", f"reference={reference}").split()
        if tags:
            docker("rmi", "-f", *tags)


def events(since: float, until: float) -> Sequence[Mapping[str, Any]]:
    """What the engine noted between two moments of the wall clock."""
    out = docker("events", "--since", f"{since:.6f}", "--until", f"{until:.6f}", "--format", "{{json .}}")
    return [json.loads(line) for line in out.splitlines()]


def machine() -> str:
    """One line: what the figures were taken on."""
    server = json.loads(docker("version", "-f", "{{json .Server}}"))
    builder = "BuildKit" if has_buildkit() else "classic builder"
    words = [
        f"{os.cpu_count()} cores",
        f"kernel {platform.release()}",
        f"Docker {server['Version']} ({docker('info', '-f', '{{.Driver}}')}, {builder})",
        f"nginx {_said('nginx', '-v').rpartition('/')[2]}",
        f"git {_said('git', '--version').rpartition(' ')[2]}",
        _said("ssh", "-V").partition(",")[0],
        f"Python {platform.python_version()}",
        f"load {os.getloadavg()[0]:.1f} at the end",
    ]
    return ", ".join(words)


def _said(name: str, *words: str) -> str:
    done = subprocess.run([program(name), *words], capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).strip()


def wait_until(true: Callable[[], bool], seconds: float = 30) -> None:
    """Raises TimeoutError."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise TimeoutError(f"cannot wait any longer than {seconds:.0f} s")
        time.sleep(0.01)
