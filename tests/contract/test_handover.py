"""Images from one engine to another: whole or only what is new, and a layer's files read whatever they are."""

import base64
import contextlib
import gzip
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from octo.errors import BuildFailed
from octo.images.layers import Store, base_layer, chain_ids, hand_over
from tests.contract.docker_parts import ENGINE, STACK, WORKER, image, need_stack, tar
from tests.contract.engine_parts import place

BASE = f"octo-t{WORKER}-ho/base:1"
CHAIN = "sha256:" + "c" * 64


def test_a_layer_is_made_again_to_the_byte() -> None:
    need_stack()
    store = Store.of(ENGINE)
    assert store
    odd = (
        "RUN mkdir -p /d/é && ln -s /etc /d/l && ln /etc/fstab /d/h; head -c 9999 /dev/urandom > /d/é/x; rm /etc/issue"
    )
    with image(BASE, odd):
        layers = ENGINE.get("images", BASE, "json")["RootFS"]["Layers"]
        for diff, chain in zip(layers[1:], list(chain_ids(layers))[1:], strict=True):
            data = b"".join(store.layer(chain))
            assert "sha256:" + hashlib.sha256(data).hexdigest() == diff
            with tarfile.open(fileobj=io.BytesIO(data)) as tar:
                assert store.size(chain) == (len(data), len(tar.getmembers()))
        assert len(layers) > 1


@pytest.mark.parametrize("known", [True, False])
def test_an_image_arrives_with_its_name_whether_layers_can_be_read_or_not(known: bool) -> None:
    with place() as engine, engine.use() as target, image(BASE, "RUN echo one > /one"):
        id = ENGINE.get("images", BASE, "json")["Id"]
        ours, theirs = (Store.of(ENGINE), engine.store()) if known else (None, None)
        try:
            assert hand_over(id, BASE, f"{BASE}-new", ENGINE, ours, target, theirs) == id
            assert hand_over(id, BASE, f"{BASE}-new", ENGINE, ours, target, theirs) == id, "twice is no error"
            found = target.get("images", f"{BASE}-new", "json")
            assert found["Id"] == id and found["RootFS"] == ENGINE.get("images", BASE, "json")["RootFS"]
            assert found["RepoTags"] == [f"{BASE}-new"]
        finally:
            target.delete("images", f"{BASE}-new")


def test_a_base_that_is_there_already_does_not_travel() -> None:
    need_stack()
    store = Store.of(ENGINE)
    assert store
    (chain,) = chain_ids(ENGINE.get("images", STACK, "json")["RootFS"]["Layers"])
    assert store.has(chain) and not store.has(CHAIN)


def made(root: Path, entries: list[dict[str, object]]) -> Store:
    """A store of one layer with these records."""
    layer = root / "image/overlay2/layerdb/sha256" / CHAIN.removeprefix("sha256:")
    layer.mkdir(parents=True)
    (layer / "cache-id").write_text("cache")
    with gzip.open(layer / "tar-split.json.gz", "wb") as file:
        file.write("".join(json.dumps(e) + "\n" for e in entries).encode())
    (root / "overlay2/cache/diff/folder").mkdir(parents=True)
    return Store(root)


def file(name: str, size: int) -> dict[str, object]:
    return {"type": 1, "name": name, "size": size, "payload": "", "position": 0}


def test_headers_and_files_are_put_together_in_order(tmp_path: Path) -> None:
    odd = {"type": 1, "name_raw": base64.b64encode(b"folder/\xff").decode(), "size": 2, "position": 2}
    head = {"type": 2, "payload": base64.b64encode(b"HEAD").decode(), "position": 0}
    store = made(tmp_path, [head, file("./a", 3), file("folder/", 0), odd, file("folder/b", 1), file("a", 3)])
    diff = tmp_path / "overlay2/cache/diff"
    (diff / "a").write_bytes(b"abcdef")
    (diff / "folder/b").write_bytes(b"b")
    Path(os.fsdecode(bytes(diff) + b"/folder/\xff")).write_bytes(b"xy")
    assert b"".join(store.layer(CHAIN)) == b"HEADabcxybabc"
    assert store.size(CHAIN)[0] == 13


@pytest.mark.parametrize(
    "name",
    [
        "link",
        "folder/link",
        "way/secret",
        "../secret",
        "folder/../../secret",
        "/../secret",
        "pipe",
        "folder",
        "gone",
        "",
    ],
)
def test_no_link_pipe_or_dotted_name_in_a_layer_is_followed(tmp_path: Path, name: str) -> None:
    store = made(tmp_path, [file(name, 6)])
    diff = tmp_path / "overlay2/cache/diff"
    for where in (tmp_path, tmp_path / "overlay2/cache"):
        (where / "secret").write_bytes(b"secret")
    (diff / "link").symlink_to(tmp_path / "secret")
    (diff / "folder/link").symlink_to("../../secret")
    (diff / "way").symlink_to(tmp_path)
    os.mkfifo(diff / "pipe")
    with pytest.raises(BuildFailed, match="cannot take the image over"):
        b"".join(store.layer(CHAIN))


def test_a_file_that_is_shorter_than_it_was_is_told(tmp_path: Path) -> None:
    store = made(tmp_path, [file("a", 100)])
    (tmp_path / "overlay2/cache/diff/a").write_bytes(b"abc")
    with pytest.raises(BuildFailed, match="shorter"):
        b"".join(store.layer(CHAIN))


def test_a_layer_of_another_content_is_refused_by_who_gets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with place() as engine, engine.use() as target, image(BASE, "RUN echo one > /one"):
        id, store = ENGINE.get("images", BASE, "json")["Id"], Store.of(ENGINE)
        assert store
        real = Store.layer
        monkeypatch.setattr(
            Store, "layer", lambda self, chain: (c.replace(b"one\n", b"two\n") for c in real(self, chain))
        )
        with pytest.raises(BuildFailed, match="the engine refused it"):
            hand_over(id, BASE, BASE, ENGINE, store, target, engine.store())
        assert target.find("images", BASE, "json") is None


def test_the_lowest_layer_is_there_before_the_image_and_leaves_no_name_of_its_own() -> None:
    base, meanwhile = f"{BASE}-scratch", f"octo-t{WORKER}-ho/arriving:1"
    with place() as engine, engine.use() as target, scratch(base):
        found = ENGINE.get("images", base, "json")
        theirs, ours = Store.of(ENGINE), engine.store()
        assert theirs and ours
        try:
            for _ in range(2):  # the second time it is there
                with base_layer(found["Id"], meanwhile, theirs, target, ours):
                    assert ours.has(found["RootFS"]["Layers"][0])
                    assert hand_over(found["Id"], base, base, ENGINE, theirs, target, ours) == found["Id"]
            assert not [i for i in target.get("images", "json") if meanwhile in (i.get("RepoTags") or ())]
            assert target.get("images", base, "json")["RootFS"] == found["RootFS"]
        finally:
            target.delete("images", base)


def test_a_lowest_layer_that_cannot_be_read_is_no_reason_to_give_up(monkeypatch: pytest.MonkeyPatch) -> None:
    base, meanwhile = f"{BASE}-scratch", f"octo-t{WORKER}-ho/arriving:1"
    with place() as engine, engine.use() as target, scratch(base):
        found = ENGINE.get("images", base, "json")
        theirs, ours = Store.of(ENGINE), engine.store()
        with monkeypatch.context() as patch:
            patch.setattr(Store, "layer", lambda *_: iter([b"no tar"]))
            with base_layer(found["Id"], meanwhile, theirs, target, ours):
                assert ours and not ours.has(found["RootFS"]["Layers"][0])
        with base_layer(found["Id"], meanwhile, None, target, ours):
            assert target.find("images", meanwhile, "json") is None


@contextlib.contextmanager
def scratch(ref: str) -> Iterator[None]:
    """An image of one layer that no engine has."""
    stream = ENGINE.upload(
        "images", "create", query={"fromSrc": "-", "repo": ref.partition(":")[0], "tag": "1-scratch"}
    )
    stream.send([tar({"file": os.urandom(9999)})])
    stream.answer()
    list(stream.lines())
    stream.close()
    try:
        yield
    finally:
        ENGINE.delete("images", ref)
