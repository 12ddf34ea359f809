import os
import socket
import threading
from pathlib import Path

import pytest

from gitreceive import wire


def test_words_fields_and_arguments_come_back_as_they_went() -> None:
    fields = {"user": "ann", "note": "two\nlines", "empty": ""}
    packed = wire.pack("octo", fields, ["a b", "", "\udcff"])
    assert wire.unpack(packed[4:]) == ("octo", fields, ["a b", "", "\udcff"])


@pytest.mark.parametrize("body", [b"", b"git", b"git\0x", b"git\x002\0a\0b", b"git\0-1"])
def test_a_body_without_its_fields_is_malformed(body: bytes) -> None:
    with pytest.raises(wire.Malformed):
        wire.unpack(body)


def test_a_long_message_arrives_whole_with_its_descriptors() -> None:
    near, far = socket.socketpair()
    message = wire.pack("octo", {}, ["x" * 1_000_000])
    with near, far, open(os.devnull) as file:
        sender = threading.Thread(target=wire.send, args=(near, message, [file.fileno()]))
        sender.start()
        body, descriptors = wire.receive(far)
        sender.join()
    assert body == message[4:]
    assert len(descriptors) == 1
    wire.close(descriptors)


def test_a_message_cut_short_or_too_long_is_malformed() -> None:
    for data in (b"\0\0", b"\0\0\0\x09abc", b"\xff\xff\xff\xff"):
        near, far = socket.socketpair()
        with far:
            with near:
                near.sendall(data)
            with pytest.raises(wire.Malformed):
                wire.receive(far)


def test_an_answer_given_before_the_message_was_read_is_an_answer(tmp_path: Path) -> None:
    """octod refuses and closes at once: the caller hears why, not a broken pipe."""
    near, far = socket.socketpair()
    with near:
        with far:
            far.sendall(b"exit 1\n")
        assert wire.answer(near) == "exit 1"


def test_a_caller_whose_reader_leaves_is_gone() -> None:
    near, far = socket.socketpair()
    reader, writer = os.pipe()
    with near, far:
        os.close(reader)
        with pytest.raises(wire.Gone):
            wire.answer(near, writer)
    os.close(writer)
