"""What a login at the built-in SSH door opens: one command a channel, and nothing else."""

import errno
from collections.abc import Callable

import paramiko
import pytest

from octo.daemon.ssh_limits import Limits
from tests.unit.octo.daemon.ssh_door_parts import SOON, Running, Start


@pytest.mark.row("A2")
@pytest.mark.parametrize(
    "ask",
    [
        lambda channel: channel.get_pty(),
        lambda channel: channel.invoke_subsystem("sftp"),
        lambda channel: channel.request_x11(handler=lambda *_: None),
        lambda channel: channel.invoke_subsystem("apps"),
    ],
)
def test_a_session_runs_commands_and_nothing_else(door: Running, ask: Callable[[paramiko.Channel], None]) -> None:
    with door.friend() as transport:
        channel = transport.open_session()
        with pytest.raises(paramiko.SSHException):
            ask(channel)


@pytest.mark.row("A2")
def test_no_other_channel_opens_and_no_port_is_forwarded(door: Running) -> None:
    with door.friend() as transport:
        for kind in (
            "direct-tcpip",
            "direct-streamlocal@openssh.com",
            "forwarded-tcpip",
            "x11",
            "auth-agent@openssh.com",
        ):
            with pytest.raises(paramiko.ChannelException) as refused:
                transport.open_channel(kind, ("127.0.0.1", 1), ("127.0.0.1", 1), timeout=SOON)
            assert refused.value.code == 1  # administratively prohibited
        with pytest.raises(paramiko.SSHException):
            transport.request_port_forward("127.0.0.1", 0)


def test_a_channel_runs_one_command(door: Running) -> None:
    with door.friend() as transport:
        channel = transport.open_session()
        channel.exec_command("wait")
        with pytest.raises(paramiko.SSHException):
            channel.exec_command("apps")


def test_the_eleventh_session_of_a_connection_is_refused(door: Running) -> None:
    with door.friend() as transport:
        channels = [transport.open_session(timeout=SOON) for _ in range(10)]
        with pytest.raises(paramiko.ChannelException):
            transport.open_session(timeout=SOON)
        channels[0].exec_command("apps")
        assert channels[0].recv_exit_status() == 4
        channels[0].close()
        transport.open_session(timeout=SOON).exec_command("apps")


def test_a_program_that_writes_to_its_stdin_fails_at_once(door: Running) -> None:
    """It is a socket; one that took what nobody reads would make its writer wait in the end."""
    with door.friend() as transport:
        channel = transport.open_session()
        channel.exec_command("talk")
        assert channel.recv_exit_status() == errno.EPIPE


@pytest.mark.row("T4")
def test_closing_the_channel_alone_hangs_up(door: Running) -> None:
    with door.friend() as transport:
        channel = transport.open_session()
        channel.exec_command("wait")
        assert channel.recv(1) == b"x"
        channel.close()
        assert door.stub.hung_up.wait(SOON)


def test_a_login_that_runs_nothing_is_closed_in_the_end(start: Start) -> None:
    door = start(Limits(idle=0))
    with door.friend() as transport:
        transport.join(SOON)
        assert not transport.is_alive()
