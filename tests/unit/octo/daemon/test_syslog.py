"""Lines to a syslog elsewhere: the form of a message, and real sockets that receive."""

import socket
import threading
from pathlib import Path

import pytest

from octo.daemon.forwarding import _File
from octo.daemon.syslog import KEPT, LARGEST, Sender, Target, message, target
from octo.errors import Usage


def test_a_message_has_the_form_of_rfc_5424() -> None:
    line = message(b"2026-11-20T21:56:00.123456789Z", "host", "shop", "web.1", "naïve [x]\n".encode())
    assert line == "<14>1 2026-11-20T21:56:00.123456Z host shop web.1 - - naïve [x]".encode()
    assert message(b"no time", "", "a b\n", "w" * 300, b"") == b"<14>1 - - a_b_ " + b"w" * 128 + b" - - "


def test_no_text_can_begin_another_message_or_be_endless() -> None:
    line = message(b"", "h", "a", "p", b"one\n<0>1 - forged\r\n\0two" + b"x" * 20_000)
    assert b"\n" not in line and b"\0" not in line and len(line) == LARGEST


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("syslog://logs.test:514", Target("logs.test", 514)),
        ("syslog+udp://10.0.0.1:514/", Target("10.0.0.1", 514)),
        ("syslog+tcp://[::1]:6514", Target("::1", 6514, stream=True)),
    ],
)
def test_a_target_is_a_url(url: str, expected: Target) -> None:
    assert target(url) == expected


@pytest.mark.parametrize(
    "url", ["", "syslog://", "syslog://h", "http://h:1", "syslog+tls://h:1", "syslog://h:99999", "syslog://a b:1"]
)
def test_what_is_no_target_is_refused(url: str) -> None:
    with pytest.raises(Usage):
        target(url)


def test_lines_arrive_over_udp() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(20)
        sender = Sender(Target("127.0.0.1", receiver.getsockname()[1]), "here")
        for number in range(3):
            sender.send(b"line %d" % number)
        assert [receiver.recv(100) for _ in range(3)] == [b"line 0", b"line 1", b"line 2"]
        sender.close()


def test_over_tcp_what_waits_is_sent_once_the_target_is_there_and_what_was_lost_is_counted() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    sender = Sender(Target("127.0.0.1", port, stream=True), "here")
    for number in range(KEPT + 5):
        sender.send(b"line %d" % number)
    with socket.create_server(("127.0.0.1", port)) as listener:
        listener.settimeout(60)
        connection, _ = listener.accept()
        with connection, connection.makefile("rb") as lines:
            first, second = lines.readline(), lines.readline()
        assert first.endswith(b" octo - - - 5 lines were lost\n") and second == b"line 5\n"
        connection, _ = listener.accept()  # it comes again when it was hung up on
        with connection, connection.makefile("rb") as lines:
            assert b"line " in lines.readline()
            sender.close()


class Kept:
    """A Sender's place."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.changed = threading.Condition()

    def send(self, line: bytes) -> None:
        with self.changed:
            self.lines.append(line.partition(b" app - - - ")[2])
            self.changed.notify_all()

    def wait(self, *lines: bytes) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: self.lines == list(lines), 20), self.lines


def test_a_file_is_followed_from_its_end_and_over_its_rotation(tmp_path: Path) -> None:
    file, kept = tmp_path / "log", Kept()
    file.write_text("before\n")
    source = _File(kept, file, "app")  # type: ignore[arg-type]
    with file.open("a") as log:
        log.write("one\ntw")
        log.flush()
        kept.wait(b"one")
        log.write("o\n")
        log.flush()
        kept.wait(b"one", b"two")
        file.rename(tmp_path / "log.1")
        log.write("late\n")
    file.write_text("new\n")
    kept.wait(b"one", b"two", b"late", b"new")
    file.write_text("s\n")  # cut short
    kept.wait(b"one", b"two", b"late", b"new", b"s")
    source.close()
