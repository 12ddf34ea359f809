"""releases, rollback, builds, and the JSON of every list, against the real octod."""

import json
import subprocess
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from tests import apps
from tests.stories.host import CHECKOUT, Host, Repository

Make = Callable[[Mapping[str, str]], Repository]


@pytest.fixture
def clone(host: Host, app: str, repository: Make) -> Repository:
    """v1: one and a; v2: one and b; v3: two, b and c; v4 never served."""
    made = repository(apps.web("one"))
    host.octo("apps:create", app)
    host.octo("config:set", app, "WORD=a")
    made.push()
    host.octo("config:set", app, "WORD=b")
    host.octo("config:set", app, "EXTRA=c", "--no-restart")
    made.commit({"greeting.txt": "two\n"})
    made.push()
    made.commit(apps.command("exit 3", more="EXPOSE 5000\n"))
    made.push(code=1)
    return made


def releases(host: Host, app: str) -> list[tuple[int, str, bool]]:
    return [(r["version"], r["status"], r["current"]) for r in host.json("releases", app)]


@pytest.mark.row("L42")
@pytest.mark.row("I10")
def test_a_rollback_restores_code_and_config_as_a_new_release(host: Host, app: str, clone: Repository) -> None:
    assert host.get(app) == (200, "two v3 b")
    history = [(1, "succeeded", False), (2, "succeeded", False), (3, "succeeded", True), (4, "failed", False)]
    assert releases(host, app) == history
    for word, code, why in [
        ("v4", 2, "that release never served"),
        ("v3", 2, "it is the one that serves"),
        ("v99", 1, "cannot find release v99"),
        ("v0", 1, "cannot find release v0"),
        ("v-1", 2, ""),
        ("v1;id", 2, ""),
    ]:
        assert why in host.octo("rollback", "-a", app, word, code=code)
    assert host.get(app) == (200, "two v3 b") and releases(host, app) == history
    assert "-----> Starting web.1" in host.octo("rollback", app, "v1")
    assert host.get(app) == (200, "one v5 a")
    assert host.json("config", app) == {"WORD": "a"}
    assert "\nEXTRA=" not in host.get(app, "/env")[1]
    host.octo("rollback", app)  # to the one before: v3
    assert host.get(app) == (200, "two v6 b") and host.json("config", app) == {"WORD": "b", "EXTRA": "c"}
    assert releases(host, app)[4:] == [(5, "succeeded", False), (6, "succeeded", True)]
    said = host.octo("releases", app).splitlines()
    assert said[1].startswith("v6       current    Rollback to v3") and said[2].startswith(
        "v5       succeeded  Rollback to v1"
    )
    assert said[3].startswith("v4       failed")
    told = host.octo("releases:info", app, "v4")
    assert "status:" in told and "exit code 3" in told
    assert host.json("releases:info", app)["version"] == 6
    host.octo("releases:info", app, "v99", code=1)


@pytest.mark.row("G11")
@pytest.mark.row("L42")
def test_builds_are_listed_shown_and_their_output_kept(host: Host, app: str, clone: Repository) -> None:
    clone.commit(apps.failing("RUN echo about to fail && exit 7"))
    clone.push(code=1)
    builds = host.json("builds", app)
    assert [b["status"] for b in builds] == ["succeeded"] * 3 + ["failed"]
    assert [b["release"] and b["release"]["version"] for b in builds] == [1, 3, 4, None]
    assert builds[-1]["source_blob"]["version"] == clone.git("rev-parse", "main").strip()
    assert len(host.octo("builds", app).splitlines()) == 5
    failed = builds[-1]["id"]
    assert "reason:" in host.octo("builds:info", app, failed) and "exit code 7" in host.octo("builds:info", app, failed)
    assert "about to fail" in host.octo("builds:output", "-a", app, failed)
    assert "about to fail" in host.ssh("builds:output", "-a", app, failed[:10]).stdout
    for id in ("nosuch", "../x", "%2e%2e", "", "\x1b[2J"):
        assert "\x1b" not in host.octo("builds:output", "-a", app, "--", id, code=1)
    host.octo("builds:info", "-a", app, code=2)


LISTS: Mapping[str, type] = {
    "apps": list, "apps:info {}": dict, "config {}": dict, "config:get {} WORD": str, "config:export {}": dict,
    "domains {}": list, "keys": list, "ps {}": list, "ps:scale {}": list, "releases {}": list,
    "releases:info {} v1": dict,
    "builds {}": list, "status": list, "doctor": list, "version": dict, "config:set {} N=1 --no-restart": dict,
    "ps:restart {}": dict, "rollback {} v1": dict, "apps:rename {} {}": dict,
}  # fmt: skip


def test_every_list_report_and_change_is_there_as_json(host: Host, app: str, clone: Repository) -> None:
    for line, kind in LISTS.items():
        if "rename" in line:
            words = ["apps:rename", app, f"{app}-x"]
        else:
            words = line.format(app).split()
        argv = [str(CHECKOUT / "bin" / "octo"), *words, "--format", "json"]
        done = subprocess.run(argv, env=host.env, capture_output=True, text=True, check=True)
        found: Any = json.loads(done.stdout)
        assert isinstance(found, kind), line
    host.octo("apps:rename", f"{app}-x", app)
