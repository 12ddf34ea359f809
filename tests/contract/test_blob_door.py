"""The signed addresses at the real door: HTTP over a Unix socket, files behind it."""

import asyncio
import contextlib
import http.client
import os
import re
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from octo.adapters.blobs_files import FileBlobs
from octo.daemon.blobs import BlobDoor
from octo.signing import Signer
from octo.specs import MB
from tests.contract.disk_parts import small_disk
from tests.fakes import FakeClock
from tests.serving import answered, serving

MOST = 1000
NAME = "slugs/6920aabb0c0ffe.tgz"


class Link(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("octo", timeout=30)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30)
        self.sock.connect(str(self._path))


@dataclass
class Door:
    blobs: FileBlobs
    clock: FakeClock
    folder: Path
    path: Path
    loop: asyncio.AbstractEventLoop
    others: Path  # another sandbox's socket, to which nothing was given

    def ask(
        self, method: str, target: str, body: object = None, *, at: Path | None = None, **headers: str
    ) -> tuple[int, bytes]:
        link = Link(at or self.path)
        with contextlib.closing(link):
            names = {k.replace("_", "-"): v for k, v in headers.items()}
            with contextlib.suppress(
                BrokenPipeError, ConnectionResetError
            ):  # it did not want more: the answer says why
                link.request(method, target, body, names)  # type: ignore[arg-type]
            answer = link.getresponse()
            return answer.status, answer.read()

    def raw(self, data: bytes, *, cut: bool = False) -> bytes:
        """Send this; what comes back until octod hangs up. cut: we hang up first, and octod has noticed."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(30)
            sock.connect(str(self.path))
            sock.sendall(data)
            if cut:
                sock.shutdown(socket.SHUT_WR)
            said = b""
            while part := sock.recv(65536):
                said += part
        answered(self.loop)
        return said

    def put(self, most: int = MOST, name: str = NAME) -> str:
        return self.blobs.sign("PUT", name, seconds=3600, most=most)

    def get(self, name: str = NAME) -> str:
        return self.blobs.sign("GET", name, seconds=600)

    def stored(self, name: str = NAME) -> bytes:
        return b"".join(self.blobs.get(name))

    def left(self) -> list[str]:
        return sorted(str(p.relative_to(self.folder)) for p in self.folder.rglob("*") if p.is_file())


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    clock = FakeClock()
    blobs = FileBlobs(tmp_path / "blobs", Signer(clock.now))
    app, own, others = BlobDoor(blobs, slowest=0.5), tmp_path / "own", tmp_path / "others"
    with serving({own: app, others: app.only([])}, lambda peer: peer.pid == os.getpid()) as loop:
        yield Door(blobs, clock, tmp_path / "blobs", own, loop, others)


@pytest.mark.row("E11", "F1", "F4")
@pytest.mark.parametrize("body", [b"x" * MOST, (b"x" * 999, b"x")], ids=["length", "chunked"])
def test_an_upload_is_stored_and_can_be_fetched(door: Door, body: object) -> None:
    assert door.ask("PUT", door.put(), body) == (200, b"1000")
    assert door.ask("GET", door.get()) == (200, b"x" * MOST)


def test_a_large_upload_arrives_as_it_was_sent(door: Door) -> None:
    sent = os.urandom(9_000_001)
    parts = (sent[i : i + 70_000] for i in range(0, len(sent), 70_000))
    assert door.ask("PUT", door.put(len(sent)), parts) == (200, b"9000001")
    assert door.stored() == sent
    assert door.ask("GET", door.get()) == (200, sent)


def test_a_new_upload_replaces_the_old_one(door: Door) -> None:
    for content in (b"the old one", b"new"):
        assert door.ask("PUT", door.put(), content)[0] == 200
    assert door.stored() == b"new"


def test_what_is_not_there_is_told(door: Door) -> None:
    assert door.ask("GET", door.get())[0] == 404


# --- altered addresses, by their numbers in the list of hostile inputs ---


def raised(target: str) -> str:
    return re.sub(r"expires=(\d+)", lambda m: f"expires={int(m[1]) + 9999}", target)


ALTERED: dict[str, tuple[str, Callable[[str], str]]] = {  # number and what it is: method it is used with, change
    "288 an object of another app": ("PUT", lambda t: t.replace(NAME, "slugs/0000aabb0c0ffe.tgz")),
    "289 another method": ("GET", lambda t: t),
    "290 another key": ("PUT", lambda t: t.replace(NAME, "caches/0123456789ab.tgz")),
    "291 encoded dots": ("PUT", lambda t: t.replace(NAME, "caches%2f..%2f" + NAME)),
    "291 encoded slash": ("PUT", lambda t: t.replace(NAME, NAME.replace("/", "%2F"))),
    "292 a parameter twice": ("PUT", lambda t: t + "&most=99999"),
    "293 expiry raised": ("PUT", raised),
    "294 signature truncated": ("PUT", lambda t: t[:-2]),
    "294 signature empty": ("PUT", lambda t: t[:-64]),
    "294 signature too long": ("PUT", lambda t: t + "00"),
    "294 signature in upper case": ("PUT", lambda t: t[:-64] + t[-64:].upper()),
    "294 signature with a NUL": ("PUT", lambda t: t + "%00"),
    "a larger size": ("PUT", lambda t: t.replace("most=1000", "most=9999")),
    "no query": ("PUT", lambda t: t.partition("?")[0]),
}


@pytest.mark.row("F1")
@pytest.mark.parametrize("what", ALTERED)
def test_an_altered_address_is_refused_and_changes_nothing(door: Door, what: str) -> None:
    door.blobs.put(NAME, [b"old"])
    target = door.put()
    method, change = ALTERED[what]
    assert door.ask(method, change(target), b"new" if method == "PUT" else None)[0] == 403
    assert door.stored() == b"old" and door.left() == [NAME]
    assert door.ask("PUT", target, b"new")[0] == 200  # the true one is none the worse


@pytest.mark.row("F1")
def test_284_an_address_works_once(door: Door) -> None:
    put, door_get = door.put(), door.get()
    assert [door.ask("PUT", put, b"one")[0], door.ask("PUT", put, b"two")[0]] == [200, 403]
    assert [door.ask("GET", door_get), door.ask("GET", door_get)[0]] == [(200, b"one"), 403]


@pytest.mark.row("F1")
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_of_two_at_once_with_the_same_address_one_is_served(door: Door, method: str) -> None:
    door.blobs.put(NAME, [b"old"])
    target, body = (door.get(), None) if method == "GET" else (door.put(), b"new")
    with ThreadPoolExecutor(8) as pool:
        came = list(pool.map(lambda _: door.ask(method, target, body)[0], range(8)))
    assert sorted(came) == [200, *[403] * 7]


def test_285_an_address_is_of_no_use_in_another_sandbox(door: Door) -> None:
    target = door.put()
    assert door.ask("PUT", target, b"x", at=door.others)[0] == 403
    assert door.ask("PUT", target, b"x")[0] == 200


@pytest.mark.row("F1")
def test_286_an_address_expires(door: Door) -> None:
    put, got = door.put(), door.get()
    door.blobs.put(NAME, [b"old"])
    door.clock.sleep(601)
    assert door.ask("GET", got)[0] == 403
    door.clock.sleep(3000)
    assert door.ask("PUT", put, b"new")[0] == 403
    assert door.stored() == b"old"


def test_296_a_length_that_promises_more_stores_nothing(door: Door) -> None:
    door.blobs.put(NAME, [b"old"])
    door.raw(f"PUT {door.put()} HTTP/1.1\r\nHost: octo\r\nContent-Length: 9\r\n\r\nhalf".encode(), cut=True)
    assert door.stored() == b"old" and door.left() == [NAME]


def test_296_what_follows_a_length_that_is_too_small_is_no_part_of_it(door: Door) -> None:
    said = door.raw(f"PUT {door.put()} HTTP/1.1\r\nHost: octo\r\nContent-Length: 3\r\n\r\nonetwo\r\n\r\n".encode())
    assert said.startswith(b"HTTP/1.1 200") and b"HTTP/1.1 400" in said
    assert door.stored() == b"one"


@pytest.mark.row("E11")
def test_297_an_upload_that_is_cut_off_stores_nothing_and_may_be_tried_again(door: Door) -> None:
    door.blobs.put(NAME, [b"old"])
    target = door.put()
    door.raw(
        f"PUT {target} HTTP/1.1\r\nHost: octo\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n".encode(), cut=True
    )
    assert door.stored() == b"old" and door.left() == [NAME]
    assert door.ask("PUT", target, b"whole")[0] == 200
    assert door.stored() == b"whole"


@pytest.mark.row("E11")
def test_whoever_was_cut_off_may_be_back_at_once(door: Door) -> None:
    target = door.put()
    for _ in range(20):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(door.path))
            sock.sendall(f"PUT {target} HTTP/1.1\r\nHost: octo\r\nContent-Length: 9\r\n\r\nhalf".encode())
    assert [door.ask("PUT", target, b"whole")[0], door.ask("PUT", target, b"again")[0]] == [200, 403]
    assert door.stored() == b"whole"


def test_298_a_range_gets_the_whole(door: Door) -> None:
    door.blobs.put(NAME, [b"0123456789"])
    assert door.ask("GET", door.get(), Range="bytes=2-4") == (200, b"0123456789")


@pytest.mark.parametrize("body", [b"x" * (MOST + 1), (b"x" * MOST, b"x")], ids=["length", "chunked"])
def test_an_upload_that_is_too_large_stores_nothing(door: Door, body: object) -> None:
    door.blobs.put(NAME, [b"old"])
    status, words = door.ask("PUT", door.put(), body)
    assert (status, words) == (413, b"cannot take that: it is larger than 1000 bytes")
    assert door.stored() == b"old" and door.left() == [NAME]


def test_an_endless_upload_ends_at_its_size(door: Door) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        while True:
            sent += 65536
            yield b"x" * 65536

    assert door.ask("PUT", door.put(1_000_000), endless())[0] == 413
    assert sent < 50_000_000 and door.left() == []


def test_an_upload_without_a_length_is_refused(door: Door) -> None:
    assert door.raw(f"PUT {door.put()} HTTP/1.1\r\nHost: octo\r\n\r\n".encode()).startswith(b"HTTP/1.1 411")
    assert door.left() == []


def test_an_upload_that_stands_still_is_given_up_and_may_be_tried_again(door: Door) -> None:
    target = door.put()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(30)
        sock.connect(str(door.path))
        sock.sendall(f"PUT {target} HTTP/1.1\r\nHost: octo\r\nContent-Length: 9\r\n\r\nhalf".encode())
        assert sock.recv(12) == b"HTTP/1.1 408"
    assert door.left() == []
    assert door.ask("PUT", target, b"whole")[0] == 200


def test_a_compressed_body_is_kept_as_it_came(door: Door) -> None:
    bomb = b"\x1f\x8b\x08" + b"\0" * 100
    assert door.ask("PUT", door.put(), bomb, Content_Encoding="gzip") == (200, b"103")
    assert door.stored() == bomb


def test_a_full_disk_is_told_keeps_what_was_there_and_may_be_tried_again(door: Door) -> None:
    target = door.put(MB)
    with small_disk(door.folder, "size=256k"):
        door.blobs.put(NAME, [b"old"])
        assert door.ask("PUT", target, b"x" * 900_000) == (507, f'cannot store "{NAME}": the disk is full'.encode())
        assert door.stored() == b"old" and door.left() == [NAME]
        assert door.ask("PUT", target, b"new")[0] == 200
        assert door.stored() == b"new"


def test_uploads_go_on_side_by_side(door: Door) -> None:
    waiting = [socket.socket(socket.AF_UNIX) for _ in range(8)]
    for number, sock in enumerate(waiting):
        sock.connect(str(door.path))
        target = door.put(name=f"caches/{number}.tgz")
        sock.sendall(f"PUT {target} HTTP/1.1\r\nHost: octo\r\nContent-Length: 4\r\n\r\nha".encode())
    assert door.ask("PUT", door.put(), b"whole")[0] == 200
    for sock in waiting:
        sock.close()
