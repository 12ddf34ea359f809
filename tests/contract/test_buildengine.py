"""The engine of the Dockerfile builds: how it comes, goes and mends, and that the host does not notice."""

import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from octo.buildengine.engine import BuildEngine
from octo.errors import OctoError, Unavailable
from octo.specs import GB
from tests.contract.docker_parts import ENGINE, WORKER
from tests.contract.engine_parts import place

NAME = f"octo-t{WORKER}-en"
LOOK = (
    "ip -o addr",
    "ip route show table all",
    "ip link show type bridge",
    "iptables -S",
    "iptables -t nat -S",
    "nft list tables",
)
FILES = ("/etc/passwd", "/etc/group", "/etc/subuid", "/etc/subgid", "/etc/resolv.conf", "/proc/self/mountinfo")
# What the tests beside this one have: octo's own, and the containers of the main engine.
# "dev if7": an interface that went while it was being looked at.
OTHERS = re.compile(
    r"octo|/pytest-|\bdev if\d|02:6f"
    r"|\bob[0-9a-f]{6}|veth|br-|overlay|nsfs|/run/netns|/dev/loop|10\.21\d\.|172\.\d+\.0\.[2-9]"
)


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="engine-", dir="/tmp"))
    made.chmod(0o711)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def engine(folder: Path) -> Iterator[BuildEngine]:
    with place(NAME, folder, disk=2 * GB) as made:
        yield made


def pid(engine: BuildEngine) -> int:
    return int(engine.root().parent.name)


def running(engine: BuildEngine) -> bool:
    try:
        engine.engine.get("version")
    except OctoError:
        return False
    return True


def host() -> set[str]:
    """What somebody else's things on this machine look like."""
    seen = {line for file in FILES for line in Path(file).read_text().splitlines()}
    for words in LOOK:
        text = subprocess.run(words.split(), capture_output=True, text=True, check=True).stdout
        seen |= {f"{words}: {line.split('state')[0].split(' <')[0]}" for line in text.splitlines()}
    seen |= {f"network {n['Name']} {n['Id']}" for n in ENGINE.get("networks")}
    seen |= {f"main engine {ENGINE.get('info')['ID']} {Path('/var/run/docker.sock').stat().st_ino}"}
    return {line for line in seen if not OTHERS.search(line)}


def test_the_host_is_the_same_while_it_runs_and_when_it_is_gone(folder: Path) -> None:
    before = host()
    assert any("docker0" in line for line in before), "it looks"
    with place(NAME, folder, disk=2 * GB) as engine:
        with engine.use():
            assert running(engine)
            assert host() ^ before == set()
        engine.clear()
        assert not running(engine)
        assert host() ^ before == set()
        assert not list(Path("/sys/fs/cgroup").glob(f"*/{NAME}-engine"))
        assert {f.name for f in folder.iterdir()} <= {
            "data", "disk.img", "dockerd.log", "seccomp.json", "start.lock", "users.lock", "tests.lock", "others.lock",
        }  # fmt: skip
        assert not list((folder / "data").iterdir()), "its disk is mounted nowhere"
    assert not Path(f"/run/netns/{NAME}-engine").exists()


def test_it_sees_neither_the_network_nor_the_sockets_of_the_host(engine: BuildEngine) -> None:
    with engine.use():
        root = engine.root()
        assert os.stat(root.parent / "ns/net").st_ino != os.stat("/proc/self/ns/net").st_ino
        assert not (root / "run/docker.sock").exists()
        assert not (root / "run/containerd").exists() or not list((root / "run/containerd").glob("*.sock"))
        links = subprocess.run(
            ["nsenter", f"--net={root.parent}/ns/net", "ip", "-br", "link"], capture_output=True, text=True, check=True
        ).stdout
        assert {line.split("@")[0].split()[0] for line in links.splitlines()} == {"lo", "eth0", "docker0"}


def test_the_host_would_kill_it_before_an_app_and_its_memory_has_an_end(engine: BuildEngine) -> None:
    with engine.use():
        assert int((engine.root().parent / "oom_score_adj").read_text()) == 500
        group = engine.cgroups.group("engine")
        assert pid(engine) in group.processes()
        limits = [Path("/sys/fs/cgroup/memory") / group.name[1:] / "memory.limit_in_bytes"]
        limits += [Path("/sys/fs/cgroup") / group.name[1:] / "memory.max"]
        assert [int(f.read_text()) for f in limits if f.exists()] == [GB]


@pytest.mark.parametrize("victim", ["dockerd", "containerd"])
def test_one_that_was_killed_comes_again(engine: BuildEngine, victim: str) -> None:
    with engine.use() as api:
        first = pid(engine)
        api.post("containers", "prune")
        killed = first if victim == "dockerd" else child(first)
        os.kill(killed, signal.SIGKILL)
        gone(killed)
    with engine.use() as api:
        assert api.get("containers", "json", query={"all": True}) == []
        assert (pid(engine) == first) is (victim == "containerd"), "dockerd starts its containerd again by itself"


def child(parent: int) -> int:
    (found,) = (int(p) for p in Path(f"/proc/{parent}/task/{parent}/children").read_text().split())
    return found


def gone(pid: int) -> None:
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    assert poll.poll(10_000)
    os.close(descriptor)


def test_a_note_of_a_process_that_is_somebody_elses_by_now_kills_nobody(engine: BuildEngine) -> None:
    with engine.use():
        note = (engine.folder / "engine.json").read_text()
        number = pid(engine)
    engine.close()
    (engine.folder / "engine.json").write_text(note.replace(f'"pid": {number}', f'"pid": {os.getpid()}'))
    with engine.use():
        assert pid(engine) not in (number, os.getpid())


def test_the_last_of_several_octods_stops_it(engine: BuildEngine, folder: Path) -> None:
    with place(f"{NAME}2", folder, disk=2 * GB) as other:
        with engine.use(), other.use():
            assert pid(engine) == pid(other)
        engine.close()
        assert running(other)
        other.close()
        assert not running(other)


def test_it_is_stopped_when_nobody_has_needed_it_for_a_while(folder: Path) -> None:
    with place(NAME, folder, disk=2 * GB, idle=0.05) as engine:
        with engine.use():
            number = pid(engine)
        gone(number)


def test_what_an_octod_that_was_killed_left_running_is_taken_on_and_stopped(engine: BuildEngine, folder: Path) -> None:
    script = f"""
import os, signal
from pathlib import Path
from tests.contract.engine_parts import GB, place
with place({NAME!r}, Path({str(folder)!r}), disk=2 * GB) as engine, engine.use():
    os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parents[2], check=False)
    assert done.returncode == -signal.SIGKILL
    assert running(engine)
    number = pid(engine)
    assert engine.adopt()
    assert pid(engine) == number
    engine.close()
    assert not running(engine)
    assert not engine.adopt()


def test_a_disk_that_was_broken_is_made_anew(engine: BuildEngine) -> None:
    with engine.use():
        pass
    engine.close()
    with (engine.folder / "disk.img").open("r+b") as disk:
        disk.write(bytes(64 * 1024 * 1024))
    with engine.use() as api:
        assert api.get("images", "json") == []


def test_why_it_cannot_start_is_told(engine: BuildEngine) -> None:
    engine._dockerd = "/bin/false"
    with pytest.raises(Unavailable, match="cannot start the build engine"), engine.use():
        raise AssertionError
    engine._dockerd = ""
    with engine.use():
        assert running(engine)


def test_prewarming_starts_it_behind_the_callers_back(engine: BuildEngine) -> None:
    engine.prewarm()
    with engine.use():
        assert running(engine)
