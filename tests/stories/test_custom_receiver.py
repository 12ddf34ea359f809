"""The operator's own receiver takes a real push: octohost's contract from end to end."""

import os
from collections.abc import Iterator

import pytest

from tests.stories.conftest import Name, serving
from tests.stories.host import Host, Repository

SCRIPT = """#!/bin/sh
echo "-----> Receiving $1 for $3"
printf '%s\\n' "$@" >> "{log}"
tar -xf - || exit 9
echo "       $(cat page.txt)"
test ! -e broken || { echo "it is broken"; exit 3; }
"""


@pytest.fixture(scope="module")
def yard() -> Iterator[Host]:
    with serving(OCTO_RECEIVER="/nonexistent/receiver") as made:
        made.stop()
        (made.home / "receiver").write_text(SCRIPT.replace("{log}", str(made.home / "log")))
        (made.home / "receiver").chmod(0o755)
        made.env["OCTO_RECEIVER"] = str(made.home / "receiver")
        made.start()
        yield made


def told(yard: Host) -> list[list[str]]:
    """The arguments of each run."""
    lines = (yard.home / "log").read_text().splitlines()
    return [lines[at : at + 5] for at in range(0, len(lines), 5)]


@pytest.mark.row("B8")
def test_a_push_goes_to_the_operators_receiver(yard: Host, names: Name) -> None:
    app = names("shop")
    clone = Repository(yard, app, {"page.txt": "one page\n"})
    commit = clone.git("rev-parse", "HEAD").strip()
    said = clone.push()
    assert f"remote: -----> Receiving {app}.git for ann" in said and "one page" in said
    (first,) = told(yard)[-1:]
    assert first[:3] == [f"{app}.git", commit, "ann"] and first[4] == "main"
    assert first[3] in yard.octo("keys") and first[3].startswith("SHA256:")
    assert clone.remote_ref() == commit and not yard.json("builds", "-a", app) and not yard.containers()
    clone.push("main:feature/a/b")
    assert told(yard)[-1][4] == "feature-a-b" and len(yard.json("apps")) == 1
    assert "Receiving" in yard.octo("restart", app)
    assert told(yard)[-1][1:] == [commit, "operator", "", "main"]


@pytest.mark.row("B8")
def test_a_receiver_that_fails_denies_the_push_in_octohosts_words(yard: Host, names: Name) -> None:
    clone = Repository(yard, names("shop"), {"page.txt": "one\n"})
    clone.push()
    before = clone.remote_ref()
    commit = clone.commit({"broken": ""})
    said = clone.push(code=1)
    assert "it is broken" in said and f"      ERROR: failed on rev {commit} - push denied" in said
    assert "ended with exit code 3" in said and clone.remote_ref() == before


@pytest.mark.row("B8")
def test_tags_and_deletions_never_reach_it(yard: Host, names: Name) -> None:
    clone = Repository(yard, names("shop"), {"page.txt": "one\n"})
    clone.push("main:side")
    before = told(yard)
    clone.git("tag", "v1")
    clone.push("v1", ":side")
    assert told(yard) == before


@pytest.mark.row("B8")
def test_one_that_others_may_write_is_not_run_and_the_push_is_refused(yard: Host, names: Name) -> None:
    clone = Repository(yard, names("shop"), {"page.txt": "one\n"})
    (yard.home / "receiver").chmod(0o777)
    try:
        said = clone.push(code=1)
    finally:
        (yard.home / "receiver").chmod(0o755)
    assert "others may write it" in said and not clone.remote_ref()


ODD = ["../x.git", "a b.git", "shop.git extra", "../../etc/x", "$(id)", "", "/", ".git", "/etc/passwd", "x/../../y.git"]


@pytest.mark.row("B8")
@pytest.mark.parametrize("name", ODD)
def test_no_name_of_a_repository_leads_anywhere_else(yard: Host, name: str) -> None:
    """Nothing is run, nothing is made, and nothing is removed, as a blank name did at octohost."""

    def state() -> object:
        log = (yard.home / "log").read_text() if (yard.home / "log").exists() else ""
        return log, yard.json("apps"), sorted(os.listdir(yard.home / "octo/repos")), sorted(os.listdir(yard.home))

    before = state()
    for verb in ("git-receive-pack", "git-upload-pack"):
        asked = yard.ssh(f"{verb} '{name}'", given="0000")
        assert asked.returncode != 0 and "Invalid path." in asked.stderr and "uid=" not in asked.stderr
    assert state() == before
