"""restart builds anew; root's own git needs no key."""

import os
import subprocess
from collections.abc import Callable, Mapping

import pytest

from tests import apps
from tests.stories.host import CHECKOUT, GIT, PATH, Host, Repository

Make = Callable[[Mapping[str, str]], Repository]


@pytest.mark.row("L6")
def test_restart_builds_what_serves_again(host: Host, app: str, repository: Make) -> None:
    clone = repository(apps.web("one"))
    clone.push()
    host.octo("config:set", "-a", app, "WORD=new")
    said = host.octo("restart", app)
    assert said.startswith(f"Restarting {app}.\n") and "-----> Building from Dockerfile" in said
    assert "done, v3" in said and f"Your site is available at: http://{app}.localhost" in said
    assert host.get(app) == (200, "one v3 new")
    assert len(host.json("builds", "-a", app)) == 2
    assert host.json("releases", "-a", app)[-1]["description"].startswith("Rebuild ")
    clone.commit({"greeting.txt": "two\n"})
    clone.push()
    host.octo("rollback", "-a", app)
    host.octo("restart", "-a", app)
    assert host.get(app)[1].startswith("one v6 ")  # a rollback is not undone


@pytest.mark.row("L6")
def test_restart_builds_a_branch_from_the_repository_of_its_app(host: Host, app: str, repository: Make) -> None:
    clone = repository(apps.web("main"))
    clone.push()
    clone.commit({"greeting.txt": "branch\n"})
    clone.push("HEAD:feature/x")
    assert "done, v2" in host.octo("restart", f"{app}-feature-x")
    assert host.get(f"{app}-feature-x") == (200, "branch v2 ") and host.get(app) == (200, "main v1 ")


@pytest.mark.row("L6")
def test_restart_of_no_app_says_so_and_of_an_empty_one_too(host: Host, app: str, repository: Make) -> None:
    assert "There is no source with that name." in host.octo("restart", f"none-{app}", code=20)
    clone = repository(apps.web("hello"))
    host.octo("apps:create", app)
    assert "Push it again" in host.octo("restart", app, code=1)
    clone.git("tag", "v1")
    clone.push("v1")
    assert "a branch that deploys" in host.octo("restart", app, code=1)
    host.idle()
    assert not host.left_over()


@pytest.mark.row("L6")
def test_ps_restart_builds_nothing(host: Host, app: str, repository: Make) -> None:
    repository(apps.web("hello")).push()
    host.octo("ps:restart", app)
    assert len(host.json("builds", "-a", app)) == 1 and host.get(app) == (200, "hello v1 ")


def local(host: Host, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    """git as root on the server, without any key."""
    command = f"{CHECKOUT}/bin/octo git"
    env = {"PATH": PATH, "HOME": "/nonexistent", "OCTO_HOME": host.env["OCTO_HOME"], **GIT, **more}
    argv = ["git", "-c", f"core.sshCommand={command}", *words]
    return subprocess.run(argv, env=env, capture_output=True, text=True, check=False)


def test_root_pushes_and_clones_without_a_key(host: Host, app: str, repository: Make) -> None:
    clone = repository(apps.web("by root"))
    done = local(host, "-C", str(clone.folder), "push", f"octo:{app}.git", "main")
    assert done.returncode == 0 and "done, v1" in done.stderr, done.stderr
    assert host.get(app) == (200, "by root v1 ") and host.json("apps:info", app)["owner"]["email"] == "operator"
    copy = host.home / f"copy-{app}"
    done = local(host, "clone", "-q", f"ssh://octo:1/{app}", str(copy), GIT_TRACE_PACKET="1")
    assert done.returncode == 0 and "< version 2" in done.stderr
    assert (copy / "greeting.txt").read_text() == "by root\n"


ODD = ["../x.git", "x/../../y", "$(id)", "", "/", ".git", "~/x.git", "shop.git;id", "..", "SHOP"]


@pytest.mark.parametrize("name", ODD)
def test_root_reaches_no_path_that_is_no_app(host: Host, name: str) -> None:
    before = [host.json("apps"), sorted(os.listdir(host.home / "octo/repos"))]
    done = local(host, "ls-remote", f"ssh://octo/{name}")
    assert done.returncode != 0 and "uid=" not in done.stderr
    assert [host.json("apps"), sorted(os.listdir(host.home / "octo/repos"))] == before
