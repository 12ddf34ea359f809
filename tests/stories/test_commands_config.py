"""config:set, get, unset and export against the real octod: what was said is what the app gets, to the letter."""

import json
import shlex
import subprocess
from collections.abc import Callable, Mapping

import pytest

from tests import apps
from tests.stories.host import CHECKOUT, PATH, Host, Repository

Make = Callable[[Mapping[str, str]], Repository]

VALUES = {
    "SPACES": "  a b  c ",
    "COLON": "redis://user:pa:ss@host:6379/0?x=1&y=2",
    "QUOTES": 'it\'s "quoted"',
    "AT": "@/etc/passwd",
    "EQUALS": "=a=b==",
    "LINES": "one\ntwo\n\tthree",
    "UNICODE": "naïve ☃ 漢字 🐙",
    "SHELL": "$(id) `id` $HOME ${X} \\n %s ; | & * ~ {{x}} #",
    "EMPTY": "",
    "OPTION": "--privileged",
}


def environment(host: Host, app: str) -> str:
    return "\n" + host.get(app, "/env")[1] + "\n"


@pytest.mark.row("H3")
def test_values_reach_the_app_verbatim_in_every_form(host: Host, app: str, repository: Make) -> None:
    repository(apps.web("hello")).push()
    for number, lead in enumerate((["-a", app], [app], ["--app", app])):
        words = [f"K{number}_{key}={value}" for key, value in VALUES.items()]
        assert host.octo("config:set", *lead, *words, "--no-restart") == ""
    for key, value in VALUES.items():
        assert host.octo("config:set", f"{app}/K3_{key}", value, "--no-restart") == ""
    by_ssh = [shlex.quote(f"K4_{key}={value}") for key, value in VALUES.items()]
    assert host.ssh("config:set", "-a", app, "--no-restart", *by_ssh).returncode == 0
    assert "K0_" not in environment(host, app)  # not before the next release
    assert host.octo("config:set", app, "LAST=1").startswith("-----> Starting web.1\n")
    shown, kept = environment(host, app), host.json("config", app)
    for number in range(5):
        for key, value in VALUES.items():
            assert f"\nK{number}_{key}={value}\n" in shown
            assert kept[f"K{number}_{key}"] == value
    assert "\nOCTO_RELEASE=v2\n" in shown and len(kept) == 5 * len(VALUES) + 1


@pytest.mark.row("L13")
def test_config_is_read_back_as_it_is(host: Host, app: str) -> None:
    host.octo("apps:create", app)
    for key, value in VALUES.items():
        host.octo("config:set", f"{app}/{key}", value)  # without a release there is nothing to restart
        assert host.octo("config:get", f"{app}/{key}") == value + "\n"
    for words in (["-a", app, "COLON"], [app, "COLON"]):
        assert host.octo("config:get", *words) == VALUES["COLON"] + "\n"
    assert host.octo("config:get", app, "NONE", code=1) == ""
    script = host.octo("config:export", app) + "env -0"
    done = subprocess.run(["/bin/sh", "-c", script], env={"PATH": PATH}, capture_output=True, text=True, check=True)
    read = dict(entry.split("=", 1) for entry in done.stdout.split("\0") if entry)
    assert {key: read[key] for key in VALUES} == VALUES
    assert json.loads(host.octo("config:export", app, "--format", "json")) == VALUES == host.json("config", app)
    assert "LINES" in host.octo("config:export", app, "--format", "env", code=1)
    listed = host.octo("config", "-a", app).splitlines()
    assert len(listed) == len(VALUES) and "COLON:   " + VALUES["COLON"] in listed
    host.octo("apps:destroy", app, "--confirm", app)


@pytest.mark.row("H7")
def test_a_change_of_config_is_a_release_and_what_is_unset_is_gone(host: Host, app: str, repository: Make) -> None:
    repository(apps.web("hello")).push()
    host.octo("config:set", app, "A=1", "B=2", "WORD=said")
    assert host.get(app) == (200, "hello v2 said")
    host.octo("config:unset", f"{app}/A", f"{app}/B", "--no-restart")
    assert "\nA=1\n" in environment(host, app)
    host.octo("config:set", app, "C=3", "--no-restart")
    host.octo("config:rm", "-a", app, "WORD", "NEVER_SET")
    assert host.get(app) == (200, "hello v3 ")
    assert host.json("config", app) == {"C": "3"}
    shown = environment(host, app)
    assert "\nC=3\n" in shown and "\nA=" not in shown and "\nB=" not in shown
    told = [r["description"] for r in host.json("releases", app)]
    assert told[1:] == ["Set A, B, WORD", "Unset WORD, NEVER_SET"]
    assert "said" not in json.dumps(host.json("releases", app)) and "said" not in host.log()


def test_what_cannot_be_config_is_refused_and_nothing_is_stored(host: Host, app: str) -> None:
    host.octo("apps:create", app)
    keys = ["1A", "A-B", "A B", "", "Ä", "K" * 129, "A.B", "A\n", "A/B", "A$(id)", "\x1b[2J"]
    for words in [
        *([f"{key}=v"] for key in keys),
        ["GOOD=1", "BAD"],
        ["A=" + "x" * 65_537],
        ["A=\udcff"],
        ["PORT=http"],
        ["PORT=70000"],
    ]:
        said = host.octo("config:set", "-a", app, "--", *words, code=2)
        assert said.startswith(" !     cannot ") and "\x1b" not in said, words
    for key in keys[:3]:
        host.octo("config:set", f"{app}/{key}", "v", code=2)
        host.octo("config:unset", "-a", app, "--", key, code=2)
        host.octo("config:get", "-a", app, "--", key, code=2)
    host.octo("config:set", f"{app}/A", "one", "two", code=2)
    assert host.json("config", app) == {}
    host.octo("config:set", app, "A=" + "x" * 65_536)
    assert len(host.json("config", app)["A"]) == 65_536
    host.octo("apps:destroy", app, "--confirm", app)


def test_what_steers_octo_is_no_variable_of_the_app(host: Host, app: str, repository: Make) -> None:
    host.octo("apps:create", app)
    host.octo("config:set", app, "CUSTOM_CHECK_INTERVAL=9s", "SSL_KEY=/etc/key", "PLAIN=1")
    repository(apps.web("hello")).push()
    shown = environment(host, app)
    assert "\nPLAIN=1\n" in shown and "CUSTOM_CHECK_INTERVAL" not in shown and "SSL_KEY" not in shown
    assert host.octo("config:get", app, "SSL_KEY") == "/etc/key\n"


@pytest.mark.row("H8")
def test_octo_on_another_machine_is_reached_by_its_host(host: Host, app: str) -> None:
    host.octo("apps:create", app)
    far = {"PATH": PATH, "OCTO_HOST": f"127.0.0.1:{host.ssh_port}", "OCTO_SSH": host.ssh_command()}
    value = "a 'b' $(id) \n; c"
    argv = [str(CHECKOUT / "bin" / "octo"), "config:set", f"{app}/KEY", value]
    subprocess.run(argv, env=far, check=True)
    done = subprocess.run([argv[0], "config:get", f"{app}/KEY"], env=far, capture_output=True, text=True, check=True)
    assert done.stdout == value + "\n"
    host.octo("apps:destroy", app, "--confirm", app)
