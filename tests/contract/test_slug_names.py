"""Hostile names of slugs, at the real API and the real blobs: nothing is read but the slug that is meant."""

import json
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest

from octo import slugname
from octo.adapters.blobs_files import FileBlobs
from octo.catalog import Catalog
from octo.daemon.access import Access
from octo.daemon.routes import application
from octo.errors import Usage
from octo.model import AppName, Build, BuildStatus, UserName
from octo.pipeline.plan import slug_blob
from tests.fakes import FakeStore
from tests.serving import serving

SLUG, SECRET = bytes(range(256)) * 5000, b"the secret beside the slugs"
ID, OTHER = "6920aabb0c0ffe", "6920aabb0c0fff"
REF, COMMIT = "refs/heads/feature/x", "c0ffee" + "0" * 34


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Stage:
    path: Path

    def get(self, target: bytes) -> Answer:
        """As it is: no client puts the path right."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
            link.connect(str(self.path))
            link.sendall(b"GET " + target + b" HTTP/1.1\r\nHost: octo\r\nConnection: close\r\n\r\n")
            said = b"".join(iter(lambda: link.recv(1 << 20), b""))
        head, _, body = said.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        return Answer(int(lines[0].split()[1]), dict(line.split(": ", 1) for line in lines[1:]), body)

    def builds(self, query: str) -> Answer:
        return self.get(f"/apps/shop/builds?{query}".encode("ascii"))


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """shop has one build with a slug; lib has another one; a secret lies beside the blobs and among them."""
    blobs, catalog = FileBlobs(tmp_path / "blobs"), Catalog(FakeStore())
    for name, id in (("shop", ID), ("lib", OTHER)):
        app = catalog.create(AppName(name), now=1.0, owner=UserName("ann"))
        build = Build(id, app.id, COMMIT, None, 1.0, BuildStatus.SUCCEEDED, 2.0, "sha", "x", "octo-1", 9, ref=REF)
        catalog.save_build(build)
        blobs.put(slug_blob(id), [SLUG] if name == "shop" else [SECRET])
    blobs.put("secret.tgz", [SECRET])
    (tmp_path / "secret.tgz").write_bytes(SECRET)
    octo = SimpleNamespace(catalog=catalog, ports=SimpleNamespace(blobs=blobs))
    path = tmp_path / "api.sock"
    with serving({path: application(octo, Access(catalog), {})}):  # type: ignore[arg-type]
        yield Stage(path)


@pytest.mark.row("F5")
def test_a_slug_comes_whole_as_gzip_under_a_plain_name(stage: Stage) -> None:
    found = stage.builds(f"namespace=ann&ref=feature/x&version={COMMIT[:8]}").json()
    assert [(b["id"], b["ref"], b["slug"]["size"]) for b in found] == [(ID, "feature/x", len(SLUG))]
    assert found[0]["slug"]["name"] == f"ann/shop/feature%2Fx/{COMMIT}"
    answer = stage.get(f"/apps/shop/builds/{ID}/slug".encode())
    assert answer.status == 200 and answer.body == SLUG
    assert answer.headers["content-type"] == "application/gzip"
    assert answer.headers["content-length"] == str(len(SLUG))
    assert answer.headers["content-disposition"] == 'attachment; filename="shop-feature-x-c0ffee00.tgz"'


IDS = [
    b"nosuch", b"..", b"%2e%2e", b"..%2f..%2fsecret", b"../../secret", b"%00", ID.encode() + b"%00", b"/etc/passwd",
    b"%2fetc%2fpasswd", b"secret", b"..%5csecret", b"%ff%fe", b"%c0%ae%c0%ae", b"\xff", b"x" * 5000, b"%252e%252e",
    OTHER.encode(), f"{ID}.tgz".encode(), "６920aabb0c0ffe".encode(), quote("６920aabb0c0ffe").encode(), b"*", b"%25",
    b"%0d%0aX-Injected:%201", b"%e2%80%ae", ID.upper().encode(), b"",
]  # fmt: skip


@pytest.mark.row("F5")
@pytest.mark.parametrize("id", IDS)
def test_an_unknown_or_hostile_build_is_not_found_and_no_file_is_read(stage: Stage, id: bytes) -> None:
    answer = stage.get(b"/apps/shop/builds/" + id + b"/slug")
    assert answer.status in (400, 404) and SECRET not in answer.body and SLUG not in answer.body
    assert "X-Injected" not in answer.headers
    if answer.status == 404:
        assert answer.json()["id"] == "not_found" and answer.json()["message"]
    assert stage.get(f"/apps/shop/builds/{ID}/slug".encode()).body == SLUG


# What git refuses, what git takes and octo does not, and look-alikes that both take and that are no ref of this app.
NO_REFS = [
    "..", "../x", "a/../b", "/etc/passwd", "/", "a//b", "a/", "/a", ".a", "a/.b", "a.lock", "a.lock/b", "a.", "nul\0",
    "a b", "a\nb", "a\x7f", "a~1", "a^", "a:b", "a?b", "a*b", "a[b", "a\\b", "a@{b", "x/../../../etc", "\x1b[2J",
]  # fmt: skip
TOO_ODD = ["x" * 300, "é" * 150, "a\u202eb", "a\u200bb", "a\u2028b", "refs/notes/x", "refs/x", "\ufefffeature/x"]
LOOK_ALIKES = [
    "fеature/x",
    "feature／x",
    "feature∕x",
    "Feature/x",
    "feature/X",
    "feature%2Fx",
    "feature/х",
    "ｆeature/x",
]
GOOD = ["feature/x", "refs/heads/feature/x", "heads/feature/x", "tags/v1", "main", "-x", "@", "é", "a@b", "50%2Foff"]


def git_takes(ref: str) -> bool:
    return subprocess.run(["git", "check-ref-format", ref], check=False).returncode == 0


@pytest.mark.row("F5")
@pytest.mark.parametrize("ref", [*NO_REFS, *TOO_ODD])
def test_what_is_no_ref_is_refused_in_one_line(stage: Stage, ref: str) -> None:
    answer = stage.builds(f"ref={quote(ref, safe='')}")
    assert answer.status == 400 and answer.json()["message"].startswith("cannot use ")
    assert answer.json()["message"].isprintable() and len(answer.json()["message"]) < 200


@pytest.mark.row("F5")
@pytest.mark.parametrize("ref", LOOK_ALIKES)
def test_a_look_alike_is_another_ref_and_finds_nothing(stage: Stage, ref: str) -> None:
    answer = stage.builds(f"ref={quote(ref, safe='')}")
    assert (answer.status, answer.json()) == (200, [])


def test_no_ref_is_taken_that_git_would_not_take() -> None:
    for ref in NO_REFS:
        assert "\0" in ref or not git_takes(f"refs/heads/{ref}"), ref
        with pytest.raises(Usage):
            slugname.git_ref(ref)
    for ref in (*GOOD, *LOOK_ALIKES):
        assert git_takes(slugname.git_ref(ref)), ref


@pytest.mark.row("F5")
@pytest.mark.parametrize(
    "query",
    [
        "version=..", "version=%00", "version=c0f", "version=" + "0" * 65, "version=C0FFEE", "version=v0",
        "version=v-1", "version=v999999999", "version=%EF%BC%91234", "version=*", "version=c0ffee%0a", "build=..",
        "build=%2fetc",
        "build=" + "0" * 15, "build=6920aabb0c0ff%00", "namespace=../ann", "namespace=Ann", "namespace=%00",
        "namespace=" + "a" * 65, "namespace=%D0%B0nn",
    ],
)  # fmt: skip
def test_no_other_part_of_a_name_is_hostile_either(stage: Stage, query: str) -> None:
    assert stage.builds(query).status == 400
    assert stage.builds("version=c0ffee&build=6920aabb&namespace=ann").json()[0]["id"] == ID


NAMES = [
    "", "/", "//", "///", "a/b/c", "ann/shop/feature/x/c0ffee", "../shop/main/c0ffee", "ann/../main/c0ffee",
    "ann/shop/../c0ffee", "ann/shop/main/..", "ann/shop/%2e%2e/c0ffee", "ann/shop/main%00/c0ffee",
    "ann/shop/feature%2fx/c0ffee", "ann/shop/%6dain/c0ffee", "ann/shop/feature%252Fx%/c0ffee", "ann/shop/%ff/c0ffee",
    "ann/shop/main/c0ffee/", "/ann/shop/main/c0ffee", "ann/shop/main/c0ffee\n", "ann/shop/é/c0ffee",
    "ann/Shop/main/c0ffee", "ann/shop/main/C0FFEE", "ann/shop/ma in/c0ffee", "ann/shop/" + "%41" * 400 + "/c0ffee",
    "ann/shop/\udcff/c0ffee", "ann%2Fshop/main/c0ffee/x",
]  # fmt: skip


@pytest.mark.row("F5")
@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_is_not_spelled_as_octo_spells_it_is_refused(name: str) -> None:
    with pytest.raises(Usage, match="as the name of a slug") as caught:
        slugname.slug_name(name)
    assert caught.value.message.isprintable() and len(caught.value.message) < 200
