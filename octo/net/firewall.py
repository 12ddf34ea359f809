"""The rules of the builds' network in the kernel: two nft tables of octo's own, and two rules beside Docker's."""

import logging
import re
import shutil
import socket
import struct
from collections.abc import Iterable, Sequence

from octo import process
from octo.errors import Unavailable
from octo.net import netrules
from octo.net.netrules import Plan

log = logging.getLogger(__name__)

NETLINK_NETFILTER = 12
GET_GENERATION = (10 << 8) | 16  # NFNL_SUBSYS_NFTABLES, NFT_MSG_GETGEN


class Firewall:
    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._loaded: Sequence[bytes] = ()  # how nft lists what was loaded

    def put(self, nameservers: Iterable[str], uplinks: Iterable[str]) -> None:
        """Put the rules in place, all at once; at no moment are there fewer than before. Raises Unavailable."""
        _nft(netrules.rules(self._plan, nameservers, uplinks))
        self._loaded = self._listed()
        for rule in netrules.missing_accepts(_accepts(), self._plan.bridge):
            _iptables("-I", rule)

    def problems(self) -> Sequence[str]:
        """What is not as `put` left it, a sentence each.

        Compared with what nft listed then: each version writes the same rules in its own way.
        """
        found = []
        if not self._loaded or self._listed() != self._loaded:
            found.append("the rules of nft are not those of octo")
        if netrules.missing_accepts(_accepts(), self._plan.bridge):
            found.append("iptables does not let the builds pass")
        return found

    def clear(self) -> None:
        for rule in netrules.our_accepts(_accepts(), self._plan.bridge):
            _iptables("-D", rule)
        _nft(netrules.no_rules(self._plan))
        self._loaded = ()

    def _listed(self) -> Sequence[bytes]:
        """Sorted words, as a set has no order; nothing when a table is missing."""
        words: list[bytes] = []
        for family in ("inet", "bridge"):  # nft 1.0 finds only one of two families in one call
            done = process.run(["nft", "-s", "list", "table", family, self._plan.bridge])
            if done.code:
                return ()
            words += re.split(rb"[\s,]+", done.out)
        return sorted(words)


def generation() -> int:
    """A number that is another one after every change of any nft rule, in 50 microseconds instead of nft's 5000.

    Source: include/uapi/linux/netfilter/nf_tables.h: NFT_MSG_GETGEN, answered by NFTA_GEN_ID in big endian.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as link:
        link.send(struct.pack("=IHHIIBBH", 20, GET_GENERATION, 1, 1, 0, 0, 0, 0))
        answer = link.recv(4096)
    return int.from_bytes(answer[24:28], "big")


def _nft(script: str) -> None:
    done = process.run(["nft", "-f", "-"], input=script.encode())
    if done.code:
        raise Unavailable(
            f"cannot filter the network of the builds: {done.text}", hint="Look at the output of: nft list tables"
        )


def _accepts() -> str:
    """What iptables lists; nothing where it is not installed or of no use: then nothing of it stands in the way."""
    if not shutil.which("iptables", path=process.PATH):
        return "-P FORWARD ACCEPT"
    done = process.run(["iptables", "-w", "10", "-S"])
    return done.out.decode("utf-8", "replace") if done.code == 0 else "-P FORWARD ACCEPT"


def _iptables(verb: str, rule: str) -> None:
    done = process.run(["iptables", "-w", "10", verb, *rule.split()])
    if done.code:
        log.warning("cannot change iptables (%s %s): %s", verb, rule, done.text)
