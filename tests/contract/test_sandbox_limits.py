"""The limits of sandboxes: each holds, and how it ended says which one struck."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from octo.ports import Ended, Strike
from tests.contract.sandbox_parts import CGROUPS, MB, Bench, Running, bench, with_limits

BOMB = """
import os, sys, time
count = 1
while True:
    try:
        if not os.fork(): time.sleep(1000)
    except OSError: sys.exit(f"{count} processes")
    count += 1
"""
THREADS = """
import sys, threading
count = 1
while True:
    try: threading.Thread(target=threading.Event().wait, daemon=True).start()
    except RuntimeError: sys.exit(f"{count} threads")
    count += 1
"""
FILES = """
import os
for number in range(10**6):
    open(f"{}/{number}", "w").close()
"""


@pytest.fixture(params=["lxc", "docker"])
def box(request: pytest.FixtureRequest) -> Iterator[Bench]:
    with bench(request.param) as made:
        yield made


@pytest.mark.row("C4")
@pytest.mark.parametrize("script", [BOMB, THREADS])
@pytest.mark.parametrize("build", [False, True])
def test_a_fork_bomb_ends_at_the_limit(box: Bench, script: str, build: bool) -> None:
    ran = box.python(script, build=build)
    assert ran.ended == Ended(1, Strike.PIDS) and 50 < int(ran.err.split()[0]) < 64


@pytest.mark.row("C4")
def test_a_fork_bomb_that_goes_on_is_ended_whole(box: Bench) -> None:
    limits = with_limits(seconds=3, pids=200)
    assert box.shell("bomb() { bomb | bomb & }; bomb; while :; do :; done", limits=limits).ended.code in (2, 124)
    assert not box.left()


@pytest.mark.row("C4")
@pytest.mark.parametrize("build", [False, True])
def test_a_memory_hog_ends_at_the_limit(box: Bench, build: bool) -> None:
    hog = "x = bytearray(200 * 1024 * 1024); print('held')"
    assert box.python(hog, build=build, limits=with_limits(memory=64 * MB)).ended == Ended(137, Strike.MEMORY)
    assert box.python(hog, build=build).out == "held\n"


@pytest.mark.row("C4")
def test_a_memory_hog_below_the_program_is_named_too(box: Bench) -> None:
    """As with `make`: the compiler is killed, and make ends with a code of its own."""
    script = "python3 -c 'x = bytearray(200 * 1024 * 1024)' || exit 2"
    assert box.shell(script, build=True, limits=with_limits(memory=64 * MB)).ended == Ended(2, Strike.MEMORY)


def test_what_tmp_holds_counts_as_memory(box: Bench) -> None:
    limits = with_limits(memory=64 * MB, tmp=256 * MB)
    assert box.shell("exec cat /dev/zero > /tmp/x", build=True, limits=limits).ended == Ended(137, Strike.MEMORY)


@pytest.mark.row("C4")
@pytest.mark.parametrize("folder", ["/app", "/work"])
def test_a_full_disk_ends_at_the_limit(box: Bench, folder: str) -> None:
    before = os.statvfs(box.folder).f_bavail * os.statvfs(box.folder).f_frsize
    ran = box.shell(f"cat /dev/zero > {folder}/x; stat -c %s {folder}/x; exit 3", build=True)
    assert ran.ended == Ended(3, Strike.DISK) and "No space left" in ran.err
    assert 32 * MB <= int(ran.out) < 40 * MB and before - _free(box.folder) < 1000 * MB


@pytest.mark.row("C4")
@pytest.mark.parametrize("folder", ["/app", "/work"])
def test_too_many_files_end_at_the_limit(box: Bench, folder: str) -> None:
    ran = box.python(FILES.replace("{}", folder, 1).replace("{}", "{}"), build=True)
    assert ran.ended == Ended(1, Strike.FILES) and "No space left" in ran.err
    assert 1900 < int(ran.err.rsplit("/", 1)[1].split("'")[0]) < 2300


@pytest.mark.row("C4")
@pytest.mark.parametrize("build", [False, True])
def test_tmp_has_an_end_in_bytes_and_files(box: Bench, build: bool) -> None:
    ran = box.shell("cat /dev/zero > /tmp/x; stat -c %s /tmp/x", build=build)
    assert int(ran.out) == 32 * MB and "No space left" in ran.err
    ran = box.python(FILES.replace("{}", "/tmp", 1), build=build, limits=with_limits(memory=512 * MB))
    assert ran.ended.code == 1 and 45_000 < int(ran.err.rsplit("/", 1)[1].split("'")[0]) <= 50_000


def test_the_processor_is_shared_out(box: Bench) -> None:
    script = "import time; a = time.time(); s = time.process_time()\nwhile time.process_time() - s < 0.5: pass\n"
    ran = box.python(script + "print(time.time() - a)", limits=with_limits(cpus=0.25))
    assert float(ran.out) > 1.5


def test_open_files_have_a_limit(box: Bench) -> None:
    script = "import resource; resource.setrlimit(7, (100, 100)); resource.setrlimit(7, (5000, 5000))"
    assert "ValueError" in box.python(script, limits=with_limits(open_files=200)).err


def test_a_program_that_ends_well_met_no_limit(box: Bench) -> None:
    assert box.shell("cat /dev/zero > /app/x 2>/dev/null; exit 0", build=True).ended == Ended(0)
    assert box.shell("exit 9", build=True).ended == Ended(9)


@pytest.mark.row("C4")
@pytest.mark.parametrize("build", [True, False])
def test_its_group_has_the_limits_and_the_parent_of_builds_little_weight(box: Bench, build: bool) -> None:
    if (CGROUPS / "cgroup.controllers").exists():
        wanted = {"memory.max": 256 * MB, "memory.swap.max": 0, "pids.max": 64, "cpu.max": "100000 100000"}
        folders, weight, shares = [CGROUPS], "cpu.weight", 12 if build else 100
    else:
        wanted = {"memory.limit_in_bytes": 256 * MB, "pids.max": 64, "cpu.cfs_quota_us": 100_000}
        folders, weight, shares = [CGROUPS / c for c in ("memory", "cpu", "pids")], "cpu.shares", 128 if build else 1024
    parent = f"{box.instance}-{'build' if build else 'receive'}"
    with Running(box, box.spec("/bin/sh", "-c", "echo up; exec sleep inf", build=build)):
        for file, value in wanted.items():
            assert [f.read_text().strip() for f in _at(folders, f"{parent}/b000/{file}")] == [str(value)]
        assert [int(f.read_text()) for f in _at(folders, f"{parent}/{weight}")] == [shares]


def _at(folders: list[Path], file: str) -> list[Path]:
    return [f / file for f in folders if (f / file).exists()]


def _free(folder: Path) -> int:
    now = os.statvfs(folder)
    return now.f_bavail * now.f_frsize
