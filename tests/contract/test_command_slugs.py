"""builds:download and the caller's own standard output: bytes as they are, and never to a terminal."""

import os
import tempfile
from pathlib import Path

import pytest

from tests.contract.command_parts import Octo, read_until, terminal


def fetched(octo: Octo, *words: str, **fields: str) -> tuple[int, bytes, str]:
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        code = octo.commands.run(fields, ["builds:download", *words], [0, out.fileno(), err.fileno()], None, "t0ken")
        out.seek(0), err.seek(0)
        return code, out.read(), err.read().decode()


@pytest.mark.row("F5")
def test_a_slug_comes_byte_for_byte_and_its_name_beside_it(octo: Octo) -> None:
    name = f"ann/shop/main/{'c0ffee00' * 5}"
    assert fetched(octo, "shop", "main") == (0, octo.state.slug, f"Fetching {name}, build b1: 1.0 MB\n")


@pytest.mark.row("F5")
def test_a_slug_never_goes_to_a_terminal(octo: Octo) -> None:
    octo.state.seen.clear()
    for words in (["shop"], ["shop", "main", "--raw"]):
        with terminal() as (master, slave):
            assert octo.commands.run({}, ["builds:download", *words], [slave, slave, slave], None, "t0ken") == 2
            assert read_until(master, b"slug.tgz\r\n").startswith(b" !     cannot write a slug to a terminal\r\n")
    assert octo.state.seen == []


def test_from_afar_it_must_be_said_that_no_terminal_is_there(octo: Octo) -> None:
    code, out, err = fetched(octo, "shop", **{"from": "192.0.2.1"})
    assert (code, out) == (2, b"") and "cannot see from here" in err and "--raw > slug.tgz" in err
    assert fetched(octo, "shop", "--raw", **{"from": "192.0.2.1"})[:2] == (0, octo.state.slug)


def test_a_full_disk_of_the_caller_is_told(octo: Octo) -> None:
    with tempfile.TemporaryFile() as err, Path("/dev/full").open("wb") as full:
        code = octo.commands.run({}, ["builds:download", "shop"], [0, full.fileno(), err.fileno()], None, "t0ken")
        err.seek(0)
        assert code == 1 and b"\n !     cannot write the slug: No space left on device\n" in err.read()


def test_a_reader_who_goes_away_ends_it_quietly(octo: Octo) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with tempfile.TemporaryFile() as err:
        code = octo.commands.run({}, ["builds:download", "shop"], [0, writer, err.fileno()], None, "t0ken")
        err.seek(0)
        assert code == 1 and err.read().count(b"\n") == 1
    os.close(writer)


def test_a_slug_that_was_cut_off_is_no_success(octo: Octo) -> None:
    octo.state.slug_length += 1
    code, out, err = fetched(octo, "shop")
    assert (code, out) == (1, octo.state.slug) and "octod hung up in the middle" in err


@pytest.mark.parametrize("line", ["shop main more", "shop ..", "a/b", "shop v3 -a", "shop --to x"])
def test_wrong_usage_asks_for_nothing(octo: Octo, line: str) -> None:
    octo.state.seen.clear()
    said = octo("builds:download", *line.split())
    assert said.code == 2 and said.out == "" and said.err.startswith(" !     cannot ")
    assert octo.state.seen == []
