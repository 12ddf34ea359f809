"""How the build engine is started, as values: dockerd's own configuration, and what it sees of the host."""

import copy
import errno
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from octo import process
from octo.buildengine.disk import EngineDisk
from octo.process import PATH
from octo.sandbox.syscalls import for_docker

USER = "octobuild"
BRIDGE = "198.18.252.1/24"  # of the engine's containers, in its own namespace: a network that is nobody's (RFC 2544)
RUN = "/run/engine"  # in a /run of its own
OOM = 500  # oom_score_adj: the engine goes before any app, and its builds before it
BUILD_OOM = 900


@dataclass(frozen=True)
class Box:
    """What octo/buildengine/box.py is told, and what is noted of a running engine."""

    argv: Sequence[str]
    env: Mapping[str, str]
    folder: str  # must stay visible, with all that lies in it
    disk: str  # image of an ext4 file system
    mounted: str  # where it is mounted
    network: str  # path of a network namespace
    group: str
    folders: Sequence[str]  # of the control group, in each hierarchy
    files: Mapping[str, str]  # path -> text that is seen there instead
    log: str
    oom: int
    pid: int = 0  # of dockerd, once it is there

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Shape:
    folder: Path
    disk: EngineDisk
    dockerd: str
    uids: int  # the first of its users
    nameservers: Sequence[str]


def config(shape: Shape, syscalls: Path, group: str) -> Mapping[str, Any]:
    """dockerd's configuration file. It takes the place of /etc/docker/daemon.json, which is the other engine's.

    No no-new-privileges: root inside is had by `USER root` anyway, and images that build with sudo would break.
    Containers of two builds cannot reach each other (icc), nor forge frames on their bridge (no AF_PACKET).
    """
    (shape.folder / "seccomp.json").write_text(_seccomp(syscalls))
    return {
        "data-root": str(shape.disk.mounted / "docker"),
        "exec-root": RUN,
        "pidfile": "/run/dockerd.pid",
        "hosts": [f"unix://{shape.folder}/docker.sock"],
        "group": "root",
        "bip": BRIDGE,
        "icc": False,
        "userland-proxy": False,
        "userns-remap": USER,
        "seccomp-profile": str(shape.folder / "seccomp.json"),
        "cgroup-parent": f"/{group}/other",
        "exec-opts": ["native.cgroupdriver=cgroupfs"],  # the groups are octo's, also where systemd has all others
        "storage-driver": "overlay2",
        "features": {"containerd-snapshotter": False},
        "log-driver": "none",
        "log-level": "warn",
        "live-restore": False,
        "shutdown-timeout": 2,
    }


def box(shape: Shape, *, network: str, group: str, folders: Sequence[str]) -> Box:
    argv = [shape.dockerd, "--config-file", str(shape.folder / "daemon.json")]
    if _major(shape.dockerd) < 25:  # later ones leave it as it was
        argv += ["--oom-score-adjust", str(OOM)]
    first, resolv = shape.uids, "".join(f"nameserver {n}\n" for n in shape.nameservers)
    return Box(
        argv=argv,
        env={"PATH": f"{Path(shape.dockerd).parent}:{PATH}", "HOME": RUN},
        folder=str(shape.folder),
        disk=str(shape.disk.image),
        mounted=str(shape.disk.mounted),
        network=network,
        group=group,
        folders=folders,
        # dockerd looks its users up in files: these are seen by it alone, and nothing is added to the host's.
        files={
            "/etc/passwd": f"root:x:0:0::/root:/bin/sh\n{USER}:x:{first}:{first}::/:/bin/false\n",
            "/etc/group": f"root:x:0:\n{USER}:x:{first}:\n",
            "/etc/subuid": f"{USER}:{first}:65536\n",
            "/etc/subgid": f"{USER}:{first}:65536\n",
            "/etc/resolv.conf": resolv,
        },
        log=str(shape.folder / "dockerd.log"),
        oom=OOM,
    )


def _major(dockerd: str) -> int:
    found = re.search(r"version (\d+)", process.run([dockerd, "--version"]).text)
    return int(found[1]) if found else 0


def _seccomp(syscalls: Path) -> str:
    """The list of the sandboxes, and what root needs who installs packages.

    chroot: makers of root file systems. And that there is no audit must be told in these very words
    (EPROTONOSUPPORT), or su and useradd give up. Source: audit_open(3).
    """
    policy = copy.deepcopy(dict(for_docker(syscalls)))
    for rule in policy["syscalls"]:
        if rule["action"] == "SCMP_ACT_ERRNO" and "chroot" in rule["names"]:
            rule["names"].remove("chroot")
    netlink = {"index": 0, "value": 16, "op": "SCMP_CMP_EQ"}
    other = {"index": 2, "value": 1, "op": "SCMP_CMP_GE"}
    policy["syscalls"] += [
        {"names": ["chroot"], "action": "SCMP_ACT_ALLOW"},
        {"names": ["socket"], "args": [netlink, other], "action": "SCMP_ACT_ERRNO", "errnoRet": errno.EPROTONOSUPPORT},
    ]
    return json.dumps(policy)
