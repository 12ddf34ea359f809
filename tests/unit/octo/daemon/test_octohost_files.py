"""A copy of an octohost's files: what may be read of it, and what is found there."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from octo.daemon.octohost_files import Copy, opened
from octo.daemon.octohost_parts import Parts
from octo.errors import NotFound, Usage
from octo.pipeline.deploy import Silent
from octo.settings import Settings

KEY = "-----BEGIN RSA PRIVATE KEY-----\nx\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "copy"
    (folder / "etc/octohost/templates").mkdir(parents=True)
    return folder


@pytest.fixture
def copy(folder: Path) -> Iterator[Copy]:
    with opened(folder) as copy:
        yield copy


@pytest.fixture
def parts(copy: Copy, tmp_path: Path) -> Parts:
    here = Settings(templates=tmp_path / "ours", certificates=(str(tmp_path / "certificates"),))
    return Parts(copy, here, Silent())


def test_what_is_not_there_is_none(copy: Copy) -> None:
    assert copy.read("kv.json", 10) is None and copy.read("a/b/c", 10) is None and copy.repositories() == ()


def test_no_link_is_followed_and_only_plain_files_of_a_size_are_read(folder: Path, copy: Copy) -> None:
    (folder / "outside").symlink_to("/etc")
    (folder / "shadow").symlink_to("/etc/shadow")
    (folder / "home").symlink_to("/tmp")
    (folder / "long").write_text("12345678901")
    os.mkfifo(folder / "pipe")
    (folder / "bytes").write_bytes(b"\xff")
    for path in ("outside/hostname", "shadow", "long", "pipe", "etc", "bytes"):
        with pytest.raises(Usage, match=f'cannot read "{path}" of the copy'):
            copy.text(path, 10)
    with pytest.raises(Usage, match="home/git"):
        copy.repositories()


@pytest.mark.parametrize("name", ["../x.git", "..;id.git", "link.git", "file.git", "none.git", "empty.git", "a..b.git"])
def test_what_is_no_repository_is_refused(folder: Path, copy: Copy, name: str) -> None:
    git = folder / "home/git"
    (folder / "home/x.git/objects").mkdir(parents=True)
    for each in ("true.git/objects", "empty.git", "..;id.git/objects", "a..b.git/objects"):
        (git / each).mkdir(parents=True)
    (git / "link.git").symlink_to(git / "true.git")
    (git / "file.git").write_text("gitdir: true.git\n")
    with copy.repository("true.git"):
        pass
    with pytest.raises(NotFound), copy.repository(name):
        pass


@pytest.mark.parametrize("path", ["copy", "/tmp/../etc"])
def test_a_copy_is_named_by_its_whole_path(path: str) -> None:
    with pytest.raises(Usage), opened(Path(path)):
        pass


def test_certificates_come_as_text_and_no_other_file_does(folder: Path, parts: Parts, tmp_path: Path) -> None:
    (folder / "etc/key").write_text(KEY)
    (folder / "etc/shadow").write_text("root:secret")
    (tmp_path / "certificates").mkdir()
    here = tmp_path / "certificates/own.pem"
    here.write_text(KEY)
    assert parts.pem("/etc/key") == KEY and parts.pem(KEY) == KEY and parts.pem(str(here)) == str(here)
    for path in ("/etc/shadow", "/etc/passwd", "/etc/../etc/key", "etc/key", "/", f"{here}.."):
        with pytest.raises(Usage):
            parts.pem(path)


def test_a_template_is_put_translated_and_never_over_another(folder: Path, parts: Parts, tmp_path: Path) -> None:
    there = folder / "etc/octohost/templates/own.ctmpl"
    there.write_text("server {\n  listen 80;\n} # REPLACEME\n")
    ours = tmp_path / "ours/own.conf"
    assert parts.template("/etc/octohost/templates/own.ctmpl") == "own.conf"
    assert ours.read_text() == "server {\n  include listen.conf;\n} # {{ name }}\n"
    ours.write_text("by hand")
    assert parts.template("/elsewhere/own.ctmpl") == "own.conf" and ours.read_text() == "by hand"
    assert [file.name for file in ours.parent.iterdir()] == ["own.conf"]
    there.unlink()
    assert parts.template("own.ctmpl") == "own.conf"


@pytest.mark.parametrize("given", ["/etc/shadow", "/etc/key", "../../key", "none.ctmpl", "/", ".ctmpl", "bad.ctmpl"])
def test_a_template_that_cannot_be_makes_no_file(folder: Path, parts: Parts, tmp_path: Path, given: str) -> None:
    (folder / "etc/key").write_text(KEY)
    (folder / "etc/octohost/templates/bad.ctmpl").write_text("{{ datacenters }}")
    with pytest.raises(Usage):
        parts.template(given)
    assert not (tmp_path / "ours").exists()
