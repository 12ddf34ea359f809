"""Control groups: version 2 on a tree of plain files, and whichever this machine has for real."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from octo.errors import Unavailable
from octo.ports import Limits
from octo.sandbox.cgroups import ROOT, Cgroups, Events

MB = 1024 * 1024
FORKS = """
import os, time
try:
    while os.fork(): pass
except OSError: print("full", flush=True)
time.sleep(1000)
"""
LIMITS = Limits(256 * MB, 1.5, 64, 60)


@pytest.fixture
def unified(tmp_path: Path) -> Path:
    """What a kernel shows at the top of version 2."""
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu io memory hugetlb pids rdma misc\n")
    for name in ("cgroup.procs", "cgroup.subtree_control"):
        (tmp_path / name).touch()
    return tmp_path


def fill(folder: Path, *names: str) -> None:
    """The files that the kernel puts into a new group."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()


def test_a_unified_group_has_its_limits_and_its_parent_little_weight(unified: Path) -> None:
    fill(unified / "octo-build", "io.weight")
    fill(unified / "octo-build" / "beef", "memory.swap.max")
    group = Cgroups("octo-build", root=unified).make("beef", LIMITS)
    assert group.name == "/octo-build/beef"
    parent = unified / "octo-build"
    assert (unified / "cgroup.subtree_control").read_text() == "+memory +cpu +pids +io"
    assert (parent / "cgroup.subtree_control").read_text() == "+memory +cpu +pids +io"
    assert (parent / "cpu.weight").read_text() == "12" and (parent / "io.weight").read_text() == "default 12"
    files = {f.name: f.read_text() for f in (parent / "beef").iterdir()}
    wanted = {"memory.max": 256 * MB, "memory.swap.max": 0, "cpu.max": "150000 100000", "pids.max": 64}
    assert files == {name: str(value) for name, value in wanted.items()}


def test_a_parent_that_is_not_little_keeps_the_weight_that_the_kernel_gave_it(unified: Path) -> None:
    parent = unified / "octo-receive"
    fill(parent, "io.weight", "cpu.weight")
    Cgroups(parent.name, little=False, root=unified).make("beef", LIMITS)
    assert (parent / "beef" / "pids.max").read_text() == "64"
    assert (parent / "cpu.weight").read_text() == (parent / "io.weight").read_text() == ""


def test_a_unified_group_without_swap_or_io_control_is_one_too(unified: Path) -> None:
    (unified / "cgroup.controllers").write_text("cpu memory pids\n")
    Cgroups("octo-build", root=unified).make("beef", LIMITS)
    assert not (unified / "octo-build" / "beef" / "memory.swap.max").exists()
    assert (unified / "cgroup.subtree_control").read_text() == "+memory +cpu +pids"


def test_events_of_a_unified_group_are_those_of_all_below(unified: Path) -> None:
    top = unified / "octo-build" / "beef"
    fill(top / "ct" / "inner")
    (top / "memory.events").write_text("low 0\nhigh 0\nmax 9\noom 2\noom_kill 3\noom_group_kill 0\n")
    (top / "ct" / "memory.events").write_text("max 9\noom_kill 3\n")  # counted above already
    (top / "ct" / "pids.events").write_text("max 5\n")
    group = Cgroups("octo-build", root=unified).group("beef")
    assert group.events() == Events(oom=3, forks=5, full=True)
    assert Cgroups("octo-build", root=unified).group("dead").events() == Events(0, 0, False)


def test_a_unified_group_is_killed_by_the_kernel(unified: Path) -> None:
    top = unified / "octo-build" / "beef"
    fill(top, "cgroup.kill", "cgroup.procs")
    Cgroups("octo-build", root=unified).group("beef").kill()
    assert (top / "cgroup.kill").read_text() == "1"


def test_a_group_is_removed_with_all_below(unified: Path) -> None:
    (unified / "octo-build" / "beef" / "ct" / "inner").mkdir(parents=True)
    groups = Cgroups("octo-build", root=unified)
    assert groups.list() == ["beef"]
    groups.group("beef").remove()
    groups.group("beef").remove()
    assert groups.list() == []


def test_a_kernel_without_a_controller_is_named(unified: Path) -> None:
    (unified / "cgroup.controllers").write_text("cpu memory\n")
    assert Cgroups("octo-build", root=unified).usable() == 'there is no control group for "pids"'
    with pytest.raises(Unavailable):
        Cgroups("octo-build", root=unified).make("beef", LIMITS)


@pytest.mark.parametrize("name", ["", "..", "a/b", "../x", "a b", ".hidden"])
def test_no_name_leads_out_of_the_tree(unified: Path, name: str) -> None:
    with pytest.raises(ValueError, match="BUG"):
        Cgroups(name, root=unified)
    with pytest.raises(ValueError, match="BUG"):
        Cgroups("octo-build", root=unified).group(name)


@pytest.fixture
def real() -> Iterator[Cgroups]:
    groups = Cgroups(f"octo-t{os.getpid()}-build")
    assert groups.usable() == ""
    yield groups
    for id in groups.list():
        groups.group(id).remove()
    groups.remove()
    assert not list(ROOT.glob(f"**/{groups.name}"))


def joined(groups: Cgroups, id: str, *argv: str) -> "subprocess.Popen[bytes]":
    """A program that runs in a group below the one of that id."""
    tops = {(top / groups.name / id) for top in ([ROOT] if groups.unified else [ROOT / "pids", ROOT / "memory"])}
    for top in tops:
        (top / "ct").mkdir()
    words = "; ".join(f"echo $$ > {top}/ct/cgroup.procs" for top in tops)
    return subprocess.Popen(["/bin/sh", "-c", f'{words}; exec "$@"', "sh", *argv], stdout=subprocess.PIPE)


def test_what_runs_below_a_group_is_held_killed_and_counted(real: Cgroups) -> None:
    group = real.make("beef", Limits(64 * MB, 1, 8, 60))
    with joined(real, "beef", "python3", "-c", FORKS) as program:
        assert program.stdout and program.stdout.readline() == b"full\n"
        assert group.holds(program.pid) and not group.holds(os.getpid())
        assert not real.group("bee").holds(program.pid)
        group.kill()
        assert program.wait() != 0
    assert group.processes() == [] and group.events().forks > 0 and group.events().oom == 0


def test_memory_that_ran_out_is_counted(real: Cgroups) -> None:
    group = real.make("beef", Limits(32 * MB, 1, 8, 60))
    with joined(real, "beef", "python3", "-c", "x = bytearray(200 * 1024 * 1024)") as program:
        assert program.wait() == -9
    assert group.events().oom == 1 and group.events().forks == 0


def test_a_group_of_the_same_name_takes_the_new_limits(real: Cgroups) -> None:
    real.make("beef", LIMITS)
    real.make("beef", Limits(64 * MB, 1, 7, 60))
    top = ROOT if real.unified else ROOT / "pids"
    assert (top / real.name / "beef" / "pids.max").read_text() == "7\n"
