"""The program ip, and what it says."""

import fcntl
import json
import socket
import struct
from typing import Any

from octo import process
from octo.errors import Unavailable
from octo.process import Finished

GET_FLAGS, GET_ADDRESS = 0x8913, 0x8915  # SIOCGIFFLAGS, SIOCGIFADDR
UP = 1  # IFF_UP

Link = dict[str, Any]  # one interface or route, with the names of `ip -j`


def ip(*words: str) -> Finished:
    return process.run(["ip", *words])


def shown(*words: str) -> list[Link]:
    """What `ip -j` lists; nothing when there is no such thing. Its empty answer has empty objects in some versions."""
    done = ip("-j", *words)
    return [link for link in json.loads(done.out or b"[]") if link] if done.code == 0 else []


def batch(lines: str, what: str, *, within: str = "") -> None:
    """Do the lines in order, up to the first that fails. within: path of a network namespace.

    what: ends the sentence "cannot ...". Raises Unavailable.
    """
    entering = ["nsenter", f"--net={within}"] if within else []
    done = process.run([*entering, "ip", "-batch", "-"], input=lines.encode())
    if done.code:
        raise Unavailable(f"cannot {what}: {done.text}")


def up_as(name: str) -> str:
    """The interface's IPv4 address while it is up, else nothing; 20 microseconds. Source: netdevice(7)."""
    asked = struct.pack("16s24x", name.encode())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        try:
            flags = struct.unpack_from("H", fcntl.ioctl(link, GET_FLAGS, asked), 16)[0]
            address = fcntl.ioctl(link, GET_ADDRESS, asked)[20:24]
        except OSError:  # no such interface, or none of its addresses is IPv4
            return ""
    return socket.inet_ntoa(address) if flags & UP else ""
