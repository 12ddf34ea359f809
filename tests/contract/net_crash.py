"""Makes and removes a network of the builds, and is killed at one point of that: before a program, or half-way in it.

Arguments: INSTANCE SUBNET RESOLV PID, NUMBER of the program. Prints how many there were when it came to the end.
"""

import itertools
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from octo import process
from octo.net.buildnet import BuildNetwork

instance, subnet, resolv, pid, number = sys.argv[1:]
real, calls = process.run, itertools.count(1)


def run(argv: Sequence[str], *, input: bytes = b"", **options: Any) -> process.Finished:
    if next(calls) == int(number):
        lines = input.splitlines(keepends=True)
        if "-batch" in argv and len(lines) > 1:
            real(argv, input=b"".join(lines[: len(lines) // 2]), **options)
        os.kill(os.getpid(), signal.SIGKILL)
    return real(argv, input=input, **options)


process.run = run  # type: ignore[assignment]
network = BuildNetwork(instance, subnet, ["80"], resolv=[Path(resolv)])
network.prepare()
network.attach("a1", int(pid))
network.namespace(f"{instance}-ns")
network.detach("a1")
network.remove_namespace(f"{instance}-ns")
network.clear()
print(next(calls) - 1)
