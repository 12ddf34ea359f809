"""An octod that is killed at any moment leaves nothing that goes on, and nothing that the next one does not find."""

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from octo.ports import Ended
from tests.contract.sandbox_parts import CHECKOUT, Bench, Running, bench

# An octod that runs one sandbox, and is killed when it comes to the moment given.
OCTOD = """
import os, signal, sys
from pathlib import Path
from octo import engine, process
from octo.sandbox import cells
from octo.sandbox import loopdisk
from octo.sandbox import streamdoor
from tests.contract.sandbox_parts import Bench
kind, folder, instance, moment, build = sys.argv[1:]
box = Bench(kind, Path(folder), instance)
def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)
def after(owner, name):
    real = getattr(owner, name)
    def dies(*args, **kinds):
        real(*args, **kinds)
        die()
    setattr(owner, name, dies)
if moment == "running":
    pass
elif moment == "attaching":
    box.attached = type("Dies", (), {"append": die})()
else:
    owner, name = moment.split(".")
    owners = {"disk": loopdisk.LoopDisk, "cells": cells.Cells, "door": streamdoor.StreamDoor, "process": process}
    owners["engine"] = engine.Engine
    after(owners[owner], name)
from octo.ports import Streams
script = "echo $$ > %s/up; setsid sleep inf & echo up; exec sleep inf" % ("/app" if build else "/app/repo.git")
spec = box.spec("/bin/sh", "-c", script, id="dead", build=bool(build))
box.sandbox.run(spec, Streams(0, 1, 2))
"""


@pytest.fixture(params=["lxc", "docker"])
def box(request: pytest.FixtureRequest) -> Iterator[Bench]:
    with bench(request.param) as made:
        yield made
        shutil.rmtree(made.folder / "sockets", ignore_errors=True)  # octod makes that folder anew when it starts


def octod(box: Bench, moment: str, *, build: bool) -> "subprocess.Popen[bytes]":
    argv = [sys.executable, "-c", OCTOD, box.kind, str(box.folder), box.instance, moment, "build" if build else ""]
    return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, cwd=CHECKOUT)


def inside(box: Bench) -> list[int]:
    """The processes in the control groups of this octo's sandboxes."""
    found: set[int] = set()
    for top in box.parents():
        for folder, _, _ in os.walk(top):  # which minds no group that goes meanwhile
            with contextlib.suppress(OSError):
                found |= {int(p) for p in Path(folder, "cgroup.procs").read_text().split()}
    return sorted(found)


def wait_for_end(pids: list[int]) -> None:
    for pid in pids:
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        select.select([descriptor], [], [])
        os.close(descriptor)


@pytest.mark.row("C11")
@pytest.mark.parametrize("build", [False, True])
def test_what_runs_ends_by_itself_when_octod_is_killed(box: Bench, build: bool) -> None:
    with octod(box, "running", build=build) as process:
        assert process.stdout and process.stdout.read(3) == b"up\n"
        pids = inside(box)
        assert len(pids) >= 3
        process.kill()
        wait_for_end(pids)
    assert not inside(box)
    assert box.sandbox.sweep(()) == ["dead"] and not [x for x in box.left() if not x.startswith("socket")]
    assert box.sandbox.sweep(()) == []


MOMENTS = ["disk.make", "cells.make", "start", "door.welcome", "attaching", "door.hand"]


@pytest.mark.parametrize("moment", MOMENTS)
def test_what_is_half_made_is_removed_by_the_next_octod(box: Bench, moment: str) -> None:
    if moment == "start":  # LXC's program has only just been started; the container was made but not started
        moment = {"lxc": "process.spawn", "docker": "engine.post"}[box.kind]
    with octod(box, moment, build=True) as process:
        pids: list[int] = []
        assert process.wait() == -signal.SIGKILL
        pids = inside(box)
    if moment != "process.spawn":  # what has just been started may not have got into its group yet
        wait_for_end(pids)
    assert box.sandbox.sweep(("dead",)) == [] and (box.folder / "state/cells/dead").is_dir()
    assert box.sandbox.sweep(()) == ["dead"]
    assert not [x for x in box.left() if not x.startswith("socket")]
    assert box.run(box.spec("/bin/echo", "again", id="dead")).out == "again\n"


def test_what_runs_under_this_octod_is_no_leftover(box: Bench) -> None:
    with Running(box, box.spec("/bin/sh", "-c", "echo up; exec sleep inf")) as running:
        assert box.sandbox.sweep(()) == []
        box.sandbox.stop("b000")
        assert running.wait() == Ended(137)


def test_a_folder_of_another_name_is_left_alone(box: Bench) -> None:
    strange = box.folder / "state" / "cells" / "not-an-id"
    strange.mkdir(parents=True)
    assert box.sandbox.sweep(()) == [] and strange.is_dir()
    strange.rmdir()


def test_a_container_that_only_claims_to_be_one_is_left_alone() -> None:
    with bench("docker") as box:
        words = ["--label", f"octo.instance={box.instance}", "--label", "octo.sandbox=b007"]
        argv = ["docker", "run", "-d", *words, "octo/stack", "sleep", "inf"]
        made = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()
        try:
            assert box.sandbox.sweep(()) == []
        finally:
            subprocess.run(["docker", "rm", "-f", made], capture_output=True, check=True)


def test_a_lost_sandbox_is_removed_whichever_kind_it_was() -> None:
    """An operator changed the setting between two starts."""
    with bench("lxc") as box:
        with octod(box, "running", build=True) as process:
            assert process.stdout and process.stdout.read(3) == b"up\n"
            process.kill()
        assert Bench("docker", box.folder, box.instance).sandbox.sweep(()) == ["dead"]
        shutil.rmtree(box.folder / "sockets")


def test_a_folder_of_sockets_that_is_closed_stays_closed_to_others() -> None:
    with bench("lxc") as box:
        box.shell("true")
        now = Path(box.folder, "sockets").stat()
        assert now.st_mode & 0o777 == 0o710 and now.st_gid == 0x70000000
