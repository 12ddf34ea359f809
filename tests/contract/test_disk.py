"""The Disks' promises, kept on real file systems and by a real engine."""

import os
import secrets
import subprocess
from pathlib import Path

import pytest

from octo.adapters.disk_host import HostDisk, layers_of, taken
from octo.errors import Full
from octo.pipeline.disk import DiskGuard
from octo.specs import GB, MB
from tests.contract.disk_parts import small_disk
from tests.contract.docker_parts import ENGINE, INSTANCE, STACK, image, need_stack


def disks(home: Path) -> HostDisk:
    home.mkdir(exist_ok=True)
    return HostDisk(
        ENGINE,
        home=home,
        repositories=home / "repos",
        apart=(home / "blobs", home / "stacks"),
        build_engine=home / "engine",
        build_engine_most=20 * GB,
    )


def du(path: Path) -> int:
    done = subprocess.run(["du", "-sx", "--block-size=512", str(path)], check=True, capture_output=True, text=True)
    return int(done.stdout.split()[0]) * 512


# --- what is free ---------------------------------------------------------------------------------------------------


def test_a_push_is_refused_when_a_real_disk_is_nearly_full(tmp_path: Path) -> None:
    with small_disk(tmp_path / "home", "size=8m") as home:
        guard = DiskGuard(disks(home), 4 * MB)
        guard.check("take the push")
        (home / "filler").write_bytes(b"x" * 5 * MB)
        with pytest.raises(Full, match=f"cannot take the push: 3 MB are free on {home}, 4 MB are needed"):
            guard.check("take the push")
        (home / "filler").unlink()
        guard.check("take the push")


def test_a_push_is_refused_when_a_real_disk_can_hold_no_more_files(tmp_path: Path) -> None:
    with small_disk(tmp_path / "home", "size=8m,nr_inodes=200") as home:
        guard = DiskGuard(disks(home), MB)
        with pytest.raises(Full, match=rf"\d+ files can still be made on {home}"):
            guard.check("build")


def test_a_file_system_counts_once_and_the_engines_root_is_looked_at(tmp_path: Path) -> None:
    root = Path(ENGINE.get("info")["DockerRootDir"])
    with small_disk(tmp_path / "home", "size=8m") as home:
        assert [r.path for r in disks(home).rooms()] == [str(home), str(root)]
    beside = disks(tmp_path / "other").rooms()
    assert len(beside) == len({os.stat(r.path).st_dev for r in beside})


# --- what is taken --------------------------------------------------------------------------------------------------


def test_a_folder_takes_what_du_says(tmp_path: Path) -> None:
    top = tmp_path / "top"
    (top / "a/b").mkdir(parents=True)
    for number in range(20):
        (top / "a/b" / f"{number}").write_bytes(os.urandom(5000 * number))
    os.link(top / "a/b/19", top / "again")
    (top / "a/sparse").touch()
    os.truncate(top / "a/sparse", 50 * MB)
    assert taken(top).bytes == du(top) < 3 * MB
    assert taken(top).whole


def test_no_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "big").mkdir()
    (tmp_path / "big/file").write_bytes(os.urandom(2 * MB))
    top = tmp_path / "top"
    top.mkdir()
    (top / "file").symlink_to(tmp_path / "big/file")
    (top / "folder").symlink_to(tmp_path / "big")
    (top / "round").symlink_to(top)
    assert taken(top).bytes == du(top) < MB
    assert taken(top / "folder").bytes < MB
    assert taken(tmp_path / "absent").bytes == 0


def test_a_pipe_in_a_folder_stops_nobody(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert taken(tmp_path).whole


def test_what_is_mounted_in_a_folder_is_not_its_own(tmp_path: Path) -> None:
    before = taken(tmp_path).bytes
    with small_disk(tmp_path / "mounted", "size=8m") as mounted:
        (mounted / "file").write_bytes(b"x" * MB)
        assert taken(tmp_path).bytes - before < 64 * 1024


def test_a_folder_without_end_is_counted_so_far(tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / f"{number}").write_bytes(b"x")
    assert not taken(tmp_path, most=10).whole
    deep = tmp_path
    for _ in range(200):
        deep = deep / "d"
        deep.mkdir()
    assert not taken(tmp_path).whole


def test_octos_folders_are_told_apart(tmp_path: Path) -> None:
    home = disks(tmp_path / "home")
    for name, size in {"repos/a.git/pack": 3, "blobs/slugs/1": 5, "engine/disk": 7, "octo.db": 1}.items():
        path = tmp_path / "home" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(size * MB))
    assert round(home.repository("a").bytes / MB) == 3
    assert round(home.build_engine()[0].bytes / MB) == 7
    assert round(home.others().bytes / MB) == 1
    assert home.repository("b").bytes == 0


# --- images ---------------------------------------------------------------------------------------------------------


def test_an_images_own_layers_are_told_from_its_stacks(tmp_path: Path) -> None:
    need_stack()
    name = f"{INSTANCE}-disk:{secrets.token_hex(4)}"
    steps = "WORKDIR /nowhere/yet\nRUN head -c 3000000 /dev/urandom > /file\nEXPOSE 80\nRUN true\nCMD true"
    with image(name, steps):
        found = {tag: i for i in disks(tmp_path / "home").images() for tag in i.tags}
        base, own = found[STACK].layers, found[name].layers
    assert own[: len(base)] == base
    assert sorted(size for _, size in own[len(base) :]) == [0, 3000000]
    assert sum(size for _, size in base) > 100 * MB


def test_tags_are_those_of_all_images(tmp_path: Path) -> None:
    need_stack()
    assert STACK in disks(tmp_path / "home").tags()


def test_a_layer_is_another_one_on_another_base() -> None:
    one, two = (layers_of([base, "sha256:x"], [{"Size": 5}, {"Size": 9}]) for base in ("sha256:a", "sha256:b"))
    assert one[1][1] == two[1][1] == 5 and one[1][0] != two[1][0]


CLASSIC = [  # as the engine has it: the newest first
    {"Size": 0, "CreatedBy": '/bin/sh -c #(nop)  CMD ["x"]'},
    {"Size": 40, "CreatedBy": "/bin/sh -c make"},
    {"Size": 0, "CreatedBy": "/bin/sh -c #(nop) WORKDIR /app"},
    {"Size": 0, "CreatedBy": "/bin/sh -c #(nop)  ENV A=1"},
    {"Size": 900, "CreatedBy": "/bin/sh -c #(nop) ADD file:1 in / "},
]
BUILDKIT = [
    {"Size": 0, "CreatedBy": 'CMD ["x"]'},
    {"Size": 40, "CreatedBy": "RUN /bin/sh -c make # buildkit"},
    {"Size": 0, "CreatedBy": "WORKDIR /app"},
    {"Size": 0, "CreatedBy": "ENV A=1"},
    {"Size": 900, "CreatedBy": "COPY / / # buildkit"},
]


@pytest.mark.parametrize("history", [CLASSIC, BUILDKIT], ids=["classic", "buildkit"])
def test_the_history_is_matched_to_the_layers(history: list[dict[str, object]]) -> None:
    assert [size for _, size in layers_of(["a", "b", "c"], history)] == [900, 0, 40]
    assert [size for _, size in layers_of(["a", "b"], history)] == [900, 40]  # the folder was there


@pytest.mark.parametrize("history", [[], [{}], CLASSIC[:2], CLASSIC * 3])
def test_a_history_that_does_not_match_breaks_nothing(history: list[dict[str, object]]) -> None:
    assert len(layers_of(["a", "b", "c"], history)) == 3
