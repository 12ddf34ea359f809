"""Holes that octohost had in its host, looked at on a whole octo: what listens, and what containers hold."""

import json
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from tests import apps
from tests.stories.host import Host, Repository

Make = Callable[[Mapping[str, str]], Repository]
LISTEN = "0A"  # of /proc/net/tcp, as the kernel's tcp_states.h has it
SOCKETS = "/var/run/docker.sock /run/docker.sock /run/containerd/containerd.sock"


def test_octo_listens_where_its_settings_say_and_nowhere_else(host: Host, app: str, repository: Make) -> None:
    repository(apps.web("hello")).push()
    assert listening(processes(host)) == {
        ("127.0.0.1", host.ssh_port),
        ("127.0.0.1", host.http_port),
        ("127.0.0.1", host.https_port),
    }


def test_an_app_holds_no_socket_folder_port_or_privilege_of_the_host(host: Host, app: str, repository: Make) -> None:
    repository(apps.web("hello")).push()
    found = json.loads(subprocess.run(["docker", "inspect", *of(host, app)], capture_output=True, check=True).stdout)
    assert len(found) == 1
    for container in found:
        assert container["Mounts"] == [] and not container["NetworkSettings"]["Ports"].get("5000/tcp")
        asked = container["HostConfig"]
        assert (asked["Privileged"], asked["PidMode"], asked["IpcMode"]) == (False, "", "private")
        assert not asked["PortBindings"] and not asked["PublishAllPorts"] and not asked["Devices"]
        assert asked["NetworkMode"] == f"{host.instance}-apps"
    run = host.home / "octo" / "run"
    seen = host.octo("run", "-a", app, "--", f"ls -d {SOCKETS} {run} /etc/passwd 2>/dev/null; true")
    assert seen.strip() == "/etc/passwd"


def of(host: Host, app: str) -> list[str]:
    return [name for name in host.containers() if f"-{app}-" in name]


def processes(host: Host) -> set[int]:
    """All that octod has started on this host, with what nginx has: by their environment, or their parent's."""
    found, parents = set(), {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it ended meanwhile
            pid = int(folder.name)
            parents[pid] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if str(host.home).encode() in (folder / "environ").read_bytes() + (folder / "cmdline").read_bytes():
                found.add(pid)
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def listening(pids: set[int]) -> set[tuple[str, int]]:
    own = {link for pid in pids for link in sockets(pid)}
    return {where for where, inode in listeners() if f"socket:[{inode}]" in own}


def sockets(pid: int) -> Iterator[str]:
    with suppress(OSError):
        for file in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                yield str(file.readlink())


def listeners() -> Iterator[tuple[tuple[str, int], str]]:
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            address, _, port = words[1].partition(":")
            if words[3] == LISTEN:
                plain = len(address) == 8
                ip = socket.inet_ntoa(struct.pack("=I", int(address, 16))) if plain else address
                yield (ip, int(port, 16)), words[9]
