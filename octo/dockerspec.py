"""Networks and containers in the Docker engine's terms, and its answers read: values in, values out."""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from typing import Any

from octo.ports import ContainerSpec, Running

PIDS = 1024
DROPPED = ("NET_RAW", "MKNOD", "AUDIT_WRITE")  # of the engine's default set: spoofing, devices, the audit log
LOG = {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "2"}}

_RESOLVER = "127.0.0.11"  # the engine's own DNS server listens inside every container of a user's network
_LISTEN = "0A"  # TCP_LISTEN, include/net/tcp_states.h
_PORTS = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?(?:/(tcp|udp|sctp))?(?::\{\})?")


def network(name: str, instance: str, subnet: IPv4Network) -> Mapping[str, Any]:
    """The body of /networks/create: containers of this network cannot reach each other."""
    pool = {
        "Subnet": str(subnet),
        "IPRange": str(dynamic_slice(subnet)),
        "Gateway": str(subnet.network_address + 1),
    }
    return {
        "Name": name,
        "Driver": "bridge",
        "CheckDuplicate": True,
        "IPAM": {"Driver": "default", "Config": [pool]},
        "Labels": {"octo.instance": instance},
        "Options": {
            "com.docker.network.bridge.name": bridge(instance),
            "com.docker.network.bridge.enable_icc": "false",
        },
    }


def bridge(instance: str) -> str:
    """A name for the bridge; the kernel allows 15 characters (IFNAMSIZ)."""
    short = f"br-{instance}"
    return short if len(short) <= 15 else "br-" + hashlib.sha256(instance.encode()).hexdigest()[:12]


def dynamic_slice(subnet: IPv4Network) -> IPv4Network:
    """The addresses that the engine gives by itself: the first /24 of a /16; octo allots the rest."""
    bits = max(subnet.prefixlen + 1, min(subnet.prefixlen + 8, 28))
    return next(subnet.subnets(new_prefix=bits))


def allottable(subnet: IPv4Network) -> Iterator[str]:
    first = int(dynamic_slice(subnet).broadcast_address) + 1
    return (str(IPv4Address(n)) for n in range(first, int(subnet.broadcast_address)))


def container(
    spec: ContainerSpec, instance: str, network: str, mounts: Sequence[Mapping[str, Any]], *, interactive: bool
) -> Mapping[str, Any]:
    """The body of /containers/create. mounts: spec.mounts as HostConfig.Mounts has them."""
    fixed = {"IPAMConfig": {"IPv4Address": spec.address}} if spec.address else {}
    return {
        "Image": spec.image,
        "Env": [f"{k}={v}" for k, v in spec.env.items()],
        **({"Cmd": ["/bin/sh", "-c", spec.command]} if spec.command is not None else {}),
        **({"Hostname": spec.hostname} if spec.hostname else {}),
        "Labels": labels(spec, instance),
        "Tty": spec.tty,
        "OpenStdin": interactive,
        "StdinOnce": interactive,  # the container's stdin ends with ours
        "AttachStdin": interactive,
        "AttachStdout": interactive,
        "AttachStderr": interactive,
        "HostConfig": {**_host(spec, network), "Mounts": list(mounts)},
        "NetworkingConfig": {"EndpointsConfig": {network: fixed}},
    }


def _host(spec: ContainerSpec, network: str) -> Mapping[str, Any]:
    memory = {"Memory": spec.memory, "MemorySwap": spec.memory} if spec.memory else {}
    return {
        "NetworkMode": network,
        "RestartPolicy": {"Name": "no"},
        "Init": True,
        "LogConfig": LOG,
        "CapDrop": list(DROPPED),
        "SecurityOpt": ["no-new-privileges"],
        "PidsLimit": PIDS,
        **memory,
    }


def labels(spec: ContainerSpec, instance: str) -> Mapping[str, str]:
    """Every label that octo reads, so that none of an image's own LABELs shows through."""
    return {
        "octo.instance": instance,
        "octo.name": spec.name,
        "octo.app": spec.app,
        "octo.release": str(spec.release),
        "octo.process": spec.process,
        "octo.index": str(spec.index),
        "octo.address": spec.address or "",
    }


def running(found: Mapping[str, Any], instance: str, network: str) -> Running | None:
    """Read an inspection; None when the container is not this octo's by label, name and the label of its name."""
    name, given = found["Name"].removeprefix("/"), found["Config"].get("Labels") or {}
    if given.get("octo.instance") != instance or given.get("octo.name") != name or not name.startswith(f"{instance}-"):
        return None
    if not (given.get("octo.release", "").isdecimal() and given.get("octo.index", "").isdecimal()):
        return None
    state, joined = found["State"], found["NetworkSettings"].get("Networks") or {}
    return Running(
        id=found["Id"],
        name=name,
        app=given.get("octo.app", ""),
        release=int(given["octo.release"]),
        process=given.get("octo.process", ""),
        index=int(given["octo.index"]),
        address=_address(joined.get(network) or {}),
        state=state["Status"],
        exit_code=state["ExitCode"],
        oom=state["OOMKilled"],
        started_at=max(0.0, datetime.fromisoformat(state["StartedAt"]).timestamp()),  # year 1 when never started
        image=found["Image"],
    )


def _address(end: Mapping[str, Any]) -> str:
    """The fixed address, which a stopped container keeps, else the one it has now."""
    return str((end.get("IPAMConfig") or {}).get("IPv4Address") or end.get("IPAddress") or "")


def listeners(table: str) -> Iterator[tuple[str, int]]:
    """The listening (address, port) pairs of /proc/net/tcp or tcp6, without the engine's own."""
    for line in table.splitlines()[1:]:
        _, local, _, state, *_ = line.split()
        host, _, port = local.partition(":")
        if state == _LISTEN and _host_of(host) != _RESOLVER:
            yield _host_of(host), int(port, 16)


def _host_of(text: str) -> str:
    """Addresses stand there as words of 4 bytes, each in the machine's order: little endian wherever octo runs."""
    raw = b"".join(bytes.fromhex(text[i : i + 8])[::-1] for i in range(0, len(text), 8))
    if len(raw) == 4:
        return str(IPv4Address(raw))
    return str(IPv6Address(raw).ipv4_mapped or IPv6Address(raw))


def exposed_ports(config: Mapping[str, Any]) -> frozenset[int]:
    return frozenset(int(p.split("/")[0]) for p in config.get("ExposedPorts") or {} if p.endswith("/tcp"))


def in_order(ports: frozenset[int], history: Sequence[Mapping[str, Any]]) -> tuple[int, ...]:
    """Put EXPOSEd ports in the order of their instructions, those of the image's own Dockerfile before its base's.

    Within one instruction the lowest comes first: the classic builder and BuildKit both keep it sorted as text.
    Config has lost the order altogether. `history` is the engine's, newest first.
    """
    own = next((i for i, layer in enumerate(history) if i and layer.get("Tags")), len(history))
    order: list[int] = []
    for layers in (history[:own], history[own:]):
        for layer in reversed(layers):
            words = str(layer.get("CreatedBy", "")).split("EXPOSE ", 1)
            order += sorted(_expanded(words[1] if len(words) == 2 else ""))
    known = dict.fromkeys(p for p in order if p in ports)
    return (*known, *sorted(ports - known.keys()))


def _expanded(text: str) -> Iterable[int]:
    """The TCP ports of "5000 80/tcp", "9000-9002", "map[70/tcp:{}]" and "[5000/tcp]"."""
    for word in text.removeprefix("map").strip("[]").split():
        found = _PORTS.fullmatch(word)
        if found and found[3] in (None, "tcp"):
            yield from range(int(found[1]), int(found[2] or found[1]) + 1)
