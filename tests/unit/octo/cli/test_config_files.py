"""Config as text: the commands, and the real API behind them, on a world of stand-ins."""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from octo.daemon.access import Access, Actor
from octo.daemon.routes import application
from octo.model import App, AppName, UserName
from tests.crash.world import World
from tests.serving import serving

Run = Callable[..., tuple[int, str, str]]


@dataclass
class Stage:
    world: World
    path: Path
    token: str

    def config(self, name: str) -> dict[str, str]:
        return self.world.catalog.config(self.world.catalog.app(AppName(name)))

    def versions(self, name: str) -> list[int]:
        return [r.version for r in self.world.catalog.releases(self.world.catalog.app(AppName(name)))]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """shop serves its v1; blog has config and no release."""
    world = World()
    shop, blog = world.create(), world.catalog.create(AppName("blog"), now=1.0, owner=None)
    world.store.put_many(world.catalog.config_writes(shop, {"A": "one:two", "LINES": "x\ny", "CONTAINERS": "1"}))
    world.store.put_many(world.catalog.config_writes(blog, {"Q": 'it\'s "q" $HOME'}))
    world.push("c0ffee")

    def make(name: AppName, owner: UserName | None) -> App:
        return world.catalog.create(name, now=1.0, owner=owner)

    octo = SimpleNamespace(catalog=world.catalog, ports=world.ports, changes=world.changes, create=make)
    access, path = Access(world.catalog), tmp_path / "api.sock"
    with serving({path: application(octo, access, {})}):
        yield Stage(world, path, access.grant(Actor(UserName("ann"))))


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Puts text on standard input."""
    saved = os.dup(0)

    def type_(text: str) -> None:
        reader, writer = os.pipe()
        with open(writer, "w") as out:
            out.write(text)
        os.dup2(reader, 0)
        os.close(reader)

    yield type_
    os.dup2(saved, 0)
    os.close(saved)


@pytest.mark.row("L11")
def test_config_is_listed_as_octohost_did_and_with_dash_a_as_heroku_does(run: Run, stage: Stage) -> None:
    assert run("config", "shop")[1] == "/shop/A:one:two\n/shop/CONTAINERS:1\n/shop/LINES:x\ny\n"
    assert run("config", "-a", "shop")[1].splitlines()[0] == "A:          one:two"


@pytest.mark.row("L12")
@pytest.mark.row("L14")
def test_octohosts_form_of_setting_and_removing_is_silent_and_exact(run: Run, stage: Stage) -> None:
    for value in ["a:b:c:d:e:f:g:h:i:j", '"', "@/etc/passwd", "x\ny\n", "  s  ", "-a", "--format", "\\d", ""]:
        assert run("config:set", "shop/A", value) == (0, "", "")
        assert run("config:get", "shop/A") == (0, f"{value}\n", "")
    assert run("config:rm", "shop/A", "shop/LINES") == (0, "", "")
    assert stage.config("shop") == {"CONTAINERS": "1"}
    code, out, err = run("config:set", "shop/1A", "x")
    assert code == 2 and not out and err.startswith(' !     cannot use "1A" as a config key')


@pytest.mark.row("L12")
def test_octohosts_form_tells_of_a_failure_by_its_exit_code(run: Run, stage: Stage) -> None:
    assert run("config:set", "nosuch/A", "x")[0] == 20
    live = stage.world.catalog.live(stage.world.there())
    assert live
    stage.world.runtime.behaviour[live.image] = "exits"
    code, out, err = run("config:set", "shop/A", "x")
    assert code == 1 and not out and "cannot" in err
    assert stage.config("shop")["A"] == "one:two"


@pytest.mark.row("L15")
def test_the_export_of_all_apps_is_imported_elsewhere_as_it_was(
    run: Run, stage: Stage, typed: Callable[[str], None]
) -> None:
    code, exported, _ = run("config:export")
    assert code == 0 and exported.splitlines()[0] == "octo config:set blog/Q 'it'\"'\"'s \"q\" $HOME'"
    before = {name: stage.config(name) for name in ("shop", "blog")}
    for name in before:
        run("remove:config", name)
    assert [stage.config(name) for name in before] == [{}, {}]
    typed(exported)
    code, out, _ = run("config:import")
    assert code == 0 and "shop: set A, CONTAINERS, LINES; 0 the same already.\n" in out
    assert {name: stage.config(name) for name in before} == before


def test_a_dotenv_file_makes_one_release_and_names_keys_alone(
    run: Run, stage: Stage, typed: Callable[[str], None]
) -> None:
    typed("A=one:two\nexport B='s3cret'\nC=\"x\\ny\" # c\n")
    code, out, err = run("config:import", "-a", "shop", user=True)
    assert code == 0 and "s3cret" not in out + err
    assert out.endswith("shop: set B, C; 1 the same already.\n")
    assert stage.config("shop")["C"] == "x\ny" and stage.versions("shop") == [1, 2]


@pytest.mark.parametrize(
    ("words", "text", "said"),
    [
        (["-a", "shop"], "A=2\nB\n", "line 2"),
        (["-a", "shop"], "A=2\nPORT=http\n", "as a port"),
        ([], "octo config:set shop/A 2\nrm -rf /\n", "line 2"),
        ([], "octo config:set shop/A 2\nocto config:set gone/A 1\nocto config:set lost/A 1\n", "gone, lost"),
        (["-a", "shop"], "octo config:set shop/A 2\n", "name their apps themselves"),
        (["-a", "shop"], "# nothing\n", "there is none"),
        (["-a", "shop", "--dry-run"], "A=2\nB=3\n", ""),
        (["--create", "--dry-run"], "octo config:set gone/A 1\n", ""),
    ],
)
def test_nothing_is_changed_when_one_line_is_wrong_or_nothing_is_to_be(
    run: Run, stage: Stage, typed: Callable[[str], None], words: list[str], text: str, said: str
) -> None:
    typed(text)
    code, out, err = run("config:import", *words)
    assert (code == 0) is (said == "") and said in err
    assert code != 0 or "would" in out
    assert stage.config("shop")["A"] == "one:two" and stage.versions("shop") == [1]
    assert stage.world.store.get("octo/names/gone") is None


def test_missing_apps_are_made_when_that_is_asked_for(run: Run, stage: Stage, typed: Callable[[str], None]) -> None:
    typed("octo config:set new/A '1'\nocto config:set shop/B '2'\n")
    code, out, _ = run("config:import", "--create", "--format", "json")
    told = json.loads(out)
    assert code == 0 and told["new"] == {"changed": ["A"], "same": 0, "created": True}
    assert (stage.config("new"), stage.config("shop")["B"]) == ({"A": "1"}, "2")


@pytest.mark.row("L9")
def test_all_config_of_a_name_goes_with_its_sub_keys_and_the_app_goes_on(run: Run, stage: Stage) -> None:
    stage.world.store.put("octohost/shop/sub/KEY", b"1")
    stage.world.store.put("octohost/shopper/KEY", b"1")
    code, _, err = run("remove:config", "shop")
    assert code == 0 and err.endswith("Removed 4 keys of shop.\n")
    assert [k for k in stage.world.store.rows if k.startswith("octohost/")] == [
        "octohost/blog/Q",
        "octohost/shopper/KEY",
    ]
    live = stage.world.catalog.live(stage.world.there())
    assert live and live.version == 2 and live.config == {}
    assert run("remove:config", "shopper", user=True)[0] == 1  # of no app: the operator's alone
    assert run("remove:config", "shopper")[0] == 0
    assert run("remove:config", "shopper")[0] == 20


@pytest.mark.row("L16")
@pytest.mark.row("H4")
def test_config_env_is_one_line_of_options_without_what_steers_octo(run: Run, stage: Stage) -> None:
    assert run("config:env", "shop")[1] == " -e A=\"one:two\" -e LINES=$'x\\ny'\n"
    assert run("config:env", "blog")[1] == ' -e Q="it\'s \\"q\\" \\$HOME"\n'


DOCKERFILE = """FROM x
# add_name
# LINK_SERVICE redis
# Link_Service db other_db
# MOUNT_FROM_HOST /srv/a /data
# VOLUMES_FROM
"""


@pytest.mark.row("L17")
@pytest.mark.row("H5")
def test_config_options_are_all_run_options_on_one_line(run: Run, stage: Stage, typed: Callable[[str], None]) -> None:
    run("config:set", "blog/MEMORY_LIMIT", "256m")
    typed(DOCKERFILE)
    assert run("config:options", "blog", "-")[1] == (
        "-d -P --name blog --volumes-from blog_data --link blog_redis:redis --link other_db:db -v /srv/a:/data "
        '--memory=256m -e CONTAINER_NAME="blog" -e Q="it\'s \\"q\\" \\$HOME"\n'
    )
    typed("# PORTS_FROM_HOST 80 5000\n# PORTS_FROM_HOST 53 53 10.0.0.1\n")
    assert run("config:options", "blog", "-")[1].startswith("-d -p 0.0.0.0:80:5000 -p 10.0.0.1:53:53 --memory=256m ")
    for words in ([], ["blog"], ["blog", "-", "x"]):
        code, out, err = run("config:options", *words)
        assert code == 2 and not out and err.startswith("Something went wrong.\n")


@pytest.mark.parametrize(
    "comment",
    [
        "# LINK_SERVICE redis; rm -rf /", "# LINK_SERVICE $(id)", "# LINK_SERVICE", "# MOUNT_FROM_HOST a:b",
        "# MOUNT_FROM_HOST /a:/b", "# PORTS_FROM_HOST 80", "# PORTS_FROM_HOST 99999 1",
        "# PORTS_FROM_HOST 1 2 --privileged",
    ],
)  # fmt: skip
def test_a_comment_that_would_be_another_option_is_refused(
    run: Run, stage: Stage, typed: Callable[[str], None], comment: str
) -> None:
    typed(f"FROM x\n{comment}\n")
    code, out, err = run("config:options", "shop", "-")
    assert code == 2 and not out and "line 2 of the Dockerfile" in err


@pytest.mark.row("L18")
def test_config_check_looks_at_the_dockerfile_first(run: Run, stage: Stage, typed: Callable[[str], None]) -> None:
    assert run("config:check", "shop", "A") == (0, "one:two\n", "")
    typed("FROM x\n# a said here\n# AB not this\n")
    assert run("config:check", "shop", "A", "-") == (0, "# a said here\n", "")
    typed("FROM x\n")
    assert run("config:check", "shop", "NONE", "-") == (1, "", "")
