"""The forced command as sshd runs it: a program of its own, with nothing but its environment."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gitreceive import command, wire

CHECKOUT = Path(__file__).resolve().parents[3]
FOLDER = CHECKOUT / "gitreceive"
HEAVY = ("os", "re", "socket", "json", "dataclasses", "typing", "collections", "subprocess")
PUSH = "git-receive-pack 'web.git'"


@dataclass
class Octod:
    """Takes one caller after the other: writes a line to its stderr, and answers."""

    path: Path
    answer: bytes = b"exit 7\n"
    messages: list[tuple[str, dict[str, str], list[str]]] = field(default_factory=list)

    def serve(self, listener: socket.socket) -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            with sock:
                body, descriptors = wire.receive(sock)
                self.messages.append(wire.unpack(body))
                os.write(descriptors[2], b"from octod\n")
                wire.close(descriptors)
                sock.sendall(self.answer)


@pytest.fixture
def octod(tmp_path: Path) -> Iterator[Octod]:
    stub = Octod(tmp_path / "door.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(stub.path))
        listener.listen()
        thread = threading.Thread(target=stub.serve, args=(listener,))
        thread.start()
        yield stub
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def gitreceive(
    asked: str, door: Path | None, *, program: Path = FOLDER, words: tuple[str, ...] = ("run", "ann", "SHA256:x")
) -> "subprocess.CompletedProcess[str]":
    environment = {"SSH_ORIGINAL_COMMAND": asked, "SSH_CONNECTION": "192.0.2.7 50000 192.0.2.1 22"}
    environment["OCTO_DOOR"] = str(door or "/nonexistent/door.sock")
    argv = [sys.executable, "-I", "-S", str(program), *words]
    return subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.row("A3")
@pytest.mark.parametrize("program", [FOLDER, FOLDER / "__main__.py"])
def test_a_push_is_handed_to_octod_with_its_streams(octod: Octod, program: Path) -> None:
    done = gitreceive(PUSH, octod.path, program=program)
    assert (done.returncode, done.stdout, done.stderr) == (7, "", "from octod\n")
    kind, fields, _ = octod.messages[0]
    assert (kind, fields["user"], fields["fingerprint"], fields["from"]) == ("git", "ann", "SHA256:x", "192.0.2.7")


@pytest.mark.row("T2")
def test_without_octod_a_push_is_refused_in_one_line() -> None:
    done = gitreceive(PUSH, None)
    assert (done.returncode, done.stderr) == (1, " ! Unable to contact build server.\n")


def test_without_octod_a_command_says_so() -> None:
    done = gitreceive("apps", None)
    assert (done.returncode, done.stderr) == (1, " ! octo: cannot reach octod: it is not running.\n")


def test_an_octod_that_breaks_off_is_told(octod: Octod) -> None:
    octod.answer = b""
    done = gitreceive(PUSH, octod.path)
    assert (done.returncode, done.stderr) == (1, "from octod\n" + command.BROKE)


@pytest.mark.row("A5")
def test_what_is_refused_never_reaches_octod(octod: Octod) -> None:
    assert gitreceive("", octod.path).stderr == command.NO_SHELL
    assert gitreceive("git-shell", octod.path).stderr == command.BAD_PATH
    assert octod.messages == []


@pytest.mark.parametrize("words", [(), ("run",), ("hook", "ann", "SHA256:x"), ("run", "ann", "SHA256:x", "more")])
def test_other_arguments_are_wrong_usage(words: tuple[str, ...]) -> None:
    done = gitreceive(PUSH, None, words=words)
    assert (done.returncode, done.stderr) == (2, "Usage: gitreceive run NAME FINGERPRINT\n")


def test_nothing_slow_is_imported() -> None:
    """5 to 15 ms each, of the 25 that a push may lose here; `python3 -I -S` itself has none of them."""
    show = f"import sys; sys.path.insert(0, {str(CHECKOUT)!r}); import gitreceive.octo, gitreceive.__main__, select"
    argv = [sys.executable, "-I", "-S", "-c", show + "; print(*sys.modules)"]
    loaded = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=True).stdout.split()
    assert not set(HEAVY) & set(loaded)
    assert not any(name == "octo" or name.startswith("octo.") for name in loaded)
