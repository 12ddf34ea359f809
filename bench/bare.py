"""The bare tools that the sandboxes are made of, with the options that the sandboxes have."""

import json
import os
import platform
import re
import subprocess
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import engine
from bench.by_hand import LABEL
from bench.pushes import program
from octo.sandbox import syscalls
from octo.sandbox.cgroups import Cgroups
from octo.settings import CHECKOUT
from octo.specs import Limits

POLICY = CHECKOUT / "lxc" / "syscalls.toml"


class Bare:
    """name: the instance of octo's own sandboxes, in whose control group these run too.

    Each method gives what starts the tool once, and returns the seconds until the command's first byte.
    """

    def __init__(self, folder: Path, name: str, image: str, user: int, limits: Limits, argv: Sequence[str]) -> None:
        self._folder, self._name, self._image, self._user = folder, name, image, user
        self._limits, self._argv = limits, argv

    def lxc(self, config: Path, *, filtered: bool) -> Callable[[], float]:
        """config: one that octo wrote. filtered: LXC puts the list of system calls in force."""
        name = "filtered" if filtered else "bare"
        mine = self._folder / f"{name}.conf"
        # octo's first process is not here to use the folder of its socket; one must be mounted all the same.
        sockets = self._folder / "sockets"
        sockets.mkdir(mode=0o711, exist_ok=True)
        text = re.sub(r"\S+ run/octo ", f"{sockets} run/octo ", config.read_text())
        # The parent is octo's own: its weight counts on a busy machine.
        lines = [re.sub(r"-receive/\w+/", f"-receive/{name}/", line) for line in text.splitlines()]
        lines += _limits(self._limits)
        if filtered:
            rules = self._folder / f"{name}.seccomp"
            rules.write_text("\n".join(("2", "allowlist", f"[{platform.machine()}]", *policy())) + "\n")
            lines.append(f"lxc.seccomp.profile = {rules}")
        mine.write_text("\n".join(lines) + "\n")
        state = self._folder / "lxc-state"
        state.mkdir(exist_ok=True)
        where = ("-n", f"{self._name}-{name}", "-P", str(state), "-f", str(mine))
        argv = [program("lxc-execute"), *where, "--", *self._argv]
        return lambda: first_byte(argv, {"PATH": "/nowhere"})

    def docker(self, repository: Path) -> Callable[[], float]:
        """The options of octo/adapters/sandbox_docker.py."""
        limits, user = self._limits, self._user
        rules = self._folder / "rules.json"
        rules.write_text(json.dumps(syscalls.for_docker(POLICY)))
        tmp = f"/tmp:rw,nosuid,nodev,noexec,size={limits.tmp},nr_inodes=50000,uid={user},gid={user},mode=0700"
        argv = [
            *(program("docker"), "run", "--rm", "--network", "none", "--ipc", "none", "--read-only"),
            *("--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--security-opt", f"seccomp={rules}"),
            *("--cgroup-parent", self._parent(), "--oom-score-adj", "500", "--memory", str(limits.memory)),
            *(
                "--memory-swap",
                str(limits.memory),
                "--cpus",
                f"{limits.cpus:g}",
                "--pids-limit",
                str(limits.pids),
                "--log-driver",
                "none",
            ),
            *("--ulimit", f"nofile={min(1024, limits.open_files)}:{limits.open_files}", "--ulimit", "core=0"),
            *("--tmpfs", tmp, "--user", f"{user}:{user}", "--label", f"{LABEL}={self._name}", "--workdir", "/"),
            *("--mount", f"type=bind,source={repository},target=/app/repo.git"),
            *("--mount", f"type=bind,source={CHECKOUT}/octo/guest,target=/octo,readonly"),
            *("--entrypoint", self._argv[0], self._image, *self._argv[1:]),
        ]
        return lambda: first_byte(argv, dict(os.environ))

    def _parent(self) -> str:
        """Octo's own group, whose weight counts on a busy machine."""
        slices = engine.docker("info", "-f", "{{.CgroupDriver}}") == "systemd"
        return f"{self._name}receive.slice" if slices else f"/{self._name}-receive"


def first_byte(argv: Sequence[str], env: Mapping[str, str]) -> float:
    """Seconds; returns when the program has ended."""
    start = time.monotonic()
    with subprocess.Popen(
        argv, env=dict(env), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
    ) as running:
        assert running.stdout and running.stderr
        told = running.stdout.read(1)
        took = time.monotonic() - start
        _, said = running.communicate()
    if not told or running.returncode:
        raise RuntimeError(f"cannot measure {argv[0]}: it ended with {running.returncode}: {said.decode()[:500]}")
    return took


def _limits(limits: Limits) -> Iterator[str]:
    cpus = int(limits.cpus * 100_000)
    if Cgroups("octo").unified:
        given = {
            "memory.max": limits.memory,
            "memory.swap.max": 0,
            "pids.max": limits.pids,
            "cpu.max": f"{cpus} 100000",
        }
        return (f"lxc.cgroup2.{key} = {value}" for key, value in given.items())
    old = {"memory.limit_in_bytes": limits.memory, "pids.max": limits.pids, "cpu.cfs_quota_us": cpus}
    return (f"lxc.cgroup.{key} = {value}" for key, value in old.items())


def policy() -> Iterator[str]:
    """The list of system calls in LXC's words. What is in no list it kills for: that takes it no longer."""
    given = tomllib.loads(POLICY.read_text())
    for list_, action in (("allow", ""), ("refuse", " errno 1"), ("absent", " errno 38")):
        for line in given[list_]:
            yield from (f"{call}{action}" for call in line.split())
    for rule in given["when"]:
        if "errno" not in rule:
            yield f"{rule['call']} allow {' '.join(map(_argument, rule['arguments']))}"


def _argument(given: Mapping[str, Any]) -> str:
    if "mask" in given:
        return f"[{given['index']},{given['mask']},SCMP_CMP_MASKED_EQ,{given['equals']}]"
    return f"[{given['index']},{given['equals']},SCMP_CMP_EQ]"
