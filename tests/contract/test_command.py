"""The command line as a caller meets it: a real warm process, real descriptors, a stand-in for the API behind it."""

import contextlib
import json
import os
import pty
import queue
import select
import signal
import socket
import subprocess
import sys
import tempfile
import termios
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from octo.daemon.command import Commands
from octo.errors import Unavailable
from tests.unit.octo.cli.stub_api import State, descriptors

COMMAND_UID = 59203
CHECKOUT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str


@dataclass
class Octo:
    """The API's state, and the way to run commands against it."""

    state: State
    commands: Commands

    def __call__(self, *words: str, stdin: bytes = b"", fields: Mapping[str, str] | None = None) -> Said:
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            given.write(stdin)
            given.seek(0)
            streams = [given.fileno(), out.fileno(), err.fileno()]
            code = self.commands.run({"user": "ann", **(fields or {})}, words, streams, None, self.state.token)
            texts = []
            for file in (out, err):
                file.seek(0)
                texts.append(file.read().decode("utf-8", "surrogateescape"))
            return Said(code, texts[0], texts[1])

    def asked(self, *words: str) -> list[tuple[str, str, object]]:
        """What the API was asked for these words, which must succeed."""
        self.state.seen.clear()
        said = self(*words)
        assert (said.code, said.err) == (0, ""), said
        return [request for request in self.state.seen if request[0] != "GET"] or self.state.seen


@pytest.fixture(scope="module")
def warm() -> Iterator[tuple[Commands, Path]]:
    """One warm process for all tests here; the API's state is each test's own."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        commands = Commands(Path(folder) / "api.sock", COMMAND_UID)
        commands.start()
        try:
            yield commands, Path(folder)
        finally:
            commands.stop()


@pytest.fixture
def octo(warm: tuple[Commands, Path]) -> Iterator[Octo]:
    commands, folder = warm
    state = State(folder)
    for path in (state.path, state.attach):
        path.unlink(missing_ok=True)
    state.token = "t0ken"
    with state.serve():
        yield Octo(state, commands)


# --- what is said ----------------------------------------------------------------------------------------


def test_apps_are_listed_in_columns(octo: Octo) -> None:
    octo.state.config["a-long-name"] = {}
    assert octo("apps").out.splitlines() == [
        "NAME         RELEASE  URL",
        "shop         v2       http://shop.localhost:8080",
        "a-long-name  v2       http://a-long-name.localhost:8080",
    ]


LISTS = [
    "apps", "apps:info shop", "config shop", "config:get shop A", "domains shop", "keys", "ps shop", "ps:scale shop",
    "releases shop", "releases:info shop v1", "builds shop", "builds:info shop b1", "status", "doctor", "version",
]  # fmt: skip


@pytest.mark.parametrize("line", LISTS)
def test_every_list_and_report_is_there_as_json(octo: Octo, line: str) -> None:
    octo.state.config["shop"]["A"] = "1"
    said = octo(*line.split(), "--format", "json")
    assert said.err == ""
    assert json.loads(said.out) is not None
    assert octo(*line.split()).err == "" or line == "keys"


@pytest.mark.parametrize("line", ["apps", "keys", "config shop", "config:export shop"])
def test_an_empty_list_says_so_on_stderr_only(octo: Octo, line: str) -> None:
    if line == "apps":
        octo.state.config.clear()
    said = octo(*line.split())
    assert (said.code, said.out, said.err.count("\n")) == (0, "", 1)


def test_an_app_is_made_shown_renamed_and_destroyed(octo: Octo) -> None:
    assert "git remote add octo ssh://git@localhost:2222/blog.git" in octo("apps:create", "blog").out
    assert "owner:   ann\n" in octo("info", "blog").out
    assert octo("apps:rename", "blog", "news").out.startswith("Renamed blog to news")
    assert octo("apps:destroy", "news", "--confirm", "news") == Said(0, "Destroyed news.\n", "")
    assert "news" not in octo.state.config


def test_nothing_is_destroyed_without_its_name_given_again(octo: Octo) -> None:
    for words in (["apps:destroy", "shop"], ["destroy", "-a", "shop", "--confirm", "shp"]):
        said = octo(*words, stdin=b"shop\n")
        assert said.code == 2
        assert "--confirm shop" in said.err
    assert "shop" in octo.state.config


@pytest.mark.row("L12")
@pytest.mark.parametrize(
    ("words", "body"),
    [
        (["-a", "shop", "A=1", "B=x y"], {"A": "1", "B": "x y"}),
        (["shop", "A=1"], {"A": "1"}),
        (["A=1", "--app", "shop"], {"A": "1"}),
        (["shop/A", "one"], {"A": "one"}),
        (["shop/A", "--privileged"], {"A": "--privileged"}),
        (["shop/A", "-a", "--no-restart"], {"A": "-a"}),
        (["-a", "shop", "A=-1", "B="], {"A": "-1", "B": ""}),
        (["shop/A", 'a:"b"@\nc'], {"A": 'a:"b"@\nc'}),
    ],
)
def test_config_set_takes_both_traditions_and_the_value_as_it_is(
    octo: Octo, words: list[str], body: dict[str, str]
) -> None:
    octo.state.seen.clear()
    assert octo("config:set", *words).err == ""
    restart = "" if "--no-restart" not in words else "?restart=0"
    assert octo.state.seen == [("PATCH", f"/apps/shop/config-vars{restart}", body)]


def test_config_set_shows_the_deploy_and_is_silent_without_one(octo: Octo) -> None:
    assert octo("config:set", "shop", "A=1") == Said(0, "-----> Deploying v3\n=====> shop v3 serves\n", "")
    assert octo("config:set", "shop", "A=2", "--no-restart") == Said(0, "", "")
    said = octo("config:set", "shop", "A=3", "--format", "json")
    assert json.loads(said.out) == {"A": "3"}
    assert said.err == "-----> Deploying v3\n=====> shop v3 serves\n"


@pytest.mark.row("L13")
def test_config_get_prints_the_raw_value_and_fails_for_none(octo: Octo) -> None:
    octo.state.config["shop"]["A"] = "x \x1b[2J\ny"
    for words in (["-a", "shop", "A"], ["shop", "A"], ["shop/A"]):
        assert octo("config:get", *words) == Said(0, "x \x1b[2J\ny\n", "")
    assert octo("config:get", "shop", "B") == Said(1, "", "")


@pytest.mark.row("L14")
@pytest.mark.parametrize("words", [["-a", "shop", "A", "B"], ["shop", "A", "B"], ["shop/A", "shop/B"]])
def test_config_unset_removes_keys(octo: Octo, words: list[str]) -> None:
    octo.state.config["shop"] = {"A": "1", "B": "2", "C": "3"}
    assert octo("config:rm", *words, "--no-restart") == Said(0, "", "")
    assert octo.state.config["shop"] == {"C": "3"}


def test_config_export_can_be_read_by_a_shell(octo: Octo) -> None:
    values = {"A": "1", "B": 'it\'s $HOME `x` "y"', "C": "two\nlines", "D": ""}
    octo.state.config["shop"] = values
    script = octo("config:export", "shop").out + 'printf "%s|" "$A" "$B" "$C" "$D"'
    done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "|".join(values.values()) + "|"
    assert "export A='1'\n" in script
    assert json.loads(octo("config:export", "shop", "--format", "json").out) == values
    assert "line break" in octo("config:export", "shop", "--format", "env").err


def test_domains_are_added_and_removed(octo: Octo) -> None:
    assert octo("domains:add", "shop", "WWW.example.com").out == "Added www.example.com to shop.\n"
    assert octo("domains", "-a", "shop").out.splitlines()[2].startswith("www.example.com  2026-11-20 21:56:00 UTC")
    assert octo("domains:remove", "-a", "shop", "www.example.com").code == 0
    assert octo.state.domains["shop"] == []


@pytest.mark.parametrize("host", ["a b.com", "a.test; return 200", "{a,b}.test", "1.2.3.4", "*.test"])
def test_a_bad_domain_is_refused_before_anything_is_sent(octo: Octo, host: str) -> None:
    assert octo("domains:add", "-a", "shop", "good.test", host).code == 2
    assert octo.state.domains["shop"] == []


def test_a_key_comes_by_standard_input_or_from_a_file_that_all_may_read(octo: Octo, tmp_path: Path) -> None:
    octo.state.seen.clear()
    assert octo("keys:add", "ann", stdin=b"ssh-ed25519 AAAA me\n").out == "Added the key SHA256:ab/c+ of ann.\n"
    assert octo.state.seen[0][2] == {"public_key": "ssh-ed25519 AAAA me\n", "user": "ann"}
    readable = octo.state.path.parent / "id.pub"
    readable.write_text("ssh-rsa BBBB")
    assert octo("keys:add", "bob", str(readable)).code == 0
    assert octo("keys:remove", "SHA256:ab/c+").out.startswith("Removed the key SHA256:ab/c+")
    assert octo.state.seen[-1][1] == "/account/keys/SHA256%3Aab%2Fc%2B"


@pytest.mark.parametrize("file", ["id.pub", "/nowhere/id.pub", "/etc/shadow", "/dev/zero", "/", "/root/\0"])
def test_a_key_file_that_cannot_be_read_is_told_how_to_be_given(octo: Octo, file: str) -> None:
    said = octo("keys:add", "ann", file)
    assert said.code == 1
    assert "octo keys:add ann < FILE" in said.err
    assert octo.state.keys == []


def test_no_file_of_the_server_is_read_for_a_caller_from_afar(octo: Octo) -> None:
    assert octo("keys:add", "ann", "/etc/passwd", fields={"from": "192.0.2.1"}).code == 1
    assert octo.state.keys == []


def test_processes_are_shown_and_scaled(octo: Octo) -> None:
    assert octo("ps", "shop").out.splitlines()[1].endswith("2026-11-20 21:56:00 UTC  run it")
    assert octo.asked("ps:scale", "shop", "web=2", "worker=1") == [
        (
            "PATCH",
            "/apps/shop/formation",
            {"updates": [{"type": "web", "quantity": 2}, {"type": "worker", "quantity": 1}]},
        )
    ]
    assert octo("scale", "-a", "shop").out.splitlines()[1:] == ["web     2         x", "worker  1         x"]


@pytest.mark.parametrize(
    ("line", "path"),
    [
        ("ps:restart shop", "/apps/shop/dynos"),
        ("ps:restart shop web", "/apps/shop/dynos/web"),
        ("restart -a shop web", "/apps/shop/dynos/web"),
    ],
)
def test_restart_takes_an_app_and_a_type(octo: Octo, line: str, path: str) -> None:
    assert octo.asked(*line.split()) == [("DELETE", path, None)]


def test_steps_arrive_clean_and_in_their_form(octo: Octo) -> None:
    assert octo("ps:restart", "shop").out == "-----> Restarting shop\n       web.1\n       a\n       b\n"


def test_what_fails_on_the_way_is_told_with_its_hint(octo: Octo) -> None:
    said = octo("ps:start", "shop")
    assert said == Said(
        1, "-----> Starting\n", " !     web.1 died\n !     cannot start: it died\n       See octo logs.\n"
    )
    assert octo("ps:stop", "shop").out == "Stopped shop.\n"


@pytest.mark.parametrize(("words", "version"), [(["shop"], 2), (["shop", "v1"], 1), (["-a", "shop", "1"], 1)])
def test_one_release_is_shown(octo: Octo, words: list[str], version: int) -> None:
    said = octo("releases:info", *words)
    assert f"release:        v{version}\n" in said.out
    assert "took start:     1.2 s\n" in said.out


@pytest.mark.row("I10")
@pytest.mark.parametrize(("words", "body"), [(["shop"], {}), (["shop", "v1"], {"release": "v1"})])
def test_rollback_goes_to_one_release_or_to_the_one_before(octo: Octo, words: list[str], body: dict[str, str]) -> None:
    assert octo.asked("rollback", *words) == [("POST", "/apps/shop/releases", body)]


def test_builds_and_their_output_are_shown(octo: Octo) -> None:
    assert octo("builds", "shop").out.splitlines()[1].startswith("b1     succeeded  c0ffee00  v2       3.5 s  ann")
    assert octo("builds:output", "-a", "shop", "b1").out == "-----> Building\n"


@pytest.mark.row("L1")
def test_status_is_one_line_an_app_and_nothing_without_apps(octo: Octo) -> None:
    octo.state.config["blog"] = {}
    assert octo("status") == Said(0, "shop: OK\nblog: DOWN\n", "")
    octo.state.config.clear()
    assert octo("status") == Said(0, "", "")


def test_doctor_fails_when_one_check_does(octo: Octo) -> None:
    assert octo("doctor") == Said(0, "ok   engine: Docker 20.10.24\n", "")
    octo.state.findings.append({"check": "nginx", "ok": False, "detail": "it is down", "hint": "Start it."})
    said = octo("doctor")
    assert said.code == 1
    assert said.out.endswith("FAIL nginx: it is down\n     Start it.\n")


def test_version_names_octo_and_its_parts(octo: Octo) -> None:
    assert octo("version").out == "octo 0.1.0\nengine 20.10.24\n"
    assert octo("--version") == octo("version")


# --- help and wrong usage -------------------------------------------------------------------------------------


@pytest.mark.row("L38")
@pytest.mark.parametrize("words", [[], ["help"], ["-h"], ["--help"]])
def test_help_shows_every_command_in_groups(octo: Octo, words: list[str]) -> None:
    said = octo(*words)
    assert said.code == 0
    for word in (
        "Apps\n  apps ",
        "config:set",
        "domains:add",
        "Keys\n",
        "ps:scale",
        "rollback",
        "builds:output",
        "doctor",
    ):
        assert word in said.out


@pytest.mark.parametrize("words", [["help", "config:set"], ["config:set", "--help"], ["config:set", "-h"]])
def test_help_on_one_command_shows_its_words_and_options(octo: Octo, words: list[str]) -> None:
    said = octo(*words)
    assert said.code == 0
    assert said.out.startswith("Usage: octo config:set [OPTIONS] [APP] KEY=VALUE... | APP/KEY VALUE\n")
    assert "--no-restart" in said.out


def test_an_unknown_command_is_refused_with_the_nearest_one(octo: Octo) -> None:
    hint = "       Did you mean apps:create? See: octo help\n"
    assert octo("app:create") == Said(2, "", f' !     cannot run "app:create": octo has no such command\n{hint}')
    assert octo("xyz\x1b[2J", "y").err.startswith(' !     cannot run "xyz\\x1b[2J": octo has no such command\n')
    assert octo("help", "xyz").code == 2


@pytest.mark.parametrize(
    "line",
    [
        "apps --nosuch", "apps:create", "apps:create Shop", "apps:create ../x", "apps a b", "ps a b", "logs shop -n x",
        "apps --format yaml", "config:set", "config:set shop", "config:get", "config:get shop A B", "ps:scale shop web",
        "rollback shop x", "domains:add shop", "run", "run -a shop", "keys:add", "keys:add A!", "config:set shop 1=2",
    ],
)  # fmt: skip
def test_wrong_usage_is_one_line_and_a_hint_and_code_2(octo: Octo, line: str) -> None:
    said = octo(*line.split())
    assert said.code == 2
    assert said.err.startswith(" !     cannot ")
    assert 1 <= said.err.count("\n") <= 2
    assert said.out == ""


def test_an_app_that_is_not_there_is_code_20(octo: Octo) -> None:
    assert octo("ps", "nosuch").code == 20
    said = octo("ps", "nosuch", "--format", "json")
    assert json.loads(said.err)["id"] == "not_found"
    assert said.code == 20


def test_without_an_app_the_three_ways_are_named(octo: Octo) -> None:
    said = octo("ps")
    assert said.code == 2
    assert "-a APP" in said.err
    assert "first word" in said.err
    assert "remote" in said.err


def test_the_app_comes_from_the_callers_git_remotes(octo: Octo) -> None:
    fields = {"remotes": "origin=git@github.com:me/x.git\nocto=ssh://git@h:2222/shop.git"}
    assert octo("config:set", "A=1", "--no-restart", fields=fields).code == 0
    assert octo.state.config["shop"] == {"A": "1"}


def test_a_token_that_the_api_does_not_know_gets_nothing(octo: Octo) -> None:
    octo.state.token = "another"
    code = octo.commands.run({}, ["apps"], [0, 1, 2], None, "t0ken")
    assert code == 1


def test_too_long_a_command_line_is_refused_in_words(octo: Octo) -> None:
    said = octo("config:set", "shop", *[f"K{i}={'x' * 60000}" for i in range(4)])
    assert said.code == 2
    assert "190 KB" in said.err
    assert octo("config:set", "shop", "--no-restart", *[f"K{i}={'x' * 60000}" for i in range(3)]).code == 0


def test_an_octod_that_is_not_there_is_told(octo: Octo) -> None:
    octo.state.path.unlink()
    said = octo("apps")
    assert said.code == 1
    assert said.err.startswith(" !     cannot reach octod")


# --- logs, run, terminals ---------------------------------------------------------------------------------------


def test_logs_are_shown_as_they_are_and_clean_for_a_caller_from_afar(octo: Octo) -> None:
    octo.state.logs = [b"t app[web.1]: a\x1b[2J\x1b[31mred\n", b"t app[web.1]: " + b"x" * 200_000 + b"\n"]
    octo.state.seen.clear()
    said = octo("logs", "shop", "-n", "5", "-p", "web")
    assert said.out.encode() == b"".join(octo.state.logs)
    assert octo.state.seen[0][2] == {"lines": 5, "tail": False, "dyno": "web"}
    assert octo("logs", "shop", fields={"from": "192.0.2.1"}).out.startswith("t app[web.1]: a\x1b[31mred\n")


@contextlib.contextmanager
def started(octo: Octo, words: list[str], streams: list[int]) -> Iterator["queue.Queue[int]"]:
    """A command under way, and where its code will be; at the end of the body the caller hangs up."""
    mine, octods = socket.socketpair()
    codes: queue.Queue[int] = queue.Queue()

    def run() -> None:
        codes.put(octo.commands.run({"term": "xterm"}, words, streams, octods, octo.state.token))

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield codes
    finally:
        mine.close()
        thread.join(20)
        octods.close()
    assert not thread.is_alive()


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


@contextlib.contextmanager
def terminal() -> Iterator[tuple[int, int]]:
    master, slave = pty.openpty()
    try:
        yield master, slave
    finally:
        os.close(master)
        os.close(slave)


def read_until(master: int, end: bytes) -> bytes:
    data = b""
    while end not in data:
        assert select.select([master], [], [], 20)[0], data
        data += os.read(master, 4096)
    return data


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


# --- the warm process ---------------------------------------------------------------------------------------------


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
    assert octo("version").out == "octo 0.1.0\nengine 20.10.24\n"
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
        assert codes.get(timeout=20) == 129
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


# --- in place -------------------------------------------------------------------------------------------------------


def in_place(home: Path, *words: str, ssh: int = 2222, http: int = 8080) -> Said:
    environment = {"PYTHONPATH": str(CHECKOUT), "PATH": os.environ["PATH"], "OCTO_HOME": str(home)}
    environment |= {"OCTO_SSH_PORT": str(ssh), "OCTO_HTTP_PORT": str(http)}
    argv = [sys.executable, "-P", "-m", "octo.cli", *words]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, cwd="/", check=False)
    return Said(done.returncode, done.stdout, done.stderr)


def test_help_and_version_work_without_octod(tmp_path: Path) -> None:
    assert in_place(tmp_path, "version") == Said(0, "octo 0.1.0\n", "")
    assert "config:set" in in_place(tmp_path, "help").out
    assert in_place(tmp_path, "apps").err.startswith(" !     cannot reach octod: nobody answers at")


def test_doctor_without_octod_checks_what_it_can_and_says_what_to_do(tmp_path: Path) -> None:
    with socket.socket() as free, socket.create_server(("127.0.0.1", 0)) as taken:
        free.bind(("127.0.0.1", 0))  # ours, and nobody listens
        ssh, http = free.getsockname()[1], taken.getsockname()[1]
        said = in_place(tmp_path, "doctor", ssh=ssh, http=http)
    assert said.code == 1
    assert said.out.startswith("FAIL octod: cannot reach octod")
    assert "     Start it with: sudo ./setup demo\n" in said.out
    assert "\nok   engine: Docker " in said.out
    assert f"\nok   port {ssh}: free\n" in said.out
    assert f"\nFAIL port {http}: in use by process {os.getpid()} (" in said.out
    assert "set OCTO_HTTP_PORT" in said.out


def test_doctor_tells_of_settings_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "octo.toml").write_text("nosuch = 1\n")
    assert '\nFAIL settings: cannot use the setting "nosuch"' in in_place(tmp_path, "doctor").out
