"""What is LXC's own: whether it can be used, its map of users, its roots."""

from pathlib import Path

import pytest

from octo import process
from octo.adapters import sandbox_lxc
from octo.adapters.sandbox_lxc import RANGE, SIZE, LxcKind, idmap, usable
from octo.errors import Unavailable
from octo.ports import StackVersion
from octo.sandbox.cells import HOSTS
from octo.sandbox.lxcroot import LxcRoots
from tests.contract.sandbox_parts import CHECKOUT, UID, bench


def test_it_can_be_used_here() -> None:
    assert usable(CHECKOUT) == ""


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    (closed / "lxc").mkdir(parents=True)
    (closed / "lxc" / "syscalls.toml").write_text((CHECKOUT / "lxc" / "syscalls.toml").read_text())
    closed.chmod(0o700)
    assert "is closed to other users" in usable(closed)
    monkeypatch.setattr(sandbox_lxc, "OLDEST", (99,))
    assert usable(CHECKOUT).endswith("is too old")
    monkeypatch.setattr(process, "PATH", str(tmp_path))
    assert usable(CHECKOUT) == "LXC is not installed"


def test_one_user_is_the_same_outside_and_all_others_are_nobodys() -> None:
    lines = [tuple(map(int, line.split())) for line in idmap(UID)]
    outside = {inside + n: there + n for inside, there, count in lines for n in range(count)}
    assert sorted(outside) == list(range(SIZE)) and outside[UID] == UID
    assert all(RANGE <= there < RANGE + SIZE for inside, there in outside.items() if inside != UID)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    made = tmp_path / "tree"
    for name in ("usr/bin", "var", "etc/ssl", "srv"):
        (made / name).mkdir(parents=True)
    (made / "bin").symlink_to("usr/bin")
    (made / "etc" / "passwd").write_text("root:x:0:0::/:/bin/sh\n")
    (made / "etc" / "ssl" / "cert").write_text("cert")
    (made / "etc" / "shadow").write_text("secret")
    (made / "etc" / "shadow").chmod(0o640)
    (made / "etc" / "resolv.conf").symlink_to("../run/resolv.conf")
    (made / "etc" / "os-release").symlink_to("../usr/lib/os-release")
    return made


def version(tree: Path) -> StackVersion:
    return StackVersion("octo-1", "octo", "", str(tree), 0, 0)


def test_a_root_has_mount_points_links_and_a_curated_etc(tmp_path: Path, tree: Path) -> None:
    roots = LxcRoots(tmp_path / "roots", "nameserver 192.0.2.1\n")
    root = roots.root(version(tree))
    assert sorted(LxcRoots.laid_over(tree)) == ["usr", "var"] and not list((root / "usr").iterdir())
    assert (root / "bin").readlink() == Path("usr/bin") and not (root / "srv").exists()
    etc = {str(f.relative_to(root / "etc")) for f in (root / "etc").rglob("*")}
    assert etc == {"passwd", "ssl", "ssl/cert", "os-release", "resolv.conf", "hosts", "hostname"}
    assert (root / "etc/resolv.conf").read_text() == "nameserver 192.0.2.1\n"
    assert (root / "etc/hosts").read_text() == HOSTS and roots.root(version(tree)) == root


def test_a_root_goes_with_its_stack(tmp_path: Path, tree: Path) -> None:
    roots = LxcRoots(tmp_path / "roots", "")
    root = roots.root(version(tree))
    (tmp_path / "roots" / ".half").mkdir()
    roots.sweep()
    assert sorted(f.name for f in (tmp_path / "roots").iterdir()) == [root.name, f"{root.name}.tree"]
    tree.rename(tmp_path / "gone")
    roots.sweep()
    assert not list((tmp_path / "roots").iterdir())
    with pytest.raises(Unavailable):
        roots.root(version(tree))


def test_what_lxc_complains_of_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LxcKind, "_own", lambda kind, spec: iter(["/no/such/folder app none bind"]))
    with bench("lxc") as box:
        with pytest.raises(Unavailable, match=r"it did not come up: .+"):
            box.run(box.spec("/bin/true"))
        assert not box.left()
