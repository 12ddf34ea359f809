"""TCP as the kernel lists it. Source of the format: proc_net_tcp.txt in the kernel's documentation."""

import socket
import struct
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from octo.runoptions import ANY

ESTABLISHED, SYN_SENT, LISTEN = 0x01, 0x02, 0x0A


@dataclass(frozen=True)
class Socket:
    local_port: int
    local_ip: str  # "::" any of IPv6, and with it any of IPv4; "" one of IPv6 alone
    remote: str  # "address:port"; "" for IPv6
    state: int
    queued: int  # bytes sent that the other side has not taken yet
    uid: int
    inode: int


def sockets() -> Iterator[Socket]:
    """Every TCP socket of this network namespace."""
    for name in ("tcp", "tcp6"):
        try:
            lines = Path("/proc/net", name).read_text().splitlines()[1:]
        except FileNotFoundError:  # a kernel without IPv6
            continue
        yield from map(_socket, lines)


def _socket(line: str) -> Socket:
    words = line.split()
    local_port = int(words[1].rpartition(":")[2], 16)
    state, queued = int(words[3], 16), int(words[4].partition(":")[0], 16)
    local_ip = _local(words[1].partition(":")[0])
    return Socket(local_port, local_ip, _address(words[2]), state, queued, int(words[7]), int(words[9]))


def _local(text: str) -> str:
    if not text.strip("0") and len(text) == 32:
        return "::"
    mapped = text[24:] if text.startswith("0" * 16 + "FFFF0000") else text
    return _address(f"{mapped}:0").partition(":")[0]


def _address(text: str) -> str:
    address, _, port = text.partition(":")
    if len(address) != 8:
        return ""
    return f"{socket.inet_ntoa(struct.pack('=I', int(address, 16)))}:{int(port, 16)}"


def socket_inodes(pid: int) -> frozenset[int]:
    """The sockets that a process holds; none when it has ended."""
    found = set()
    try:
        for link in Path(f"/proc/{pid}/fd").iterdir():
            held = _link(link)
            if held.startswith("socket:["):
                found.add(int(held[8:-1]))
    except OSError:
        pass
    return frozenset(found)


def holder(port: int, uid: int) -> str | None:
    """Who else than `uid` listens on the port, in words; None when nobody does."""
    inodes = {s.inode for s in sockets() if s.state == LISTEN and s.local_port == port and s.uid != uid}
    return who(inodes) if inodes else None


def in_the_way(ip: str, port: int) -> Iterator[Socket]:
    """Listeners beside which nobody else can listen at that address."""
    for s in sockets():
        overlaps = s.local_ip in (ip, ANY, "::") or (ip == ANY and s.local_ip != "")
        if s.state == LISTEN and s.local_port == port and overlaps:
            yield s


def who(inodes: Collection[int]) -> str:
    """The process that has one of these sockets, in words."""
    inodes = set(inodes)
    for pid in (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()):
        if inodes & socket_inodes(pid):
            return f"{_name(pid)} (pid {pid})"
    return "another process"


def _name(pid: int) -> str:
    try:
        text = Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return "a process"
    return "".join(c for c in text if c.isprintable())


def _link(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:
        return ""
