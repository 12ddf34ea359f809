"""The settings of how apps are served, and the links that people are told."""

from pathlib import Path

import pytest

from octo.errors import Usage
from octo.figures import link_of
from octo.settings import Settings, load


def settings(tmp_path: Path, **given: str) -> Settings:
    return load({"OCTO_HOME": str(tmp_path), **{f"OCTO_{name.upper()}": value for name, value in given.items()}})


def test_folders_lie_in_octos_home_unless_they_are_said_in_full(tmp_path: Path) -> None:
    made = settings(tmp_path, certificates="certificates,/etc/letsencrypt", templates="mine")
    assert made.certificates == (f"{tmp_path}/certificates", "/etc/letsencrypt")
    assert made.templates == tmp_path / "mine"


@pytest.mark.row("J4")
def test_there_may_be_several_suffixes(tmp_path: Path) -> None:
    made = settings(tmp_path, domain_suffix="apps.example.com", domain_suffixes="203.0.113.7.xip.io,localhost")
    assert made.domain_suffixes == ("203.0.113.7.xip.io", "localhost")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("domain_suffixes", "a; } server {"),
        ("domain_suffixes", "Apps.test"),
        ("https_port", "70000"),
        ("link_prefix", "ftp"),
    ],
)
def test_what_cannot_be_served_is_refused(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(Usage, match=r"^cannot use"):
        settings(tmp_path, **{name: value})


@pytest.mark.parametrize(
    ("given", "link"),
    [
        ({}, "http://a.test:8080"),
        ({"http_port": "80"}, "http://a.test"),
        ({"link_prefix": "https", "https_port": "8443"}, "https://a.test:8443"),
        ({"link_prefix": "https", "https_port": "443"}, "https://a.test"),
        ({"link_prefix": "https"}, "https://a.test"),
    ],
)
def test_a_link_names_a_port_that_is_not_the_usual_one(tmp_path: Path, given: dict[str, str], link: str) -> None:
    assert link_of(settings(tmp_path, **given))("a.test") == link
