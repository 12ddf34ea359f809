"""git on the server itself: what git calls in place of ssh."""

import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitreceive import local, wire

CHECKOUT = Path(__file__).resolve().parents[3]
PUSH = "git-receive-pack 'shop.git'"


@pytest.mark.parametrize(
    ("given", "left"),
    [
        (["host", PUSH], ["host", PUSH]),
        (["-o", "SendEnv=GIT_PROTOCOL", "host", PUSH], ["host", PUSH]),
        (["-p", "22", "-4", "host", PUSH], ["host", PUSH]),
        (["-o"], []),
        ([], []),
    ],
)
def test_options_of_ssh_are_passed_over(given: list[str], left: list[str]) -> None:
    assert local.behind_options(given) == left


class Octod:
    """Takes one message at a socket, and answers it."""

    def __init__(self, path: Path, answer: bytes) -> None:
        self.path, self.body = path, b""
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._listener.settimeout(30)
        self._thread = threading.Thread(target=self._serve, args=[answer])
        self._thread.start()

    def _serve(self, answer: bytes) -> None:
        caller, _ = self._listener.accept()
        with caller:
            self.body, descriptors = wire.receive(caller)  # type: ignore[arg-type]
            wire.close(descriptors)
            caller.sendall(answer)


@pytest.fixture
def octod(tmp_path: Path) -> Iterator[Octod]:
    made = Octod(tmp_path / "octo.sock", b"exit 7\n")
    yield made
    made._thread.join()
    made._listener.close()


def run(path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = {"PATH": os.environ["PATH"], "OCTO_SOCKET": str(path), "GIT_PROTOCOL": "version=2"}
    argv = [str(CHECKOUT / "bin" / "octo"), "git", *words]
    return subprocess.run(argv, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)


def test_a_push_is_handed_to_octod_and_its_exit_code_comes_back(octod: Octod) -> None:
    done = run(octod.path, "-o", "SendEnv=GIT_PROTOCOL", "server", PUSH)
    assert (done.returncode, done.stdout, done.stderr) == (7, "", "")
    kind, fields, words = wire.unpack(octod.body)
    assert (kind, words) == ("git", [])
    assert (fields["verb"], fields["app"], fields["protocol"]) == ("git-receive-pack", "shop", "version=2")
    assert fields["fingerprint"] == fields["user"] == ""


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["-G", "-o", "x", "server"], 0, ""),  # git asks which kind of ssh this is
        ([], 2, "Usage: git -c core.sshCommand"),
        (["server"], 2, "Usage: git -c core.sshCommand"),
        (["server", "bash"], 1, "Usage"),
        (["server", ""], 1, "Arbitrary ssh prohibited"),
        (["server", "git-receive-pack '../x.git'"], 1, "Invalid path."),
        (["server", "git-receive-pack ''"], 1, "Invalid path."),
        (["server", PUSH], 1, "Unable to contact build server."),
    ],
)
def test_what_is_no_git_command_reaches_nobody(tmp_path: Path, words: list[str], code: int, said: str) -> None:
    done = run(tmp_path / "none.sock", *words)
    assert done.returncode == code and said in done.stderr
