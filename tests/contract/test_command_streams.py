"""The caller's own streams: logs, run, terminals, and who hangs up."""

import os
import tempfile
import termios
from pathlib import Path

import pytest

from octo.daemon.command import Commands
from tests.contract.command_parts import Octo, Said, read_until, started, terminal
from tests.unit.octo.cli.stub_api import State


def test_logs_are_shown_as_they_are_and_clean_for_a_caller_from_afar(octo: Octo) -> None:
    octo.state.logs = [b"t app[web.1]: a\x1b[2J\x1b[31mred\n", b"t app[web.1]: " + b"x" * 200_000 + b"\n"]
    octo.state.seen.clear()
    said = octo("logs", "shop", "-n", "5", "-p", "web")
    assert said.out.encode() == b"".join(octo.state.logs)
    assert octo.state.seen[0][2] == {"lines": 5, "tail": False, "dyno": "web"}
    assert octo("logs", "shop", fields={"from": "192.0.2.1"}).out.startswith("t app[web.1]: a\x1b[31mred\n")


def test_a_caller_who_hangs_up_ends_the_command(octo: Octo) -> None:
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as out:
        with started(octo, ["logs", "shop", "-t"], [writer, writer, writer]) as codes:
            assert octo.state.tails.get(timeout=20) == "open"
            os.close(writer)
            assert out.readline() == octo.state.logs[0]
        assert codes.get(timeout=20) == 130
        assert octo.state.tails.get(timeout=20) == "closed"
        assert out.read() == b""  # the child, which held the other end, is dead


def test_a_reader_who_goes_away_ends_the_command_quietly(octo: Octo) -> None:
    octo.state.logs *= 10_000
    reader, writer = os.pipe()
    os.close(reader)
    with tempfile.TemporaryFile() as err:
        code = octo.commands.run({}, ["logs", "shop"], [0, writer, err.fileno()], None, octo.state.token)
        err.seek(0)
        assert (code, err.read()) == (1, b"")
    os.close(writer)


def test_a_stream_that_somebody_made_non_blocking_is_waited_for(octo: Octo) -> None:
    octo.state.logs *= 10_000
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with os.fdopen(reader, "rb") as out, started(octo, ["logs", "shop"], [0, writer, 2]) as codes:
        first = out.readline()
        os.close(writer)
        assert len(first + out.read()) == 10_000 * len(octo.state.logs[0])
        assert codes.get(timeout=20) == 0


def test_a_terminal_is_not_steered_and_gets_colour(octo: Octo) -> None:
    octo.state.logs = [b"a\x1b[2J\x1b]0;t\x07b\xc2\x9b2J\n"]
    octo.state.config["shop"]["A"] = "a\x1b[2Jb"
    with terminal() as (master, slave):
        streams = [slave, slave, slave]
        for words, shown in [
            (["logs", "shop"], b"ab2J\r\n"),
            (["config:get", "shop", "A"], b"ab\r\n"),
            (["status"], b"shop: \x1b[32mOK\x1b[0m\r\n"),
        ]:
            assert octo.commands.run({"term": "xterm"}, words, streams, None, octo.state.token) == 0
            assert read_until(master, b"\n") == shown


def test_on_a_terminal_the_name_is_asked_for(octo: Octo) -> None:
    with terminal() as (master, slave), started(octo, ["apps:destroy", "shop"], [slave, slave, slave]) as codes:
        read_until(master, b"Type its name to go on: ")
        os.write(master, b"shop\n")
        read_until(master, b"Destroyed shop.")
        assert codes.get(timeout=20) == 0


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (["-a", "shop", "ls", "-l", "a b"], "ls -l 'a b'"),
        (["shop", "--", "echo $HOME"], "echo $HOME"),
        (["-a", "shop", "--", "ls", "--no-tty"], "ls --no-tty"),
        (["--no-tty", "-a", "shop", "ls", "--", "x"], "ls -- x"),
    ],
)
def test_run_hands_its_streams_over_and_ends_as_the_process_does(
    warm: tuple[Commands, Path], words: list[str], command: str
) -> None:
    def attach(streams: list[int]) -> str:
        os.write(streams[1], os.read(streams[0], 100).upper())
        os.write(streams[2], b"warning")
        return "exit 42"

    commands, folder = warm
    state = State(folder)
    for path in (state.path, state.attach):
        path.unlink(missing_ok=True)
    with state.serve(attach):
        assert Octo(state, commands)("run", *words, stdin=b"hello") == Said(42, "HELLO", "warning")
    assert state.seen == [("POST", "/apps/shop/dynos", {"command": command, "attach": True, "tty": False})]


@pytest.mark.row("I9")
def test_run_on_a_terminal_is_raw_and_puts_it_back(warm: tuple[Commands, Path]) -> None:
    modes: list[object] = []

    def attach(streams: list[int]) -> str:
        modes.append(termios.tcgetattr(streams[0])[3] & (termios.ICANON | termios.ECHO | termios.ISIG))
        return "exit 0"

    commands, folder = warm
    state = State(folder)
    for path in (state.path, state.attach):
        path.unlink(missing_ok=True)
    with state.serve(attach), terminal() as (_, slave):
        termios.tcsetwinsize(slave, (33, 111))
        before = termios.tcgetattr(slave)
        assert commands.run({}, ["run", "-a", "shop", "bash"], [slave, slave, slave], None, "") == 0
        assert termios.tcgetattr(slave) == before
    assert modes == [0]
    assert state.seen[0][2] == {"command": "bash", "attach": True, "tty": True, "rows": 33, "columns": 111}
