"""The real `octo` command and ssh against the real octod: apps, domains, keys, and what every command does alike."""

import json
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests import apps
from tests.stories.host import Host, Repository

Make = Callable[[Mapping[str, str]], Repository]


def traces(host: Host, id: str, app: str) -> list[str]:
    """Whatever of an app is on the machine."""
    argv = ["docker", "images", "--format", "{{.Repository}}:{{.Tag}}", f"{host.instance}/{id}"]
    images = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()
    octo = host.home / "octo"
    files = [p for p in octo.rglob(f"*{id}*/**/*") if p.is_file()] + list((octo / "repos").rglob(f"*{id}*"))
    tree = (octo / "nginx" / "current").resolve(strict=True)
    files += [p for p in tree.rglob("*") if p.is_file() and app in p.read_text()]
    return images + [str(p) for p in files] + [n for n in host.containers() if f"-{app}-" in n]


def test_a_destroyed_app_leaves_nothing_and_its_name_can_be_taken_again(host: Host, app: str, repository: Make) -> None:
    made = host.octo("apps:create", app)
    assert f"git remote add octo ssh://git@localhost:{host.ssh_port}/{app}.git" in made
    assert host.get(app)[0] == 503  # known, and nothing is there yet
    repository(apps.web("hello")).push()
    host.octo("domains:add", app, f"www.{app}.test")
    host.octo("config:set", app, "SECRET=1", "--no-restart")
    told = host.json("apps:info", app)
    assert (told["name"], told["release"]) == (app, {"version": 1})
    assert f"url:        http://{app}.localhost:{host.http_port}\n" in host.octo("info", app)
    assert len(traces(host, told["id"], app)) >= 5
    for words in ([], ["--confirm", app + "x"]):
        assert f"--confirm {app}" in host.octo("apps:destroy", app, *words, code=2)
    assert host.get(app) == (200, "hello v1 ")
    assert host.octo("apps:destroy", app, "--confirm", app) == f"Destroyed {app}.\n"
    host.idle()
    assert traces(host, told["id"], app) == []
    assert {host.get(name)[0] for name in (app, f"www.{app}.test")} == {404}
    assert app not in host.octo("apps") + host.octo("status") + json.dumps(host.json("doctor"))
    host.octo("apps:create", app)
    assert host.json("apps:info", app)["id"] != told["id"]
    assert [host.json(what, app) for what in ("config", "releases", "builds", "ps")] == [{}, [], [], []]
    assert [d["hostname"] for d in host.json("domains", app)] == [f"{app}.localhost"]
    assert "is there already" in host.octo("apps:create", app, code=1)


def test_a_renamed_app_serves_under_its_new_host_and_can_be_pushed_to(host: Host, app: str, repository: Make) -> None:
    clone = repository(apps.web("hello"))
    clone.push()
    host.octo("domains:add", app, f"www.{app}.test")
    host.octo("config:set", app, "WORD=kept", "--no-restart")
    new, other = f"new-{app}", f"other-{app}"
    host.octo("apps:create", other)
    assert "already" in host.octo("apps:rename", app, other, code=1)
    host.octo("apps:rename", app, "No.Name", code=2)
    assert f"git remote set-url octo ssh://git@localhost:{host.ssh_port}/{new}.git" in host.octo("rename", app, new)
    assert host.get(app)[0] == 404 and host.get(new) == host.get(f"www.{app}.test") == (200, "hello v1 ")
    host.octo("ps", app, code=20)
    assert host.octo("config:get", new, "WORD") == "kept\n"
    clone.git("remote", "set-url", "octo", host.url(new))
    clone.commit({"greeting.txt": "moved\n"})
    assert f"http://{new}.localhost:{host.http_port} deployed to octo" in clone.push()
    assert host.get(new) == (200, "moved v2 kept")
    host.octo("apps:create", app)  # the old name is free
    for name in (new, other):
        host.octo("apps:destroy", name, "--confirm", name)
    host.idle()
    assert not [n for n in host.containers() if app in n]


def test_domains_are_served_until_removed_and_never_taken_from_another(host: Host, app: str, repository: Make) -> None:
    repository(apps.web("hello")).push()
    other = f"other-{app}"
    host.octo("apps:create", other)
    said = host.octo("domains:add", "-a", app, "WWW.Shop.Test.", "bücher.test")
    assert said == f"Added www.shop.test to {app}.\nAdded xn--bcher-kva.test to {app}.\n"
    assert {host.get(name) for name in ("www.shop.test", "xn--bcher-kva.test")} == {(200, "hello v1 ")}
    refused = host.octo("domains:add", "-a", other, "www.shop.test", code=1)
    assert refused == f' !     cannot add the domain "www.shop.test": the app "{app}" has it\n'
    assert "does not have it" in host.octo("domains:remove", "-a", other, "www.shop.test", code=1)
    for name in (f"{app}.localhost", "x.localhost", "a.b.localhost"):
        assert "belong to the apps of that name" in host.octo("domains:add", "-a", other, name, code=1)
    assert [d["hostname"] for d in host.json("domains", other)] == [f"{other}.localhost"]
    assert host.ssh("domains:remove", "-a", app, "www.shop.test").stdout == f"Removed www.shop.test from {app}.\n"
    assert host.get("www.shop.test")[0] == 404
    host.octo("domains:add", "-a", other, "www.shop.test")
    assert host.get("www.shop.test")[0] == 503  # the other app's, which has nothing yet
    host.octo("apps:destroy", other, "--confirm", other)


HOSTILE = [
    "a b.test", "a.test; return 200", "a.test}", "{a.test", "$host.test", "*.test", "~^.*$", '"a.test"', "a.test\n",
    "a..test", "1.2.3.4", "[::1]", "test", ".test", "-a.test", "a.test:80", "http://a.test", "a.test/x",
    "a" * 64 + ".test", "a." * 127 + "test", "", "a\x1b[2J.test", "../a.test", "_", "a.test#", "a\\.test",
]  # fmt: skip


def test_a_hostile_domain_is_refused_and_changes_nothing(host: Host, app: str) -> None:
    host.octo("apps:create", app)
    for name in HOSTILE:
        said = host.octo("domains:add", "-a", app, "--", name, code=2)
        assert said.startswith(" !     cannot ") and "\x1b" not in said
    host.octo("domains:add", "-a", app, "good.test", "b d.test", code=2)
    assert len(host.json("domains", app)) == 1
    host.octo("apps:destroy", app, "--confirm", app)


def fingerprint(key: Path) -> str:
    return subprocess.run(["ssh-keygen", "-lf", str(key)], capture_output=True, text=True, check=True).stdout.split()[1]


@pytest.mark.row("L42")
@pytest.mark.row("A2")
def test_a_key_lets_in_from_its_adding_to_its_removal(host: Host, app: str) -> None:
    key = host.new_key(app)
    public, mark, name = (
        key.with_suffix(".pub").read_text(),
        fingerprint(key),
        app.removeprefix("a-key")[-20:].strip("-"),
    )
    assert host.ssh("apps", key=key).returncode == 255
    assert host.octo("keys:add", name, given=public) == f"Added the key {mark} of {name}.\n"
    assert host.octo("keys:add", name, given=public) and [k["fingerprint"] for k in host.json("keys")].count(mark) == 1
    assert "it belongs to" in host.octo("keys:add", "eve", given=public, code=1)
    assert host.ssh("apps", key=key).returncode == 0
    for words in (["keys"], ["keys:remove", mark], ["keys:add", "eve"], ["doctor"]):  # the operator's alone
        refused = host.ssh(*words, key=key, given=public)
        assert (refused.returncode, refused.stdout) == (1, "") and "not an authorized user" in refused.stderr
    assert mark in host.octo("keys") and public.split()[1] not in host.octo("keys")
    assert f"Removed the key {mark} of {name}." in host.octo("keys:remove", mark[: len("SHA256:") + 12])
    assert "Permission denied (publickey)" in host.ssh("apps", key=key).stderr
    readable = host.home / f"{name}.pub"
    readable.write_text(public)
    host.octo("keys:add", name, str(readable))
    assert host.ssh("apps", key=key).returncode == 0
    host.octo("keys:remove", name)
    assert host.ssh("apps", key=key).returncode == 255
    host.octo("keys:remove", name, code=1)


def test_what_is_no_good_public_key_is_refused(host: Host, app: str) -> None:
    weak = host.home / f"weak-{app}"
    subprocess.run(["ssh-keygen", "-q", "-t", "rsa", "-b", "1024", "-N", "", "-f", str(weak)], check=True)
    key = host.new_key(app)
    public, before = key.with_suffix(".pub").read_text(), host.json("keys")
    kind, blob, comment = public.split()
    for given, why in [
        (key.read_text(), "it is a private key"),
        (public + host.key.with_suffix(".pub").read_text(), "not one line"),
        (weak.with_suffix(".pub").read_text(), "RSA below 2048 bits is too weak"),
        (f'command="id",no-pty {public}', "not one line"),
        (f"{kind} {blob} {comment}" + "x" * 1_000_000, "not one line"),
        ("x" * 1_000_000, "not one line"),
        (f"{kind} {blob[:-8]}", "broken"),
        (f"ssh-rsa {blob}", "differ"),
        (f"ssh-dss {blob}", "not one line"),
        ("", "not one line"),
        ("\x1b[2J\0", "not one line"),
    ]:
        assert why in host.octo("keys:add", "eve", given=given, code=2), given[:80]
    host.octo("keys:add", "Eve Adams", given=public, code=2)
    assert host.json("keys") == before


OF_AN_APP = [
    "apps:info", "config", "config:get -a {} K", "config:set -a {} K=V", "config:set {}/K V", "config:unset -a {} K",
    "config:export", "domains", "domains:add -a {} a.test", "domains:remove -a {} a.test", "ps", "ps:scale", "ps:stop",
    "ps:scale -a {} web=1", "ps:restart", "ps:start", "releases", "releases:info -a {} v1", "rollback", "logs",
    "builds", "run -a {} -- true", "builds:info -a {} b1", "builds:output -a {} b1", "apps:rename {} x-y",
    "apps:destroy {} --confirm {}",
]  # fmt: skip


def test_every_command_about_an_app_that_is_not_there_ends_with_20(host: Host) -> None:
    for line in OF_AN_APP:
        words = (line if "{}" in line else f"{line} {{}}").format("no-such-app", "no-such-app").split()
        said = host.octo(*words, code=20)
        assert 'cannot find the app "no-such-app"' in said
    assert json.loads(host.octo("ps", "no-such-app", "--format", "json", code=20))["id"] == "not_found"
    far = host.ssh("config:set", "no-such-app/K", "V")
    assert (far.returncode, far.stdout) == (20, "")
    assert "no-such-app" not in host.octo("apps")


def test_the_app_is_the_one_of_the_folders_git_remote(host: Host, app: str, repository: Make) -> None:
    clone = repository({"deep/er/file": "x"})
    host.octo("apps:create", app)
    host.octo("apps:create", f"other-{app}")
    clone.git("remote", "add", "origin", "git@code.test:me/elsewhere.git")
    host.octo("config:set", "--no-restart", "A=1", cwd=clone.folder)
    assert host.octo("config:get", "A", cwd=clone.folder / "deep" / "er") == "1\n"
    host.octo("config:set", "--no-restart", "-a", f"other-{app}", "A=2", cwd=clone.folder)
    assert host.json("config", app) == {"A": "1"} and host.json("config", f"other-{app}") == {"A": "2"}
    assert "-a APP" in host.octo("config", code=2)
    host.octo("apps:destroy", "--confirm", app, cwd=clone.folder)
    host.octo("apps:destroy", f"other-{app}", "--confirm", f"other-{app}")


def test_status_doctor_and_version_of_a_sound_server(host: Host, app: str) -> None:
    host.octo("apps:create", app)
    assert f"{app}: STOPPED\n" in host.octo("status")
    assert all(line.startswith("ok   ") for line in host.octo("doctor").splitlines())
    assert all(check["ok"] for check in host.json("doctor"))
    assert host.json("version")["octo"] in host.octo("version")
    told = {"name": app, "status": "STOPPED", "url": f"http://{app}.localhost:{host.http_port}", "routed": True}
    assert told in host.json("status")
    host.octo("apps:destroy", app, "--confirm", app)
