"""What a hostile program tries in a step of a Dockerfile, as root there: what it gets is no more than its container."""

from pathlib import Path

import pytest

from tests.contract.engine_parts import FROM, Bench
from tests.contract.test_sandbox_harm import TRICKS

# Root's rights over its own container: packages are installed with them. Nobody outside is that root.
OWN = {"bounding set", "securebits", "file capability", "setuid", "setgroups", "chown", "raw"}
ITS_FIRST_PROCESS = {f"{what} of 1" for what in ("environment", "descriptors", "root", "memory")}
OF_ITS_OWN = ('attempt("chroot"', 'attempt("ptrace"')  # these would change what the attempts behind them mean


@pytest.mark.row("C2", "C3")
def test_no_trick_leads_out_of_a_dockerfiles_step(bench: Bench) -> None:
    tricks = "".join(line for line in TRICKS.splitlines(keepends=True) if not line.startswith(OF_ITS_OWN))
    bench.build({"Dockerfile": (FROM + "COPY t /\nRUN python3 /t\n").encode(), "t": tricks.encode()})
    lines = [line.rsplit(" ", 1) for line in bench.output.decode().splitlines() if line]
    came = {words[0]: words[1] for words in lines if len(words) == 2 and (words[1] == "DONE" or words[1][0] == "E")}
    assert len(came) > 80, bench.output
    assert {what for name, what in came.items() if name.startswith("call:")} == {"EPERM", "ENOSYS"}, came
    done = {name for name, what in came.items() if what == "DONE"}
    assert done <= {*OWN, *ITS_FIRST_PROCESS, *([] if may_raise_floors() else ["oom"])}, done


def may_raise_floors() -> bool:
    """Whether who runs octo here can also forbid that a step makes itself more precious again: CAP_SYS_RESOURCE."""
    status = Path("/proc/self/status").read_text()
    return bool(int(status.partition("CapEff:")[2].split(maxsplit=1)[0], 16) >> 24 & 1)
