"""Which archive a stack is made of."""

import os
from pathlib import Path
from platform import freedesktop_os_release

import pytest

from octo.errors import Usage
from octo.stack.aptsources import Source, choose, own, package_names
from octo.stack.root import Debootstrap, Plan

CODENAME = freedesktop_os_release()["VERSION_CODENAME"]
DEB822 = """\
Types: deb
URIs: http://mirror.example/debian
Suites: {code} {code}-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb deb-src
URIs: http://security.example/debian-security
Suites: {code}-security
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
"""
ONE_LINE = """\
# deb http://off.example/debian {code} main
deb http://packages.example/apt {code} main
deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://mirror.example/debian {code} main contrib
deb http://mirror.example/debian {code}-updates main
deb-src http://mirror.example/source {code} main
deb http://security.example/debian-security {code}-security main
"""
FOUND = [
    f"deb http://mirror.example/debian/ {CODENAME} main",
    f"deb http://mirror.example/debian/ {CODENAME}-updates main",
    f"deb http://security.example/debian-security/ {CODENAME}-security main",
]


def planned(folder: Path, name: str, text: str, *, suite: str = "", mirror: str = "") -> Plan:
    """What a host with these apt sources and no downloaded lists would make."""
    (folder / "parts").mkdir()
    (folder / "lists" / "partial").mkdir(parents=True)
    (folder / "parts" / name).write_text(text.format(code=CODENAME))
    places = {"Etc::SourceList": "none", "Etc::SourceParts": "parts", "State::Lists": "lists"}
    config = folder / "apt.conf"
    config.write_text("".join(f'Dir::{key} "{folder / place}";\n' for key, place in places.items()))
    return Debootstrap(suite, mirror, (), "", 59204, {**os.environ, "APT_CONFIG": str(config)}).plan({})


# --- with the real apt ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "text"), [("debian.sources", DEB822), ("debian.list", ONE_LINE)])
def test_the_mirror_is_that_of_the_host(tmp_path: Path, name: str, text: str) -> None:
    archive = planned(tmp_path, name, text).archive
    assert (archive.suite, archive.mirror) == (CODENAME, "http://mirror.example/debian/")
    assert [s.line for s in archive.sources] == FOUND


def test_a_host_that_follows_stable_gets_a_stack_of_stable(tmp_path: Path) -> None:
    assert planned(tmp_path, "debian.list", "deb http://mirror.example/debian stable main\n").archive.suite == "stable"


def test_settings_override_mirror_and_suite(tmp_path: Path) -> None:
    archive = planned(tmp_path, "debian.list", ONE_LINE, suite="sid", mirror="http://other.example/d").archive
    assert [s.line for s in archive.sources] == ["deb http://other.example/d sid main"]


def test_a_mirror_of_the_operators_leaves_the_updates_where_they_are(tmp_path: Path) -> None:
    archive = planned(tmp_path, "debian.sources", DEB822, mirror="http://other.example/d").archive
    assert [s.line for s in archive.sources] == [f"deb http://other.example/d {CODENAME} main", *FOUND[1:]]


def test_without_a_mirror_it_says_what_to_set(tmp_path: Path) -> None:
    with pytest.raises(Usage) as caught:
        planned(tmp_path, "other.list", f"deb http://packages.example/apt {CODENAME} main\n")
    assert "OCTO_MIRROR" in caught.value.hint
    assert "OCTO_SUITE" in caught.value.hint


def test_the_mirror_that_a_cloud_image_has_in_a_file_is_found(tmp_path: Path) -> None:
    mirrors = tmp_path / "debian-mirrors.list"
    mirrors.write_text("# the nearest first\nhttp://cloud.example/debian\nhttp://mirror.example/debian\n")
    text = f"deb mirror+file://{mirrors} {CODENAME} main\n"
    assert planned(tmp_path, "debian.list", text).archive.mirror == "http://cloud.example/debian"


# --- in words ------------------------------------------------------------------------------------------------


def test_an_origin_that_is_known_decides() -> None:
    told = "Packages http://a/debian/ bookworm main Example Inc\nPackages http://b/x/ bookworm main Debian\n"
    asked = told.replace("Example Inc", "$(ORIGIN)").replace(" Debian", " $(ORIGIN)")
    assert own(told, asked, {}) == (Source("http://b/x/", "bookworm", "main"),)
    assert [s.uri for s in own("", asked, {})] == ["http://a/debian/"]


def test_ubuntu_has_its_universe() -> None:
    told = "".join(f"Packages http://a/ubuntu/ noble {c} Ubuntu\n" for c in ("main", "restricted", "universe"))
    assert [s.component for s in own(told, "", {})] == ["main", "universe"]
    assert [s.component for s in choose((), "x", suite="noble", mirror="http://b/", universe=True).sources] == [
        "main",
        "universe",
    ]


@pytest.mark.parametrize("suite", ["-o", "a b", "../x", "$(id)", "A"])
def test_a_suite_that_is_none_is_refused(suite: str) -> None:
    with pytest.raises(Usage, match="suite"):
        choose((), "x", suite=suite, mirror="http://a/")


@pytest.mark.parametrize("mirror", ["-x", "ftp://a/", "file:/etc", "http://a b/", "http://a/$(id)", "http://"])
def test_a_mirror_that_is_none_is_refused(mirror: str) -> None:
    with pytest.raises(Usage, match="mirror"):
        choose((), "x", suite="sid", mirror=mirror)


def test_packages_are_names() -> None:
    assert package_names(" ffmpeg,libfoo++-dev  g++ ") == ("ffmpeg", "libfoo++-dev", "g++")
    assert package_names("") == ()


@pytest.mark.parametrize("text", ["-o=x", "--reinstall", "a;b", "vim/sid", "Vim", "./x.deb", "a-"])
def test_an_order_to_apt_is_no_package(text: str) -> None:
    with pytest.raises(Usage, match="package"):
        package_names(text)


# --- when it is made anew ------------------------------------------------------------------------------------


def test_a_stack_is_made_anew_when_its_recipe_changes(tmp_path: Path) -> None:
    extra = tmp_path / "extra.pem"
    extra.write_text("one")
    environ = {**os.environ}
    base = ("", "", (), "", 59204, environ)
    keys = [
        Debootstrap(*base).plan(given).key
        for given in ({}, {"packages": "ffmpeg"}, {"suite": "sid", "mirror": "http://x/"})
    ]
    assert keys[0] == Debootstrap(*base).plan({"suite": "", "packages": ""}).key
    keys.append(Debootstrap("", "", ("gettext",), "", 59204, environ).plan({}).key)
    keys.append(Debootstrap("", "", (), "", 59300, environ).plan({}).key)
    keys.append(Debootstrap("", "", (), str(extra), 59204, environ).plan({}).key)
    extra.write_text("two")
    keys.append(Debootstrap("", "", (), str(extra), 59204, environ).plan({}).key)
    assert len(set(keys)) == len(keys)
