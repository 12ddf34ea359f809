"""Branches that are apps of their own: made by a push, found again, gone after their branch."""

import os
from collections.abc import Callable, Mapping

import pytest

from tests import apps
from tests.stories.host import Host, Repository

Make = Callable[[Mapping[str, str]], Repository]


@pytest.mark.row("B7")
def test_a_branch_is_an_app_of_its_own(host: Host, app: str, repository: Make) -> None:
    """Its own config (a copy at first), containers and address; the code stays where it is."""
    clone = repository(apps.web("main"))
    host.octo("apps:create", app)
    host.octo("config:set", "-a", app, "WORD=copied", "--no-restart")
    clone.push()
    clone.git("checkout", "-q", "-b", "feature/X")
    clone.commit({"greeting.txt": "branch\n"})
    own = f"{app}-feature-x"
    said = clone.push("feature/X")
    assert f"Made the app {own}, for the branch feature/X of {app}" in said and f"http://{own}.localhost" in said
    assert host.get(own) == (200, "branch v1 copied") and host.get(app) == (200, "main v1 copied")
    host.octo("config:set", "-a", own, "WORD=own")
    assert host.get(own) == (200, "branch v2 own") and host.get(app) == (200, "main v1 copied")
    info, parent = host.json("apps:info", "-a", own), host.json("apps:info", "-a", app)
    assert info["parent"] == {"id": parent["id"], "name": app} and info["branch"] == "feature/X"
    assert info["ends_at"] is None and info["git_url"] == parent["git_url"]
    assert f"feature/X of {app}" in host.octo("apps:info", "-a", own)
    assert not (host.home / "octo/repos" / f"{info['id']}.git").exists()
    clone.commit({"greeting.txt": "again\n"})
    assert "Made the app" not in clone.push("feature/X") and host.get(own) == (200, "again v3 own")


@pytest.mark.row("B7")
def test_the_app_of_a_branch_takes_no_push_and_says_where_to(host: Host, app: str, repository: Make) -> None:
    clone = repository(apps.web("hello"))
    clone.push("main:feature/x")
    own = f"{app}-feature-x"
    said = clone.git("push", host.url(own), "main", code=128)
    assert f'cannot push to "{own}": it is the app of the branch feature/x of "{app}"' in said
    assert "git push REMOTE feature/x" in said
    assert f'cannot clone "{own}"' in clone.git("fetch", host.url(own), code=128)


@pytest.mark.row("B7")
def test_two_branches_of_one_name_and_a_strangers_app_are_told_apart(host: Host, app: str, repository: Make) -> None:
    clone = repository(apps.web("hello"))
    clone.push("main:a/b")
    said = clone.push("main:a-b", code=1)
    assert f'cannot deploy a-b: "{app}-a-b" would be its app, and it is that of the branch a/b' in said
    assert "[remote rejected]" in said and not clone.remote_ref("refs/heads/a-b")
    host.octo("apps:create", f"{app}-taken")
    said = clone.push("main:taken", code=1)
    assert "an app of that name is there already" in said and not host.json("releases", "-a", f"{app}-taken")
    assert host.json("apps:info", "-a", f"{app}-taken")["parent"] is None
    host.octo("apps:destroy", f"{app}-taken", "--confirm", f"{app}-taken")


@pytest.mark.row("B7")
def test_the_branches_of_a_push_are_deployed_in_turn_and_one_that_fails_is_refused_alone(
    host: Host, app: str, repository: Make
) -> None:
    clone = repository(apps.web("good"))
    clone.git("checkout", "-q", "-b", "bad")
    clone.commit(apps.failing("RUN exit 7"))
    said = clone.push("main", "bad", "main:fine", code=1)
    assert "exit code 7" in said and "Refused: bad. The rest of the push is taken." in said
    assert host.get(app) == (200, "good v1 ") and host.get(f"{app}-fine") == (200, "good v1 ")
    assert clone.remote_ref() and clone.remote_ref("refs/heads/fine") and not clone.remote_ref("refs/heads/bad")
    bad = host.json("apps:info", "-a", f"{app}-bad")
    assert bad["release"] is None and bad["ends_at"]  # it stays a while: its config may be what is wrong
    host.idle()
    assert not host.left_over()


@pytest.mark.row("B7")
def test_a_branch_is_found_again_whatever_its_app_is_called(host: Host, app: str, repository: Make) -> None:
    clone = repository(apps.web("one"))
    clone.push("main:feature/x")
    host.octo("apps:rename", "-a", f"{app}-feature-x", f"{app}-beta")
    new = f"new-{os.urandom(3).hex()}"
    host.octo("apps:rename", "-a", app, new)
    clone.git("remote", "set-url", "octo", host.url(new))
    clone.commit({"greeting.txt": "two\n"})
    clone.push("main:feature/x")
    assert host.get(f"{app}-beta") == (200, "two v2 ")
    assert f"{app}-beta" in host.octo("apps:destroy", new, "--confirm", new)
    assert not {app, new, f"{app}-beta"} & {a["name"] for a in host.json("apps")}


@pytest.mark.row("B15")
def test_the_app_of_a_deleted_branch_goes_after_its_grace(own_host: Host) -> None:
    """Also across a restart of octod; pushing the branch again keeps it. Nothing is built for a deletion."""
    clone = Repository(own_host, "shop", apps.web("hello"))
    clone.push("main:feature/x", "main:other", "main:third")
    said = clone.push(":feature/x", ":other", ":third")
    assert "The app shop-feature-x will be removed at " in said and "To keep it, push the branch again" in said
    assert own_host.get("shop-other") == (200, "hello v1 ")
    assert own_host.json("apps:info", "-a", "shop-other")["ends_at"]
    assert "Already live as v1" in clone.push("main:other")
    assert own_host.json("apps:info", "-a", "shop-other")["ends_at"] is None
    own_host.kill()
    own_host.env["OCTO_BRANCH_GRACE"] = "0"
    own_host.start()
    assert {a["name"] for a in own_host.json("apps")} == {"shop", "shop-feature-x", "shop-other", "shop-third"}
    clone.push("main:feature/x")
    assert "Removed the app shop-feature-x" in clone.push(":feature/x")
    assert {a["name"] for a in own_host.json("apps")} == {"shop", "shop-other", "shop-third"}
    assert len(own_host.json("builds", "-a", "shop-other")) == 1
    own_host.idle()
    assert not own_host.left_over()


@pytest.mark.row("B7")
@pytest.mark.row("B16")
def test_two_pushes_of_branches_at_once_both_deploy(host: Host, app: str, repository: Make) -> None:
    one, two = repository(apps.web("one")), Repository(host, app, apps.web("two"))
    running = [one.start_push("main:a"), two.start_push("main:b")]
    said = [push.communicate()[0] for push in running]
    assert [push.returncode for push in running] == [0, 0], said
    assert host.get(f"{app}-a") == (200, "one v1 ") and host.get(f"{app}-b") == (200, "two v1 ")
    assert one.remote_ref("refs/heads/a") and one.remote_ref("refs/heads/b")


@pytest.mark.row("B15")
def test_what_is_no_branch_builds_nothing(host: Host, app: str, repository: Make) -> None:
    """Tags, notes, deletions, and a branch that is deleted and was never there."""
    clone = repository(apps.web("hello"))
    clone.push()
    clone.git("tag", "v1")
    clone.push("v1", "main:refs/tags/x/y")
    clone.push(":refs/tags/v1")
    clone.push(":nothing", code=None)
    assert "hidden ref" in clone.push("main:refs/notes/x", code=1)
    assert len(host.json("builds", "-a", app)) == 1
    assert [a["name"] for a in host.json("apps") if a["name"].startswith(app)] == [app]
