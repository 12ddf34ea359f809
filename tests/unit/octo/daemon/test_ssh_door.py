"""What the built-in SSH door takes for a login, and how its process starts. For both doors: contract/test_doors.py."""

import io
import os
import subprocess
import sys
from pathlib import Path

import paramiko
import pytest

from octo.daemon.ssh_door import host_key
from tests.unit.octo.daemon.ssh_door_parts import GOOD, SOON, STRANGER, Running

CHECKOUT = Path(__file__).resolve().parents[4]


@pytest.mark.row("A2")
@pytest.mark.row("A7")
def test_a_known_key_runs_a_command_under_any_user_name(door: Running) -> None:
    for name in ("git", "root", "anybody"):
        with door.client() as transport:
            transport.auth_publickey(name, GOOD)
            channel = transport.open_session()
            channel.exec_command("apps")
            assert channel.recv_exit_status() == 4
    kind, fields, _ = door.stub.messages[-1]
    assert (kind, fields["user"], fields["from"]) == ("octo", "ann", "127.0.0.1")
    assert fields["fingerprint"] == GOOD.fingerprint


@pytest.mark.row("A2")
def test_only_keys_are_offered_and_only_known_ones_taken(door: Running) -> None:
    with door.client() as transport:
        with pytest.raises(paramiko.BadAuthenticationType) as refused:
            transport.auth_none("git")
        assert refused.value.allowed_types == ["publickey"]
        with pytest.raises(paramiko.BadAuthenticationType):
            transport.auth_password("git", "secret", fallback=False)
        with pytest.raises(paramiko.AuthenticationException):
            transport.auth_publickey("git", STRANGER)
        with pytest.raises(paramiko.SSHException):
            transport.open_session(timeout=SOON)
        transport.auth_publickey("git", GOOD)


def test_without_octod_no_key_is_known(door: Running) -> None:
    door.stub.away = True
    with door.client() as transport, pytest.raises(paramiko.AuthenticationException):
        transport.auth_publickey("git", GOOD)


def test_a_key_of_a_kind_unknown_here_is_one_failed_try(door: Running) -> None:
    class Strange(paramiko.ECDSAKey):  # type: ignore[misc]
        def get_name(self) -> str:
            return "sk-ssh-ed25519@openssh.com"

        algorithm_name = property(get_name)

    strange = Strange(vals=(STRANGER.signing_key, STRANGER.verifying_key))
    with door.client() as transport:
        with pytest.raises(paramiko.AuthenticationException):
            transport.auth_publickey("git", strange)
        transport.auth_publickey("git", GOOD)


def test_the_seventh_key_is_not_looked_at(door: Running) -> None:
    with door.client() as transport:
        for _ in range(5):
            with pytest.raises(paramiko.AuthenticationException):
                transport.auth_publickey("git", STRANGER)
        for key in (STRANGER, GOOD):  # the door ends the connection as it answers the sixth
            with pytest.raises((paramiko.SSHException, EOFError)):
                transport.auth_publickey("git", key)
    assert len(door.stub.messages) == 6


@pytest.mark.parametrize("key", [GOOD, STRANGER], ids=["rsa", "ecdsa"])
def test_a_host_key_is_read_from_its_text(key: paramiko.PKey) -> None:
    text = io.StringIO()
    key.write_private_key(text)
    assert host_key(text.getvalue()) == key


def test_an_ed25519_host_key_of_ssh_keygen_is_read(tmp_path: Path) -> None:
    argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "k")]
    subprocess.run(argv, check=True)
    assert host_key((tmp_path / "k").read_text()).get_name() == "ssh-ed25519"


def test_what_is_no_host_key_is_refused() -> None:
    with pytest.raises(paramiko.SSHException, match="cannot read the host key"):
        host_key("nonsense")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can try to run it as root")
def test_it_does_not_run_as_root() -> None:
    argv = [sys.executable, "-m", "octo.daemon.ssh_door", "--listen-fd", "0", "--octod-fd", "0", "--host-key-fd", "0"]
    done = subprocess.run(argv, cwd=CHECKOUT, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert "must not run as root" in done.stderr


def test_only_algorithms_without_known_weakness_are_offered(door: Running) -> None:
    with door.connect() as sock, sock.makefile("rb") as stream:
        sock.sendall(b"SSH-2.0-x\r\n")
        assert stream.readline().startswith(b"SSH-2.0-")
        offered = stream.read(int.from_bytes(stream.read(4), "big"))
    assert b"curve25519-sha256" in offered
    for weak in (b"sha1", b"md5", b"cbc", b"ssh-rsa", b"ssh-dss", b"group1-", b"arcfour", b"zlib"):
        assert weak not in offered
