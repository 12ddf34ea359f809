"""/etc/default/octohost: what is taken of it, and that nothing of it is ever run."""

from pathlib import Path

import pytest

from octo.octohost import parse, settings_of
from octo.settings import Settings, load

# The shapes of octohost's own file: quotes within quotes, variables, substitutions, comments.
ORIGINAL = """# Configuration
SRC_DIR="/home/git/src"
REPO_PATH="$SRC_DIR/$REPOSITORY"
PUBLIC_IP=$(curl -s http://ipv4.icanhazip.com)
DOMAIN_SUFFIX="$PUBLIC_IP.xip.io"
TENTACLES_PORT="82"
TENTACLES="docker run -p $TENTACLES_PORT:5000 --name="tentacles" -d"
BUILD_ORG_NAME='my org'
export EMAIL_NOTIFICATION=sysadmin@example.com  # of us
#LOGSPOUT_TARGET="syslog://"
CONSUL_SERVER=localhost:8500
"""


@pytest.mark.row("H1")
def test_octohosts_file_is_read_as_a_shell_would_and_its_own_keys_are_kept() -> None:
    file = parse(ORIGINAL)
    assert file.values["TENTACLES"] == "docker run -p 82:5000 --name=tentacles -d"
    assert file.get("SRC_DIR") == "/home/git/src"
    assert file.values["BUILD_ORG_NAME"] == "my org"
    assert file.values["EMAIL_NOTIFICATION"] == "sysadmin@example.com"
    assert "LOGSPOUT_TARGET" not in file.values and file.other_lines == ()


@pytest.mark.row("H1")
@pytest.mark.parametrize(
    "line", ["A=$(touch {})", "A=`touch {}`", 'A="$(touch {})"', "touch {}", "A=1 touch {}", "A=1; touch {}", "A=$[{}"]
)
def test_what_only_a_shell_could_do_is_never_done(line: str, tmp_path: Path) -> None:
    file, witness = tmp_path / "octohost", tmp_path / "witness"
    file.write_text(line.format(witness) + "\nLINK_PREFIX=https\n")
    made = load({"OCTO_HOME": str(tmp_path), "OCTO_OCTOHOST_FILE": str(file)})
    assert made.link_prefix == "https" and not witness.exists()


def test_a_value_made_by_a_command_and_all_that_is_made_of_it_is_named_and_not_used() -> None:
    file = parse(ORIGINAL)
    assert file.not_run == ("DOMAIN_SUFFIX", "PUBLIC_IP", "REPO_PATH")
    assert file.values["DOMAIN_SUFFIX"] == "$(curl -s http://ipv4.icanhazip.com).xip.io"
    assert file.get("DOMAIN_SUFFIX") == "" and "domain_suffix" not in settings_of(file)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("A=", ""),
        ("A=a\\ b", "a b"),
        ("A='it'\\''s'", "it's"),
        ('A="\\$HOME \\" \\n"', '$HOME " \\n'),
        ("A='$B `c` $(d)'", "$B `c` $(d)"),
        ("B=1\nA=${B}2$B", "121"),
        ("A='two\nlines'", "two\nlines"),
        ("A=x#y # z", "x#y"),
        ("  export A=1;", "1"),
        ("A=1\nA=2", "2"),
        ('A="not closed\nB=1', "not closed\nB=1"),
        ("A=$", "$"),
        ("A=\\", "\\"),
    ],
)
def test_quotes_escapes_and_variables(text: str, value: str) -> None:
    assert parse(text).get("A") == value


@pytest.mark.parametrize("text", ["if true; then", "echo $A", "A = 1", "=1", "1A=1", "A=1 B=2", "A=1 && rm -rf /"])
def test_a_line_that_sets_nothing_is_named_by_its_number(text: str) -> None:
    file = parse(f"X=1\n\n{text}\nY=2\n")
    assert (dict(file.values), file.other_lines) == ({"X": "1", "Y": "2"}, (3,))


@pytest.mark.row("H1")
def test_octos_settings_come_from_it_below_octo_toml_and_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "octohost"
    file.write_text(
        "DOMAIN_SUFFIX=apps.example.com\nCONSUL_SERVER=0.0.0.0:8501\nCONSUL_PREFIX=ours\nCONSUL_TOKEN=anonymous\n"
        "BUILD_ORG_NAME=us\nPRIVATE_REGISTRY=registry.test:5000\nLINK_PREFIX=gopher\nREMOTE_SYSLOG_PORT=1514\n"
    )
    (tmp_path / "octo.toml").write_text(f'octohost_file = "{file}"\nbuild_org = "toml"\n')
    made = load({"OCTO_HOME": str(tmp_path), "OCTO_CONSUL_PREFIX": "env"})
    assert (made.domain_suffix, made.consul, made.private_registry) == (
        "apps.example.com",
        "http://127.0.0.1:8501",
        "registry.test:5000",
    )
    assert (made.build_org, made.consul_prefix, made.remote_syslog_port) == ("toml", "env", "1514")
    assert (made.link_prefix, made.consul_token) == ("http", "")  # of no use, and octohost's word for none


@pytest.mark.parametrize("content", [None, b"\xff\xfe\0=\n", b"DOMAIN_SUFFIX=a; } server {\n", b"CONSUL_PREFIX=../x\n"])
def test_a_file_that_cannot_be_used_changes_nothing(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "octohost"
    if content is not None:
        file.write_bytes(content)
    made = load({"OCTO_HOME": str(tmp_path), "OCTO_OCTOHOST_FILE": str(file)})
    assert (made.domain_suffix, made.consul_prefix) == (Settings.domain_suffix, Settings.consul_prefix)
