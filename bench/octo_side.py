"""octo as it is: octod with a home, an instance, a subnet and ports of its own."""

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from bench import engine
from bench.place import ENGINE_FOLDER, STACKS
from bench.pushes import Clone, Visitor
from tests.stories.host import Host, UnixHTTP

PASSED_ON = ("OCTO_ENGINE", "OCTO_STACK", "OCTO_BUILDER", "OCTO_SANDBOX")


class Octo:
    """A story's host under another name; `down` leaves nothing of it, images included."""

    def __init__(self, name: str, subnet: str, builds: str, **settings: str) -> None:
        """subnet: of the apps. builds: subnet of the builds."""
        given = {key: os.environ[key] for key in PASSED_ON if key in os.environ}
        places = {"OCTO_STACKS": str(STACKS), "OCTO_BUILD_ENGINE": str(ENGINE_FOLDER)}
        self.host = Host(
            OCTO_INSTANCE=name, OCTO_SUBNET=subnet, OCTO_BUILD_NETWORK=builds, **places, **given, **settings
        )
        self.host.instance = name
        self.name = name
        self.socket = self.host.home / "octo" / "run" / "api.sock"

    def start(self) -> None:
        self.host.start()
        self.host.octo("keys:add", "ann", given=self.host.key.with_suffix(".pub").read_text())

    def down(self) -> None:
        try:
            self.host.down()
        finally:
            engine.sweep(f"octo.instance={self.name}", images=(f"{self.name}/*", f"{self.name}-stages/*"))

    @property
    def pid(self) -> int:
        assert self.host.daemon
        return self.host.daemon.pid

    def clone(self, app: str, files: Callable[[str], Mapping[str, str]]) -> Clone:
        made = Clone(
            self.host.home / f"clone-{app}",
            self.host.url(app),
            self.host.ssh_command(),
            files,
            self.host.http_port,
            f"{app}.localhost",
        )
        made.make()
        return made

    def roll_back(self, clone: Clone, greeting: str, app: str) -> float:
        """Seconds until a visitor sees the greeting of the release before."""
        visitor = clone.see(greeting)
        try:
            start = time.monotonic()
            self.host.octo("rollback", "-a", app)
            took = visitor.wait() - start
        finally:
            visitor.leave()
        clone.shows = greeting
        return took

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The API, as the operator."""
        with contextlib.closing(UnixHTTP(self.socket)) as link:
            link.request(method, path, json.dumps(body) if body is not None else None)
            answer = link.getresponse()
            text = answer.read()
        if answer.status >= 400:
            raise RuntimeError(f"cannot {method} {path}: {answer.status} {text.decode()[:300]}")
        return json.loads(text)

    def create_apps(self, names: Sequence[str]) -> None:
        with ThreadPoolExecutor(32) as pool:  # side by side they share reloads
            list(pool.map(lambda name: self.ask("POST", "/apps", {"name": name}), names))

    def add_domain(self, app: str, domain: str) -> float:
        """Seconds from the request until the host is known to nginx; the domain is gone afterwards."""
        visitor = Visitor(self.host.http_port, domain, lambda answer: bool(answer) and b" 404 " not in answer[:16])
        try:
            start = time.monotonic()
            self.ask("POST", f"/apps/{app}/domains", {"hostname": domain})
            took = visitor.wait() - start
        finally:
            visitor.leave()
        self.ask("DELETE", f"/apps/{app}/domains/{domain}")
        return took

    def helpers(self) -> dict[str, list[int]]:
        """The pids that octod started, by what they are."""
        found: dict[str, list[int]] = {"ssh door": [], "warm commands": [], "nginx": []}
        nginx = f" -p {self.host.home}/octo/nginx/ "
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError, IndexError):
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                if nginx in line and "master" in line:
                    found["nginx"] += [int(entry.name), *_children(int(entry.name))]
                elif parent == self.pid:
                    found["ssh door" if "ssh_door" in line else "warm commands"].append(int(entry.name))
        return found


def _children(pid: int) -> Sequence[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def resident(pids: Sequence[int]) -> float:
    """VmRSS of all of them together, in MB."""
    return sum(_status(pid, "VmRSS") for pid in pids) / 1024


def _status(pid: int, key: str) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(f"{key}:"):
                return int(line.split()[1])
    return 0


def processor(pids: Sequence[int]) -> float:
    """Seconds of CPU that these have used, all threads."""
    total = 0
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            with contextlib.suppress(OSError):
                total += int(task.read_text().split()[0])
    return total / 1e9


def command(argv: Sequence[str], env: dict[str, str]) -> float:
    """Milliseconds of a whole process."""
    start = time.perf_counter()
    done = subprocess.run(
        argv, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False
    )
    took = time.perf_counter() - start
    if done.returncode:
        raise RuntimeError(f"cannot go on: {argv[1:]} ended with {done.returncode}: {done.stderr.decode()[:300]}")
    return took * 1000
