"""The `octo` on the PATH, run as a program."""

import contextlib
import os
import pty
import select
import signal
import socket
import subprocess
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gitreceive import octo, wire

PROGRAM = Path(__file__).resolve().parents[3] / "bin" / "octo"
Message = tuple[str, dict[str, str], list[str]]


@contextmanager
def octod(path: Path, act: Callable[[socket.socket, list[int]], bytes]) -> Iterator[list[Message]]:
    """Answer every caller at `path` with what `act` returns."""
    messages: list[Message] = []

    def serve() -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            with sock:
                body, descriptors = wire.receive(sock)
                messages.append(wire.unpack(body))
                try:
                    answer = act(sock, descriptors)
                finally:
                    wire.close(descriptors)
                if answer:
                    sock.sendall(answer)

    path.parent.mkdir(parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=serve)
        thread.start()
        yield messages
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def hello(_sock: socket.socket, descriptors: list[int]) -> bytes:
    os.write(descriptors[1], b"hello\n")
    return b"exit 20\n"


def run(*words: str, where: Path, program: str = str(PROGRAM), **env: str) -> "subprocess.CompletedProcess[str]":
    environment = {"PATH": os.environ["PATH"], "OCTO_PYTHON": "/nonexistent", **env}
    argv = [program, *words]
    return subprocess.run(argv, cwd=where, env=environment, capture_output=True, text=True, timeout=30, check=False)


def test_arguments_streams_and_exit_code_go_through(tmp_path: Path) -> None:
    with octod(tmp_path / "octo.sock", hello) as messages:
        path = str(tmp_path / "octo.sock")
        done = run("config:set", "shop/A=x y", "", where=tmp_path, OCTO_SOCKET=path, TERM="vt100")
    assert (done.returncode, done.stdout, done.stderr) == (20, "hello\n", "")
    kind, fields, arguments = messages[0]
    assert (kind, arguments) == ("octo", ["config:set", "shop/A=x y", ""])
    assert (fields["term"], fields["tty"], fields["columns"], fields["remotes"]) == ("vt100", "0", "", "")


def echo(_sock: socket.socket, descriptors: list[int]) -> bytes:
    os.write(descriptors[1], os.read(descriptors[0], 1000))
    return b"exit 0\n"


@pytest.mark.parametrize(
    ("words", "sent", "said"),
    [
        (["config:options", "shop", "Dockerfile"], ["config:options", "shop", "-"], "FROM here"),
        (["config:check", "shop", "ADD_NAME", "./Dockerfile"], ["config:check", "shop", "ADD_NAME", "-"], "FROM here"),
        (["config:import", "-a", "shop", "Dockerfile"], ["config:import", "-a", "shop", "-"], "FROM here"),
        (
            ["keys:add", "--format", "json", "ann", "Dockerfile"],
            ["keys:add", "--format", "json", "ann", "-"],
            "FROM here",
        ),
        (["config:options", "shop", "nosuch"], ["config:options", "shop", "nosuch"], ""),
        (["config:options", "shop", "."], ["config:options", "shop", "."], ""),
        (["config:options", "shop", "-"], ["config:options", "shop", "-"], ""),
        (["config:options"], ["config:options"], ""),
        (["run", "cat", "Dockerfile"], ["run", "cat", "Dockerfile"], ""),
    ],
)
def test_a_file_among_the_words_is_read_on_the_callers_side(
    tmp_path: Path, words: list[str], sent: list[str], said: str
) -> None:
    (tmp_path / "Dockerfile").write_text("FROM here")
    with octod(tmp_path / "octo.sock", echo) as messages:
        environment = {"PATH": os.environ["PATH"], "OCTO_SOCKET": str(tmp_path / "octo.sock")}
        done = subprocess.run(
            [PROGRAM, *words], cwd=tmp_path, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
    assert (done.returncode, done.stdout.decode(), messages[0][2]) == (0, said, sent)


def test_the_socket_is_found_above_the_current_folder(tmp_path: Path) -> None:
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    with octod(tmp_path / ".octo" / "run" / "octo.sock", hello):
        assert run("apps", where=below).returncode == 20


def test_the_home_that_is_named_comes_first(tmp_path: Path) -> None:
    with octod(tmp_path / ".octo/run/octo.sock", hello), octod(tmp_path / "h/run/octo.sock", lambda *_: b"exit 3\n"):
        assert run("apps", where=tmp_path, OCTO_HOME=str(tmp_path / "h")).returncode == 3


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")
def test_a_socket_that_somebody_else_put_in_the_way_is_passed_over(tmp_path: Path) -> None:
    trap = tmp_path / ".octo" / "run" / "octo.sock"
    with octod(trap, hello) as messages:
        os.chown(trap, 65534, 65534)
        done = run("apps", where=tmp_path)
    assert done.returncode != 20
    assert messages == []


def test_without_octod_it_says_where_it_looked_and_what_to_do(tmp_path: Path) -> None:
    done = run("apps", where=tmp_path, OCTO_SOCKET="/nonexistent/octo.sock")
    assert done.returncode == 1
    assert done.stderr == (
        "octo: cannot reach octod: no socket at /nonexistent/octo.sock\nStart it with: sudo ./setup demo\n"
    )


def test_a_dead_socket_is_not_called_missing(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left_over:
        left_over.bind(str(tmp_path / "octo.sock"))
    done = run("apps", where=tmp_path, OCTO_SOCKET=str(tmp_path / "octo.sock"))
    assert "nobody answers at" in done.stderr


@pytest.mark.parametrize("words", [(), ("help",), ("doctor", "--format", "json"), ("version",)])
def test_what_must_work_without_octod_runs_in_place(tmp_path: Path, words: tuple[str, ...]) -> None:
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "$PYTHONPATH" "$@"\nexit 5\n')
    python.chmod(0o755)
    done = run(*words, where=tmp_path, OCTO_SOCKET="/nonexistent", OCTO_PYTHON=str(python))
    assert done.returncode == 5
    path, *rest = done.stdout.split()
    assert Path(path).resolve() == PROGRAM.parent.parent
    assert rest == ["-P", "-m", "octo.cli", *words]


def test_without_any_python_it_still_tells_its_version(tmp_path: Path) -> None:
    done = run("version", where=tmp_path, OCTO_SOCKET="/nonexistent")
    assert (done.returncode, done.stdout) == (0, "octo 0.1.0\n")
    done = run("doctor", where=tmp_path, OCTO_SOCKET="/nonexistent")
    assert (done.returncode, done.stdout) == (1, "")
    assert "sudo ./setup demo" in done.stderr


def test_it_works_through_symbolic_links_and_relative_paths(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "octo").symlink_to(PROGRAM)
    (tmp_path / "octo").symlink_to("far/octo")
    for where, program in ((tmp_path, "./octo"), (PROGRAM.parent, "./octo"), (tmp_path, f"{tmp_path}/octo")):
        assert run("version", where=where, program=program, OCTO_SOCKET="/nonexistent").stdout == "octo 0.1.0\n"


def test_the_remotes_of_the_repository_around_are_sent(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    for name, url in (("octo", "git@host:shop.git"), ("o.2", "ssh://git@host:2222/b")):
        subprocess.run(["git", "-C", str(tmp_path), "remote", "add", name, url], check=True)
    (tmp_path / "deep").mkdir()
    with octod(tmp_path / "octo.sock", hello) as messages:
        run("config", where=tmp_path / "deep", OCTO_SOCKET=str(tmp_path / "octo.sock"))
    assert messages[0][1]["remotes"] == "octo=git@host:shop.git\no.2=ssh://git@host:2222/b"


def test_remotes_are_read_as_git_writes_them() -> None:
    text = '[core]\n\turl = no\n[remote "a"]\n\turl = u1\n\tfetch = +x\n[user]\n\turl=no\n[Remote "b"]\nURL="u2"\n'
    assert octo.parse_remotes(text) == ["a=u1", "b=u2"]


def test_an_octod_that_breaks_off_is_told(tmp_path: Path) -> None:
    with octod(tmp_path / "octo.sock", lambda *_: b""):
        done = run("apps", where=tmp_path, OCTO_SOCKET=str(tmp_path / "octo.sock"))
    assert done.returncode == 1
    assert "the connection to octod broke" in done.stderr


def test_ctrl_c_hangs_up_and_exits_130(tmp_path: Path) -> None:
    gone = threading.Event()

    def wait(sock: socket.socket, descriptors: list[int]) -> bytes:
        os.write(descriptors[1], b"x")
        if sock.recv(1) == b"":
            gone.set()
        return b""

    environment = {"PATH": os.environ["PATH"], "OCTO_SOCKET": str(tmp_path / "octo.sock")}
    with octod(tmp_path / "octo.sock", wait):
        with subprocess.Popen([str(PROGRAM), "logs"], env=environment, stdout=subprocess.PIPE) as client:
            assert client.stdout is not None
            assert client.stdout.read(1) == b"x"
            while client.poll() is None:  # one that comes just before it waits is noticed with the next
                client.send_signal(signal.SIGINT)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    client.wait(1)
            assert client.returncode == 130
        assert gone.wait(20)


def test_a_closed_pipe_ends_it_without_a_word(tmp_path: Path) -> None:
    with octod(tmp_path / "octo.sock", lambda sock, _: sock.recv(1)):
        environment = {"PATH": os.environ["PATH"], "OCTO_SOCKET": str(tmp_path / "octo.sock")}
        pipe = subprocess.PIPE
        with subprocess.Popen([str(PROGRAM), "logs"], env=environment, stdout=pipe, stderr=pipe) as client:
            assert client.stdout is not None and client.stderr is not None
            client.stdout.close()
            assert client.wait(20) == 1
            assert client.stderr.read() == b""


@pytest.mark.parametrize("end", ["octod breaks off", signal.SIGTERM])
def test_a_terminal_left_raw_is_put_back(tmp_path: Path, end: object) -> None:
    def raw(sock: socket.socket, descriptors: list[int]) -> bytes:
        modes = termios.tcgetattr(descriptors[0])
        modes[3] &= ~(termios.ECHO | termios.ICANON)
        termios.tcsetattr(descriptors[0], termios.TCSANOW, modes)
        os.write(descriptors[1], b"ready")
        if end is signal.SIGTERM:
            sock.recv(1)
        return b""

    master, terminal = pty.openpty()
    before = termios.tcgetattr(terminal)
    with octod(tmp_path / "octo.sock", raw) as messages:
        environment = {"PATH": os.environ["PATH"], "OCTO_SOCKET": str(tmp_path / "octo.sock")}
        client = subprocess.Popen([str(PROGRAM), "run", "sh"], env=environment, stdin=terminal, stdout=terminal)
        assert select.select([master], [], [], 20)[0]
        if end is signal.SIGTERM:
            client.send_signal(signal.SIGTERM)
        assert client.wait(20) == (143 if end is signal.SIGTERM else 1)
    assert termios.tcgetattr(terminal) == before
    assert messages[0][1]["tty"] == "1"
    os.close(master)
    os.close(terminal)
