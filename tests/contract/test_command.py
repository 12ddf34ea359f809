"""What the commands say, as a caller meets them."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.contract.command_parts import Octo, Said


def test_apps_are_listed_in_columns(octo: Octo) -> None:
    octo.state.config["a-long-name"] = {}
    assert octo("apps").out.splitlines() == [
        "NAME         RELEASE  URL",
        "shop         v2       http://shop.localhost:8080",
        "a-long-name  v2       http://a-long-name.localhost:8080",
    ]


LISTS = [
    "apps", "apps:info shop", "config shop", "config:get shop A", "domains shop", "keys", "ps shop", "ps:scale shop",
    "releases shop", "releases:info shop v1", "builds shop", "builds:info shop b1", "status", "doctor", "version",
]  # fmt: skip


@pytest.mark.parametrize("line", LISTS)
def test_every_list_and_report_is_there_as_json(octo: Octo, line: str) -> None:
    octo.state.config["shop"]["A"] = "1"
    said = octo(*line.split(), "--format", "json")
    assert said.err == ""
    assert json.loads(said.out) is not None
    assert octo(*line.split()).err == "" or line == "keys"


@pytest.mark.parametrize("line", ["apps", "keys", "config shop", "config:export shop"])
def test_an_empty_list_says_so_on_stderr_only(octo: Octo, line: str) -> None:
    if line == "apps":
        octo.state.config.clear()
    said = octo(*line.split())
    assert (said.code, said.out, said.err.count("\n")) == (0, "", 1)


def test_an_app_is_made_shown_renamed_and_destroyed(octo: Octo) -> None:
    assert "git remote add octo ssh://git@localhost:2222/blog.git" in octo("apps:create", "blog").out
    assert "owner:   ann\n" in octo("info", "blog").out
    assert octo("apps:rename", "blog", "news").out.startswith("Renamed blog to news")
    assert octo("apps:destroy", "news", "--confirm", "news") == Said(0, "Destroyed news.\n", "")
    assert "news" not in octo.state.config


def test_nothing_is_destroyed_without_its_name_given_again(octo: Octo) -> None:
    for words in (["apps:destroy", "shop"], ["destroy", "-a", "shop", "--confirm", "shp"]):
        said = octo(*words, stdin=b"shop\n")
        assert said.code == 2
        assert "--confirm shop" in said.err
    assert "shop" in octo.state.config


@pytest.mark.row("L12")
@pytest.mark.parametrize(
    ("words", "body"),
    [
        (["-a", "shop", "A=1", "B=x y"], {"A": "1", "B": "x y"}),
        (["shop", "A=1"], {"A": "1"}),
        (["A=1", "--app", "shop"], {"A": "1"}),
        (["shop/A", "one"], {"A": "one"}),
        (["shop/A", "--privileged"], {"A": "--privileged"}),
        (["shop/A", "-a", "--no-restart"], {"A": "-a"}),
        (["-a", "shop", "A=-1", "B="], {"A": "-1", "B": ""}),
        (["shop/A", 'a:"b"@\nc'], {"A": 'a:"b"@\nc'}),
    ],
)
def test_config_set_takes_both_traditions_and_the_value_as_it_is(
    octo: Octo, words: list[str], body: dict[str, str]
) -> None:
    octo.state.seen.clear()
    assert octo("config:set", *words).err == ""
    restart = "" if "--no-restart" not in words else "?restart=0"
    assert octo.state.seen == [("PATCH", f"/apps/shop/config-vars{restart}", body)]


def test_config_set_shows_the_deploy_and_is_silent_without_one(octo: Octo) -> None:
    assert octo("config:set", "shop", "A=1") == Said(0, "-----> Deploying v3\n=====> shop v3 serves\n", "")
    assert octo("config:set", "shop", "A=2", "--no-restart") == Said(0, "", "")
    said = octo("config:set", "shop", "A=3", "--format", "json")
    assert json.loads(said.out) == {"A": "3"}
    assert said.err == "-----> Deploying v3\n=====> shop v3 serves\n"


@pytest.mark.row("L13")
def test_config_get_prints_the_raw_value_and_fails_for_none(octo: Octo) -> None:
    octo.state.config["shop"]["A"] = "x \x1b[2J\ny"
    for words in (["-a", "shop", "A"], ["shop", "A"], ["shop/A"]):
        assert octo("config:get", *words) == Said(0, "x \x1b[2J\ny\n", "")
    assert octo("config:get", "shop", "B") == Said(1, "", "")


@pytest.mark.row("L14")
@pytest.mark.parametrize("words", [["-a", "shop", "A", "B"], ["shop", "A", "B"], ["shop/A", "shop/B"]])
def test_config_unset_removes_keys(octo: Octo, words: list[str]) -> None:
    octo.state.config["shop"] = {"A": "1", "B": "2", "C": "3"}
    assert octo("config:rm", *words, "--no-restart") == Said(0, "", "")
    assert octo.state.config["shop"] == {"C": "3"}


def test_config_export_can_be_read_by_a_shell(octo: Octo) -> None:
    values = {"A": "1", "B": 'it\'s $HOME `x` "y"', "C": "two\nlines", "D": ""}
    octo.state.config["shop"] = values
    script = octo("config:export", "shop").out + 'printf "%s|" "$A" "$B" "$C" "$D"'
    done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "|".join(values.values()) + "|"
    assert "export A='1'\n" in script
    assert json.loads(octo("config:export", "shop", "--format", "json").out) == values
    assert "line break" in octo("config:export", "shop", "--format", "env").err


def test_domains_are_added_and_removed(octo: Octo) -> None:
    assert octo("domains:add", "shop", "WWW.example.com").out == "Added www.example.com to shop.\n"
    assert octo("domains", "-a", "shop").out.splitlines()[2].startswith("www.example.com  2026-11-20 21:56:00 UTC")
    assert octo("domains:remove", "-a", "shop", "www.example.com").code == 0
    assert octo.state.domains["shop"] == []


@pytest.mark.row("L21")
@pytest.mark.row("L22")
@pytest.mark.parametrize(
    "words", [["shop", "b.test,A.test"], ["shop", "b.test a.test"], ["-a", "shop", "a.test", "b.test"]]
)
def test_a_list_of_domains_is_set_and_got(octo: Octo, words: list[str]) -> None:
    assert octo.asked("domains:set", *words) == [("PUT", "/apps/shop/domains", {"hostnames": ["a.test", "b.test"]})]
    assert octo("domains:get", "shop").out == "a.test b.test\n"
    assert octo("domains:set", "shop", "") == Said(0, "shop has no domains any more.\n", "")
    assert octo("domains:get", "shop") == Said(0, "", "")
    assert octo("domains:set", "shop").code == 2


def test_a_domain_is_taken_when_that_is_said(octo: Octo) -> None:
    given = {"hostname": "a.test", "take": True}
    assert octo.asked("domains:add", "--take", "shop", "a.test") == [("POST", "/apps/shop/domains", given)]


@pytest.mark.row("L19")
@pytest.mark.row("L20")
def test_nginxs_files_are_made_anew_by_octohosts_names(octo: Octo) -> None:
    assert octo("config:proxy") == Said(0, "Rendered 1 app; nginx reloaded and proved.\n", "")
    for name in ("config:consul_template", "config:consul_template_render"):
        assert octo.asked(name, "shop") == [("POST", "/apps/shop/router", None)]
        assert octo(name, "shop").out == "Rendered shop; nginx reloaded and proved.\n"
    octo.state.faults.append({"app": "shop", "message": "line 3 is bad\x1b[2J"})
    said = octo("config:proxy")
    assert (said.code, said.err) == (1, " !     line 3 is bad; it is served as before\n")


@pytest.mark.parametrize("host", ["a b.com", "a.test; return 200", "{a,b}.test", "1.2.3.4", "*.test"])
def test_a_bad_domain_is_refused_before_anything_is_sent(octo: Octo, host: str) -> None:
    assert octo("domains:add", "-a", "shop", "good.test", host).code == 2
    assert octo.state.domains["shop"] == []


def test_a_key_comes_by_standard_input_or_from_a_file_that_all_may_read(octo: Octo, tmp_path: Path) -> None:
    octo.state.seen.clear()
    assert octo("keys:add", "ann", stdin=b"ssh-ed25519 AAAA me\n").out == "Added the key SHA256:ab/c+ of ann.\n"
    assert octo.state.seen[0][2] == {"public_key": "ssh-ed25519 AAAA me\n", "user": "ann"}
    readable = octo.state.path.parent / "id.pub"
    readable.write_text("ssh-rsa BBBB")
    assert octo("keys:add", "bob", str(readable)).code == 0
    assert octo("keys:remove", "SHA256:ab/c+").out.startswith("Removed the key SHA256:ab/c+")
    assert octo.state.seen[-1][1] == "/account/keys/SHA256%3Aab%2Fc%2B"


@pytest.mark.parametrize("file", ["id.pub", "/nowhere/id.pub", "/etc/shadow", "/dev/zero", "/", "/root/\0"])
def test_a_key_file_that_cannot_be_read_is_told_how_to_be_given(octo: Octo, file: str) -> None:
    said = octo("keys:add", "ann", file)
    assert said.code == 1
    assert "octo keys:add ann < FILE" in said.err
    assert octo.state.keys == []


def test_no_file_of_the_server_is_read_for_a_caller_from_afar(octo: Octo) -> None:
    assert octo("keys:add", "ann", "/etc/passwd", fields={"from": "192.0.2.1"}).code == 1
    assert octo.state.keys == []


def test_processes_are_shown_and_scaled(octo: Octo) -> None:
    assert octo("ps", "shop").out.splitlines()[1].endswith("2026-11-20 21:56:00 UTC  run it")
    assert octo.asked("ps:scale", "shop", "web=2", "worker=1") == [
        (
            "PATCH",
            "/apps/shop/formation",
            {"updates": [{"type": "web", "quantity": 2}, {"type": "worker", "quantity": 1}]},
        )
    ]
    assert octo("scale", "-a", "shop").out.splitlines()[1:] == ["web     2         x", "worker  1         x"]


@pytest.mark.parametrize(
    ("line", "path"),
    [
        ("ps:restart shop", "/apps/shop/dynos"),
        ("ps:restart shop web", "/apps/shop/dynos/web"),
        ("ps:restart -a shop web", "/apps/shop/dynos/web"),
    ],
)
def test_restart_takes_an_app_and_a_type(octo: Octo, line: str, path: str) -> None:
    assert octo.asked(*line.split()) == [("DELETE", path, None)]


@pytest.mark.row("L6")
def test_restart_alone_builds_again(octo: Octo) -> None:
    asked = [("POST", "/apps/shop/actions/rebuild", None)]
    assert octo.asked("restart", "shop") == octo.asked("restart", "-a", "shop") == asked


def test_sites_and_repositories_are_asked_for_by_their_words(octo: Octo) -> None:
    moved = [("POST", "/octo/moves", {"host": "10.0.0.1", "user": "ubuntu"})]
    assert octo.asked("move:sites", "10.0.0.1") == octo.asked("move", "sites", "10.0.0.1") == moved
    brought = [("POST", "/octo/imports", {"app": "shop", "path": "/srv/shop.git"})]
    assert octo.asked("apps:import", "shop", "/srv/shop.git") == brought


def test_steps_arrive_clean_and_in_their_form(octo: Octo) -> None:
    assert octo("ps:restart", "shop").out == "-----> Restarting shop\n       web.1\n       a\n       b\n"


def test_what_fails_on_the_way_is_told_with_its_hint(octo: Octo) -> None:
    said = octo("ps:start", "shop")
    assert said == Said(
        1, "-----> Starting\n", " !     web.1 died\n !     cannot start: it died\n       See octo logs.\n"
    )
    assert octo("ps:stop", "shop").out == "Stopped shop.\n"


@pytest.mark.parametrize(("words", "version"), [(["shop"], 2), (["shop", "v1"], 1), (["-a", "shop", "1"], 1)])
def test_one_release_is_shown(octo: Octo, words: list[str], version: int) -> None:
    said = octo("releases:info", *words)
    assert f"release:        v{version}\n" in said.out
    assert "took start:     1.2 s\n" in said.out


@pytest.mark.row("I10")
@pytest.mark.parametrize(("words", "body"), [(["shop"], {}), (["shop", "v1"], {"release": "v1"})])
def test_rollback_goes_to_one_release_or_to_the_one_before(octo: Octo, words: list[str], body: dict[str, str]) -> None:
    assert octo.asked("rollback", *words) == [("POST", "/apps/shop/releases", body)]


def test_builds_and_their_output_are_shown(octo: Octo) -> None:
    assert (
        octo("builds", "shop")
        .out.splitlines()[1]
        .startswith("b1     succeeded  main  c0ffee00  v2       1.0 MB  3.5 s  ann")
    )
    assert octo("builds:output", "-a", "shop", "b1").out == "-----> Building\n"


@pytest.mark.row("L1")
def test_status_is_one_line_an_app_and_nothing_without_apps(octo: Octo) -> None:
    octo.state.config["blog"] = {}
    assert octo("status") == Said(0, "shop: OK\nblog: DOWN\n", "")
    octo.state.config.clear()
    assert octo("status") == Said(0, "", "")


def test_doctor_fails_when_one_check_does(octo: Octo) -> None:
    assert octo("doctor") == Said(0, "ok   engine: Docker 20.10.24\n", "")
    octo.state.findings.append({"check": "nginx", "ok": False, "detail": "it is down", "hint": "Start it."})
    said = octo("doctor")
    assert said.code == 1
    assert said.out.endswith("FAIL nginx: it is down\n     Start it.\n")


@pytest.mark.row("L36")
def test_version_names_octo_and_its_parts(octo: Octo) -> None:
    assert octo("version").out == (
        "==== octo version ====\nocto 0.1.0\n\n==== docker version ====\nDocker 20.10.24\n\n"
        "==== consul version ====\nNot in use: octo's memory is SQLite at /x\n"
    )
    assert octo("--version").out == "octo 0.1.0\nengine 20.10.24\n"
