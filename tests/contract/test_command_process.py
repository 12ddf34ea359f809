"""The warm process behind the commands: without rights, apart, started again, ended."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from octo.daemon.command import Commands
from octo.errors import Unavailable
from tests.contract.command_parts import CHECKOUT, COMMAND_UID, Octo, Said, started
from tests.unit.octo.cli.stub_api import State, descriptors


def status(pid: int, name: str) -> str:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.partition(":")[2].strip() for line in lines if line.startswith(name + ":"))


def test_commands_run_as_nobody_with_no_rights(octo: Octo) -> None:
    octo("version")
    assert octo.commands.pid is not None
    assert set(status(octo.commands.pid, "Uid").split()) == {str(COMMAND_UID)}
    assert set(status(octo.commands.pid, "Gid").split()) == {str(COMMAND_UID)}
    assert status(octo.commands.pid, "Groups") == ""
    assert int(status(octo.commands.pid, "CapPrm"), 16) == 0
    assert status(octo.commands.pid, "NoNewPrivs") == "1"


def test_two_hundred_commands_leave_nothing_behind(octo: Octo) -> None:
    octo("apps")
    assert octo.commands.pid is not None
    warm_fds = Path(f"/proc/{octo.commands.pid}/fd")
    before = descriptors(), len(list(warm_fds.iterdir()))
    assert {octo(*words).code for words in [["apps"], ["xyz"], ["ps", "nosuch"], ["help"]] * 50} == {0, 2, 20}
    after = descriptors(), len(list(warm_fds.iterdir()))
    assert after == before
    children = Path(f"/proc/{octo.commands.pid}/task/{octo.commands.pid}/children")
    assert children.read_text() == ""


def test_commands_of_many_callers_run_side_by_side(octo: Octo) -> None:
    reader, writer = os.pipe()
    with os.fdopen(reader), started(octo, ["logs", "shop", "-t"], [writer, writer, writer]):
        assert octo.state.tails.get(timeout=20) == "open"
        said: list[Said] = []
        threads = [threading.Thread(target=lambda: said.append(octo("apps"))) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [s.code for s in said] == [0] * 20
        os.close(writer)


def test_a_command_learns_nothing_of_another_or_of_octod(octo: Octo) -> None:
    """Its environment and its descriptors are its own, whatever runs beside it."""
    reader, writer = os.pipe()
    with os.fdopen(reader), started(octo, ["logs", "shop", "-t"], [writer, writer, writer]):
        pipe = os.readlink(f"/proc/self/fd/{writer}")
        assert octo.state.tails.get(timeout=20) == "open"
        os.close(writer)
        pid = octo.commands.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        opened = [{n.name: os.readlink(n) for n in Path(f"/proc/{child}/fd").iterdir()} for child in children]
        links = next(of_child for of_child in opened if of_child.get("1") == pipe)
        assert sorted(links) == ["0", "1", "2", "3"]
        assert len({links["0"], links["1"], links["2"]}) == 1
        assert links["3"].startswith("socket:")  # to the API


def test_the_warm_process_is_started_again_when_it_has_died(octo: Octo) -> None:
    octo("version")
    first = octo.commands.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    assert octo("--version").out == "octo 0.1.0\nengine 20.10.24\n"
    assert octo.commands.pid != first


def test_a_command_whose_process_dies_is_not_reported_as_done(octo: Octo) -> None:
    reader, writer = os.pipe()
    mine, octods = socket.socketpair()
    with os.fdopen(reader), mine, octods:

        def kill() -> None:
            octo.state.tails.get(timeout=20)
            assert octo.commands.pid is not None
            os.kill(octo.commands.pid, signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        with pytest.raises(Unavailable, match="its process died"):
            octo.commands.run({}, ["logs", "shop", "-t"], [writer, writer, writer], octods, octo.state.token)
        killer.join()
        os.close(writer)
        assert octo.state.tails.get(timeout=20) == "closed"  # the child died with it


def test_stop_ends_the_warm_process_and_its_children() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        state = State(Path(folder))
        commands = Commands(state.path, COMMAND_UID)
        commands.start()
        pid = commands.pid
        reader, writer = os.pipe()
        with state.serve(), os.fdopen(reader):
            with started(Octo(state, commands), ["logs", "shop", "-t"], [writer, writer, writer]) as codes:
                assert state.tails.get(timeout=20) == "open"
                commands.stop()
                assert state.tails.get(timeout=20) == "closed"
            os.close(writer)
        assert codes.get(timeout=20) in (129, 137)  # on a busy machine it is too late to end by itself
        assert not Path(f"/proc/{pid}").exists()
        with pytest.raises(Unavailable, match="stopping"):
            commands.run({}, ["version"], [0, 1, 2], None, "")


def test_a_warm_process_that_never_starts_is_told(tmp_path: Path) -> None:
    commands = Commands(tmp_path / "api.sock", COMMAND_UID, python="/bin/false")
    with pytest.raises(Unavailable, match="does not start"):
        commands.run({}, ["version"], [0, 1, 2], None, "")
    commands.stop()


def test_no_more_commands_run_at_once_than_allowed(warm: tuple[Commands, Path]) -> None:
    commands = Commands(warm[1] / "api.sock", COMMAND_UID, most=0)
    with pytest.raises(Unavailable, match="too many"):
        commands.run({}, ["version"], [0, 1, 2], None, "")


def test_warm_means_that_a_command_imports_nothing(octo: Octo) -> None:
    script = (
        "import sys, pathlib\n"
        "from octo.cli import warm, perform\n"
        "warm.prepare(None)\n"
        "before = set(sys.modules)\n"
        f"api = pathlib.Path({str(octo.state.path)!r})\n"
        "for words in sys.argv[1:]:\n"
        f"    perform(api, {{'token': {octo.state.token!r}}}, words.split())\n"
        "sys.stderr.write('new: ' + ' '.join(sorted(set(sys.modules) - before)))\n"
    )
    lines = [
        "apps",
        "help",
        "help config:set",
        "config:set shop A=1",
        "xyz",
        "ps",
        "logs shop",
        "keys:add a /x",
        "apps --x",
    ]
    lines += ["releases:info shop", "config:export shop", "version --format json", "domains:add shop ex.com"]
    environment = {"PYTHONPATH": str(CHECKOUT), "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [sys.executable, "-c", script, *lines], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stderr.rpartition("new: ")[2] == ""
