"""What the real stacks promise beyond the port: two halves, kill -9, the lock, and what is in the tree."""

import fcntl
import json
import os
import select
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from octo.adapters.stack_debootstrap import DebootstrapStacks
from octo.engine import Engine
from octo.errors import Conflict, Unavailable, Usage
from octo.stack.folder import LATEST
from octo.stack.root import Debootstrap, without_password
from octo.stack.tree import APP_UID, MOUNT_POINTS
from tests.build_engine import CHECKOUT
from tests.contract.docker_parts import ENGINE
from tests.contract.stack_parts import Place, Tiny, shared, tags, tiny_stacks

BUILD_UID = 59204


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with tiny_stacks(tmp_path / "stacks") as made:
        yield made


def silent(data: bytes) -> None:
    pass


# --- two halves ----------------------------------------------------------------------------------------------


def test_a_stack_is_made_once_and_only_looked_at_then(place: Place) -> None:
    made = place.stacks.ensure(place.name, silent)
    told: list[bytes] = []
    assert place.stacks.ensure(place.name, told.append) == made
    assert (place.maker.made, told) == (1, [])


def test_another_recipe_makes_it_anew(place: Place) -> None:
    first = place.stacks.build(place.name, {"packages": "one"}, silent)
    assert place.stacks.ensure(place.name, silent) == first
    second = place.stacks.build(place.name, {"packages": "two"}, silent)
    assert place.stacks.ensure(place.name, silent) == second


def test_the_images_have_the_names_that_dockerfiles_use(place: Place) -> None:
    made = place.stacks.build(place.name, {}, silent)
    default = place.stacks.build(f"{place.name}-default", {}, silent)
    assert tags(place.name) == {made.id, place.name, default.id, default.name, f"{place.name}-latest"}
    image = ENGINE.get("images", f"octo/stack:{place.name}", "json")
    assert image["Config"]["Labels"]["octo.stack"] == made.id
    assert image["Config"]["Cmd"] == ["bash"]
    assert "LANG=C.UTF-8" in image["Config"]["Env"]


def test_a_tree_that_is_missing_comes_from_the_image(place: Place, tmp_path: Path) -> None:
    made = place.stacks.build(place.name, {"packages": "one"}, silent)
    with tiny_stacks(tmp_path / "other", maker=Tiny(failure="it is not to be made again")) as other:
        again = other.stacks.ensure(place.name, silent)
    assert (again.id, again.recipe, again.created_at) == (made.id, made.recipe, made.created_at)
    assert again.tree != made.tree
    assert Path(again.tree, "etc/content").read_text() == Path(made.tree, "etc/content").read_text()
    assert not Path(again.tree, ".dockerenv").exists()
    assert not list(Path(again.tree, "dev").iterdir())


def test_an_image_that_is_missing_comes_from_the_tree(place: Place) -> None:
    made = place.stacks.build(place.name, {}, silent)
    for tag in tags(place.name):
        ENGINE.delete("images", f"octo/stack:{tag}")
    place.maker.failure = "it is not to be made again"
    assert place.stacks.ensure(place.name, silent) == made
    assert tags(place.name) == {made.id, place.name}


def test_an_image_of_somebody_else_is_not_taken_for_a_stack(place: Place, tmp_path: Path) -> None:
    made = place.stacks.build(place.name, {}, silent)
    ENGINE.post("images", made.image, "tag", query={"repo": "octo/stack", "tag": f"{place.name}-b"})
    assert place.stacks.ensure(f"{place.name}-b", silent).id != made.id
    assert place.maker.made == 2


# --- who uses it -----------------------------------------------------------------------------------------------


def test_a_version_that_is_mounted_somewhere_stays(place: Place) -> None:
    made = place.stacks.build(place.name, {}, silent)
    script = 'mount --bind "$1" "$1/etc" && echo mounted && exec cat'
    argv = ["unshare", "--mount", "sh", "-c", script, "sh", made.tree]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as box:
        assert box.stdout and box.stdin
        assert box.stdout.readline() == b"mounted\n"
        with pytest.raises(Conflict):
            place.stacks.remove(made.id)
        new = place.stacks.build(place.name, {"packages": "two"}, silent)
        assert {v.id for v in place.stacks.list()} == {made.id, new.id}
        box.stdin.close()
        box.wait()
    assert place.stacks.sweep() == [made.id]


def test_a_version_on_which_a_container_runs_stays(place: Place) -> None:
    made = place.stacks.build(place.name, {}, silent)
    container = ENGINE.post("containers", "create", body={"Image": made.image, "Cmd": ["x"]})["Id"]
    try:
        place.stacks.build(place.name, {"packages": "two"}, silent)
        assert made.id in {v.id for v in place.stacks.list()}
    finally:
        ENGINE.delete("containers", container, query={"force": True})
    assert place.stacks.sweep() == [made.id]


def test_two_are_not_made_at_once(place: Place) -> None:
    place.folder.mkdir()
    told: list[bytes] = []
    waiting = threading.Event()

    def tell(data: bytes) -> None:
        told.append(data)
        waiting.set()

    with (place.folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        second = threading.Thread(target=place.stacks.build, args=[place.name, {}, tell])
        second.start()
        assert waiting.wait(30)
        assert told == [b"-----> Waiting for another stack to be made\n"]
        assert place.stacks.sweep() == ()
        assert place.maker.made == 0
    second.join()
    assert place.stacks.current(place.name)


# --- what comes in between ------------------------------------------------------------------------------------


def test_without_an_engine_nothing_is_begun(tmp_path: Path) -> None:
    maker, nowhere = Tiny(), Engine(tmp_path / "none.sock")
    stacks = DebootstrapStacks(nowhere, tmp_path / "stacks", default="octo", maker=maker, used=lambda id: False)
    for make in (lambda: stacks.build("octo", {}, silent), lambda: stacks.ensure("octo", silent)):
        with pytest.raises(Unavailable):
            make()
    assert maker.made == 0
    assert stacks.list() == []


BUILD = """
import os, sys
from pathlib import Path
sys.path.insert(0, {checkout!r})
from octo.stack.work import Work
from tests.contract.stack_parts import Tiny, tiny_stacks

def run(root):
    (root / "proc").mkdir()
    Work(root, lambda data: os.write(1, data), {{}}).run(["sh", "-c", "echo up; sleep 1000; :"], proc=root / "proc")

with tiny_stacks(Path(sys.argv[1]), maker=Tiny(during=[run])) as place:
    place.stacks.build(place.name, {{}}, lambda data: None)
"""


def test_a_kill_in_the_middle_leaves_a_folder_alone_and_the_next_sweep_takes_it(place: Place) -> None:
    argv = [sys.executable, "-c", BUILD.format(checkout=str(CHECKOUT)), str(place.folder)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as octo:
        assert octo.stdout
        assert octo.stdout.readline() == b"up\n"
        inside = named_in_proc("mountinfo", place.folder)
        ends = [os.pidfd_open(int(pid)) for pid in inside]
        octo.kill()
        assert inside and all(select.select([end], [], [], 30)[0] for end in ends)  # it is readable when it has ended
        for end in ends:
            os.close(end)
    assert not named_in_proc("mountinfo", place.folder)
    (left,) = place.stacks.sweep()
    assert left.startswith(".new-")
    assert {p.name for p in place.folder.iterdir()} == {".lock"}


def named_in_proc(file: str, folder: Path) -> list[str]:
    """The processes in whose file the folder is named."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str(folder).encode() in (process / file).read_bytes():
                found.append(process.name)
        except OSError:
            continue
    return found


# --- the tree --------------------------------------------------------------------------------------------------


def test_nothing_in_the_tree_gives_rights_away() -> None:
    root = Path(shared().current("octo").tree)
    seen = 0
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = Path(folder, name)
            found = path.lstat()
            kind = stat.S_IFMT(found.st_mode)
            assert kind in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK), path
            assert kind == stat.S_IFLNK or not found.st_mode & (stat.S_ISUID | stat.S_ISGID), path
            assert kind != stat.S_IFREG or "security.capability" not in os.listxattr(path), path
            writable = found.st_mode & 0o002 and not found.st_mode & stat.S_ISVTX
            assert kind == stat.S_IFLNK or not writable, path
            seen += 1
    assert seen > 10_000
    assert not list((root / "dev").iterdir())


def test_the_tree_has_the_users_and_the_places_to_mount_on() -> None:
    version = shared().current("octo")
    root = Path(version.tree)
    lines = dict(line.split(":", 1) for line in (root / "etc/passwd").read_text().splitlines())
    assert lines["app"] == f"x:{APP_UID}:{APP_UID}::/app:/bin/bash"
    assert lines["build"] == f"x:{BUILD_UID}:{BUILD_UID}::/app:/bin/bash"
    assert all((root / name).is_dir() for name in MOUNT_POINTS)
    assert not [n for n in MOUNT_POINTS if n != "run/octo" and list((root / n).iterdir()) and n != "run"]
    assert (root / "app").stat().st_uid == APP_UID
    for folder in (root, *list(root.parents)[:2]):
        assert folder.stat().st_mode & 0o005 == 0o005, folder


def docker(*words: str) -> str:
    done = subprocess.run(["docker", "run", "--rm", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("tag", ["octo", LATEST])
def test_the_image_runs_as_app_and_has_what_buildpacks_need(tag: str) -> None:
    script = """
        id -un; cd && pwd; touch here && echo mine
        for p in git curl jq unzip xz zstd igzip ps file gcc pkg-config python3 pip3 node npm; do
            command -v $p >&2
        done
        python3 -m venv /tmp/venv >&2 && node -e 'console.log(1 + 1)'
    """
    said = docker("--user", "app", "--network", "none", f"octo/stack:{tag}", "sh", "-euc", script)
    assert said == "app\n/app\nmine\n2\n"


def test_it_trusts_whom_its_host_trusts() -> None:
    bundle = "etc/ssl/certs/ca-certificates.crt"
    mine = Path(shared().current("octo").tree, bundle).read_bytes()
    assert mine.startswith(Path("/", bundle).read_bytes())


def test_a_stack_is_made_of_the_hosts_own_archive_and_what_is_asked_for(tmp_path: Path) -> None:
    extra = tmp_path / "extra.pem"
    extra.write_text("-----BEGIN CERTIFICATE-----\n")
    maker = Debootstrap("", "", ("jq",), str(extra), BUILD_UID, os.environ, base=())
    told: list[bytes] = []
    with tiny_stacks(tmp_path / "stacks", maker=maker) as place:
        made = place.stacks.build(place.name, {"packages": "zstd"}, told.append)
        script = "id -u; jq -n 1; zstd -q --version >/dev/null; apt-get -q check >/dev/null && echo whole"
        said = docker("--network", "none", made.image, "sh", "-euc", script)
        record = json.loads((place.folder / made.id / "stack.json").read_text())
    assert said == "0\n1\nwhole\n"
    assert made.recipe["packages"] == "jq,zstd"
    assert record["given"] == {"packages": "zstd"}
    assert told[0].startswith(b"-----> Bootstrapping ")
    assert not named_in_proc("mountinfo", tmp_path)


def test_a_ca_file_that_is_not_there_is_told_before_anything_is_made(tmp_path: Path) -> None:
    maker = Debootstrap("", "", (), str(tmp_path / "none.pem"), BUILD_UID, os.environ, base=())
    with tiny_stacks(tmp_path / "stacks", maker=maker) as place, pytest.raises(Usage, match="extra_ca"):
        place.stacks.build(place.name, {}, silent)


def test_a_mirrors_password_is_not_shown() -> None:
    assert without_password("http://ann:secret@mirror.example/debian") == "http://mirror.example/debian"
    assert without_password("http://mirror.example:8080/debian/") == "http://mirror.example:8080/debian/"
