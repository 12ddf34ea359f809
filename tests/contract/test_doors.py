"""Both SSH doors, with stock ssh and git in front and a stand-in for octod behind: they promise the same."""

import hashlib
import os
import select
import socket
import subprocess
from pathlib import Path

import pytest

from tests.contract.doors_parts import GONE, Door, free_port

pytestmark = pytest.mark.usefixtures("fresh")

BIG = 50 * 1024 * 1024


@pytest.mark.row("A1")
@pytest.mark.row("A6")
@pytest.mark.parametrize("path", ["web.git", "web"])
def test_stock_git_pushes_and_clones(door: Door, source: Path, tmp_path: Path, path: str) -> None:
    pushed = door.git("push", door.url(path), "main", where=source)
    assert pushed.code == 0, pushed.err
    kind, fields, _ = door.octod.seen.get(timeout=20)
    assert (kind, fields["verb"], fields["app"]) == ("git", "git-receive-pack", "web")
    assert (fields["user"], fields["from"]) == ("ann", "127.0.0.1")
    assert fields["fingerprint"] == next(iter(door.octod.keys))
    cloned = door.git("clone", "-q", door.url(path), str(tmp_path / "copy"), where=tmp_path)
    assert cloned.code == 0, cloned.err
    assert (tmp_path / "copy" / "file").read_bytes() == (source / "file").read_bytes()
    assert door.octod.seen.get(timeout=20)[1]["protocol"] == "version=2"


def test_git_archive_reads_too(door: Door, source: Path) -> None:
    door.git("push", door.url("web"), "main", where=source)
    archived = door.git("archive", "--remote", door.url("web"), "main", where=source)
    assert archived.code == 0, archived.err
    assert (source / "file").read_bytes() in archived.out


def test_a_git_that_fails_gives_its_exit_code_and_words(door: Door, source: Path) -> None:
    answer = door.ssh("git-upload-pack 'nosuch.git'")
    assert answer.code == 128
    assert "nosuch.git" in answer.err


@pytest.mark.row("A5")
@pytest.mark.parametrize("asked", ["git-receive-pack '../web.git'", "git-shell", "git-upload-pack 'web.git';id"])
def test_no_other_git_command_reaches_octod(door: Door, asked: str) -> None:
    answer = door.ssh(asked)
    assert answer.code == 1
    assert answer.err == " ! Invalid path.\n ! Syntax is: git@host:<app>.git where <app> is your app's name.\n"
    assert door.octod.seen.empty()


@pytest.mark.row("A5")
def test_there_is_no_shell(door: Door) -> None:
    answer = door.ssh()
    assert answer.code == 1
    assert "ERROR: Arbitrary ssh prohibited!\n" in answer.err
    assert door.octod.seen.empty()


@pytest.mark.row("A2")
def test_there_is_no_terminal(door: Door) -> None:
    answer = door.ssh("say", "0", before=("-tt",))  # ssh itself gives up when it has to have one
    assert (answer.code, answer.out) == (255, b"")
    assert "PTY allocation request failed" in answer.err


@pytest.mark.row("A2")
@pytest.mark.parametrize("before", [("-W", "127.0.0.1:{}"), ("-NoExitOnForwardFailure=yes", "-R", "0:127.0.0.1:{}")])
def test_nothing_is_forwarded(door: Door, before: tuple[str, ...]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as target:
        port = target.getsockname()[1]
        answer = door.ssh(before=tuple(word.format(port) for word in before))
        assert answer.code == 255
        assert "prohibited" in answer.err or "forwarding failed" in answer.err
        assert select.select([target], [], [], 0)[0] == []


@pytest.mark.row("A2")
def test_local_forwarding_ends_at_the_door(door: Door) -> None:
    local = free_port()
    with socket.create_server(("127.0.0.1", 0)) as target:
        forward = f"{local}:127.0.0.1:{target.getsockname()[1]}"
        words = door.command("-v", "-N", "-L", forward, f"{door.login}@127.0.0.1")
        with subprocess.Popen(words, stderr=subprocess.PIPE) as ssh:
            assert ssh.stderr is not None
            assert any(b"Entering interactive session" in line for line in ssh.stderr)
            with socket.create_connection(("127.0.0.1", local)) as caller:
                assert caller.recv(1) == b""
            ssh.kill()
        assert select.select([target], [], [], 0)[0] == []


@pytest.mark.row("A2")
def test_neither_agent_nor_display_comes_in(door: Door) -> None:
    answer = door.ssh("say", "0", before=("-A", "-X"))
    assert answer.code == 0
    door.octod.seen.get(timeout=20)
    if door.kind == "openssh":
        environment = door.octod.peers.get(timeout=20)
        assert b"SSH_ORIGINAL_COMMAND=say 0" in environment
        assert not any(name in environment for name in (b"SSH_AUTH_SOCK", b"DISPLAY", b"SSH_TTY"))


def test_only_a_good_git_protocol_comes_in(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    for given, taken in (("version=1", "version=1"), ("version=2\nX", ""), ("version=9", ""), ("$(id)", "")):
        monkeypatch.setenv("GIT_PROTOCOL", given)
        answer = door.ssh("git-upload-pack 'nosuch'", before=("-o", "SendEnv=GIT_PROTOCOL"))
        assert answer.code == 128, answer.err
        assert door.octod.seen.get(timeout=20)[1]["protocol"] == taken


@pytest.mark.row("A2")
@pytest.mark.row("T1")
def test_a_strangers_key_is_refused_and_no_password_is_asked(door: Door) -> None:
    answer = door.ssh("say", "0", key="stranger")
    assert answer.code == 255
    assert answer.err.endswith("Permission denied (publickey).\n")
    assert door.octod.seen.empty()


def test_streams_stay_apart_and_the_exit_code_comes_back(door: Door) -> None:
    for code in (0, 1, 20, 255):
        answer = door.ssh("say", str(code))
        assert (answer.code, answer.out, answer.err) == (code, b"to stdout\n", "to stderr\n")


def test_words_arrive_as_a_shell_would_split_them(door: Door) -> None:
    door.ssh("config:set", "shop/A='1;2\n3'", '"B=$(id) x"', "C=\\ ")
    _, _, arguments = door.octod.seen.get(timeout=20)
    assert arguments == ["config:set", "shop/A=1;2\n3", "B=$(id) x", "C= "]


def test_fifty_megabytes_pass_both_ways_unchanged(door: Door) -> None:
    given = os.urandom(1024 * 1024) * (BIG // (1024 * 1024)) + b"the end"
    answer = door.ssh("cat", given=given)
    assert answer.code == 0
    assert hashlib.sha256(answer.out).digest() == hashlib.sha256(given).digest()


@pytest.mark.row("T4")
def test_octod_hears_that_the_caller_hung_up(door: Door) -> None:
    with subprocess.Popen(door.command(f"{door.login}@127.0.0.1", "wait"), stdout=subprocess.PIPE) as ssh:
        assert ssh.stdout is not None
        assert ssh.stdout.readline() == b"waiting\n"
        ssh.kill()
    assert door.octod.ends.get(timeout=30) == GONE


@pytest.mark.row("T4")
def test_a_push_cut_off_in_the_middle_is_cancelled(door: Door, source: Path) -> None:
    words = door.command(f"{door.login}@127.0.0.1", "git-receive-pack 'web.git'")
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as ssh:
        assert ssh.stdin is not None and ssh.stdout is not None
        assert len(ssh.stdout.read(4)) == 4  # git-receive-pack runs, and waits for the refs
        ssh.kill()
    assert door.octod.ends.get(timeout=30) == GONE


def test_an_octod_that_breaks_off_is_told(door: Door) -> None:
    answer = door.ssh("die")
    assert answer.code == 1
    assert "the connection to octod broke" in answer.err


def test_shell_text_goes_nowhere(door: Door) -> None:
    for words in ("apps; id", "apps | cat", "apps $(id)", "apps `id`", "apps\nid", "apps 'x"):
        answer = door.ssh(words)
        assert (answer.code, answer.out) == (1, b"")
        assert answer.err.startswith(" ! octo: cannot run this: ")
    assert door.octod.seen.empty()
