"""A whole octohost moves here, from a copy of its files."""

import base64
import json
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests import apps
from tests.stories.conftest import Name, serving, store
from tests.stories.host import GIT, PATH, Host

Put = Callable[..., None]

DEFAULTS = 'CONSUL_SERVER="0.0.0.0:8500"\nDOMAIN_SUFFIX=$(curl -s http://127.0.0.1/; touch {mark})\nMYSQL_SERVER=off\n'
TEMPLATE = """upstream REPLACEME {
  {{range service "REPLACEME"}}server {{.Address}}:{{.Port}};
  {{else}}server 127.0.0.1:404;{{end}}
}
server {
  listen 80;
  server_name {{key "octohost/REPLACEME/DOMAINS"}};
  add_header X-Ours "{{key "octohost/REPLACEME/COLOUR"}}";
  location = /own { return 200 "own REPLACEME"; }
  location / { include location.conf; proxy_pass http://REPLACEME; }
}
"""
ODD = 'it\'s "odd"\n$(id) `id` \\ end'


@pytest.fixture(scope="module")
def yard(request: pytest.FixtureRequest) -> Iterator[Host]:
    with serving(**store(request)) as made:
        yield made


@pytest.fixture
def put(tmp_path: Path) -> Put:
    """Makes a bare repository, as octohost's pushers left it, in the copy's home/git."""

    def put(name: str, files: Mapping[str, str], *more: str) -> None:
        clone, bare = tmp_path / f"clone-{name}", tmp_path / "copy/home/git" / f"{name}.git"
        for file, text in files.items():
            (clone / file).parent.mkdir(parents=True, exist_ok=True)
            (clone / file).write_text(text)
        bare.mkdir(parents=True)
        for words in (
            ("-C", str(clone), "init", "-q", "-b", "master"),
            ("-C", str(clone), "add", "-A"),
            ("-C", str(clone), "commit", "-q", "-m", "one"),
            ("init", "-q", "--bare", str(bare)),
            ("-C", str(clone), "push", "-q", str(bare), "master", *(f"master:refs/heads/{name}" for name in more)),
        ):
            subprocess.run(["git", "-c", "safe.directory=*", *words], env={"PATH": PATH, **GIT}, check=True)

    return put


def kv(copy: Path, apps: Mapping[str, Mapping[str, str]]) -> None:
    """As `consul kv export` prints it."""
    pairs = [(f"octohost/{app}/{key}", value) for app, config in apps.items() for key, value in config.items()]
    pairs += [("octohost/", ""), ("vault/core/lock", "x")]
    found = [{"key": key, "flags": 0, "value": base64.b64encode(value.encode()).decode()} for key, value in pairs]
    copy.mkdir(exist_ok=True)
    (copy / "kv.json").write_text(json.dumps(found, indent="\t"))


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


Config = dict[str, dict[str, str]]


def octohost(put: Put, copy: Path, stems: Mapping[str, str]) -> Config:
    """Make the copy of a server with apps of all kinds; returns its KV."""
    shop, plain, worker, own, dead, stray = stems.values()
    put(shop, apps.web("shop") | {"CNAME": f"www.{shop}.test\n"}, "feature")
    put(plain, apps.web("plain"))
    put(worker, apps.command("sleep 1000000", more="# NO_HTTP_PROXY\n"))
    put(own, apps.web("own"))
    put(dead, apps.failing("RUN exit 7"))
    write(copy / "etc/default/octohost", DEFAULTS.format(mark=copy / "ran"))
    write(copy / f"etc/octohost/templates/{own}.ctmpl", TEMPLATE)
    write(copy / f"etc/octohost/templates/{plain}.ctmpl", "{{ datacenters }}")
    given = {
        shop: {"WORD": "parent", "DOMAINS": f"{shop}.old.test,shop.{shop}.test", "NGINX_ALT": "/etc/x/nginx.ctmpl"},
        f"{shop}-feature": {"WORD": "branch", "DOMAINS": f"{shop}-feature.localhost feature.{shop}.test"},
        plain: {"ODD": ODD, "CONTAINERS": "many", "NGINX_ALT": f"/etc/octohost/templates/{plain}.ctmpl"},
        worker: {"MEMORY_LIMIT": "64m"},
        own: {"COLOUR": "blue", "NGINX_ALT": f"/etc/octohost/templates/{own}.ctmpl", "SSL_KEY": "/etc/nginx/ssl.key"},
        stray: {"KEPT": "yes"},
        "../x": {"KEY": "value"},
    }
    kv(copy, given)
    return given


@pytest.mark.row("H1", "J8")
def test_a_whole_octohost_moves_here_and_may_do_so_again(yard: Host, names: Name, put: Put, tmp_path: Path) -> None:
    stems = {stem: names(stem) for stem in ("shop", "plain", "worker", "own", "dead", "stray")}
    shop, plain, worker, own, dead, stray = stems.values()
    copy = tmp_path / "copy"
    given = octohost(put, copy, stems)
    said = yard.octo("import:octohost", str(copy), code=1)
    assert f"cannot serve 1 of what was imported: {dead}\n" in said and "exit code 7" in said, said
    served = {shop: "shop v1 parent", f"{shop}-feature": "shop v1 branch", plain: "plain v1 ", own: "own v1 "}
    assert {name: yard.get(name)[1] for name in served} == served | {own: "own v2 "}
    for name in (f"www.{shop}.test", f"{shop}.old.test", f"shop.{shop}.test"):
        assert yard.get(name) == (200, "shop v1 parent")
    assert yard.get(f"feature.{shop}.test") == (200, "shop v1 branch")
    assert yard.get(own, "/own") == (200, f"own {own}")
    assert yard.json("apps:info", "-a", worker)["release"] and yard.get(worker)[0] == 404
    config = yard.json("config", "-a", plain)
    assert config == {"ODD": ODD}
    assert f'{plain}: "CONTAINERS" is left out' in said and f"{plain}: NGINX_ALT is left out: cannot translate" in said
    assert f'{own}: SSL_KEY is left out: "/etc/nginx/ssl.key" is neither' in said and '"octohost/../x/KEY"' in said
    assert f"{stray}: there is no app of that name; its config is kept for one" in said and ODD not in said
    assert "octo takes: CONSUL_SERVER" in said and "not run, so not taken: DOMAIN_SUFFIX" in said
    assert "not octo's: MYSQL_SERVER" in said and not (copy / "ran").exists()
    yard.octo("apps:create", stray)
    assert yard.json("config", "-a", stray) == {"KEPT": "yes"}

    yard.octo("domains:add", plain, f"new.{plain}.test")
    before = {name: yard.json("releases", "-a", name) for name in (shop, f"{shop}-feature", plain, worker, own)}
    kv(copy, given | {plain: {"ODD": "changed", "DOMAINS": f"more.{plain}.test"}})
    again = yard.octo("import:octohost", str(copy), code=1)
    assert f"{dead}: kept without a release" in again and "Imported 5 of 6" in again, again
    assert {name for name in before if yard.json("releases", "-a", name) != before[name]} == {plain}
    assert yard.get(f"more.{plain}.test") == yard.get(f"new.{plain}.test") == (200, "plain v2 ")
    assert yard.get(f"www.{shop}.test")[0] == yard.get(own, "/own")[0] == 200


def test_what_links_to_another_comes_after_it_whatever_its_name(
    yard: Host, names: Name, put: Put, tmp_path: Path
) -> None:
    """The order by names is a guess; who came too early is tried once more."""
    early, late, words = names("early_x"), names("late"), names("words")
    store = f"{late}_store"
    put(early, apps.web("early", more=f"# LINK_SERVICE store {late}\nEXPOSE 5000\n"))
    put(late, apps.web("late", more="# LINK_SERVICE store\nEXPOSE 5000\n"))
    put(store, apps.web("store", more="# NO_HTTP_PROXY\nEXPOSE 5000\n"))
    put(words, {"readme.txt": "no app\n"})
    yard.octo("apps:create", early)
    yard.octo("apps:allow", early, f"link={late}")
    said = yard.octo("import:octohost", str(tmp_path / "copy"), code=1)
    try:
        assert yard.get(early) == (200, "early v1 ") and yard.get(late) == (200, "late v1 ")
        assert f"{early}, once more" in said and f"{late}, once more" not in said and "Imported 3 of 4" in said
        assert f"{words}: kept without a release: There is no Dockerfile present." in said
    finally:
        yard.octo("apps:destroy", store, "--confirm", store, code=None)


def test_a_hostile_copy_is_refused_and_nothing_outside_of_it_is_read(yard: Host, names: Name, tmp_path: Path) -> None:
    before, copy = yard.json("apps"), tmp_path / "copy"
    copy.mkdir()
    for link in ("/etc/shadow", "/dev/zero"):
        (copy / "kv.json").symlink_to(link)
        said = yard.octo("import:octohost", str(copy), code=2)
        assert 'cannot read "kv.json" of the copy' in said and "root:" not in said
        (copy / "kv.json").unlink()
    (copy / "kv.json").write_text("octo config:set a/b 'c'")
    assert "cannot read kv.json: it is no JSON" in yard.octo("import:octohost", str(copy), code=2)
    (copy / "kv.json").write_text("[" * 100_000)
    assert "cannot read kv.json: it is no JSON" in yard.octo("import:octohost", str(copy), code=2)
    (copy / "kv.json").unlink()
    outside = tmp_path / "outside.git"
    subprocess.run(["git", "init", "-q", "--bare", str(outside)], check=True, env={"PATH": PATH, **GIT})
    (copy / "home/git").mkdir(parents=True)
    (copy / "home/git/away.git").symlink_to(outside)
    (copy / "home/git/..;id.git").mkdir()
    said = yard.octo("import:octohost", str(copy), code=1)
    assert 'cannot import "home/git/away.git": it is no bare git repository' in said and "Imported 0 of 2" in said
    assert '"..;id.git": failed: that is no name of a repository' in said
    (copy / "home").rename(tmp_path / "home")
    (copy / "home").symlink_to(tmp_path / "home")
    assert "a link" in yard.octo("import:octohost", str(copy), code=2) and yard.json("apps") == before
    assert "it is not a whole path" in yard.octo("import:octohost", "copy", code=2)
    asked = yard.ssh(f"import:octohost {copy}")
    assert asked.returncode == 1 and "not an authorized user" in asked.stderr
