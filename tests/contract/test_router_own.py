"""Apps with a template of their own: what it may say, and that its faults are its app's alone."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from octo.adapters.router_nginx import Own
from octo.errors import RouterFailed
from octo.ports import Front, Route
from tests.contract.router_parts import NOBODY, Bench, bench, route

PLAIN = "server {\n    include listen.conf;\n    server_name {{ domains }};\n    include locations.conf;\n}\n"
MARKED = PLAIN.replace("    include loc", "    add_header X-Own {{ config.WORD }} always;\n    include loc")


@dataclass
class Yard:
    """A router, the operator's folder of templates, and an ordinary app beside."""

    bench: Bench
    folder: Path
    blog: Route

    def put(self, text: str, name: str = "own.conf") -> None:
        (self.folder / name).write_text(text)

    def shop(self, says: str = "shop", template: str = "own.conf", **config: str) -> Route:
        made = route("shop", self.bench.app(says)[0])
        return replace(made, front=Front(template=template), config=config)

    def apply(self, *routes: Route, anew: bool = False) -> bool:
        return self.bench.router.apply([self.blog, *routes], anew=anew)

    def says(self, app: str) -> str:
        answer = self.bench.get(f"{app}.localhost")
        return str(answer.echo["app"]) if answer.status == 200 else str(answer.status)

    def mark(self) -> str | None:
        return self.bench.get("shop.localhost").headers.get("X-Own")

    def fault(self, of: str = "shop") -> str:
        return self.bench.router.faults().get(route(of).id, "")


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[Yard]:
    folder = tmp_path / "templates"
    folder.mkdir()
    with bench(own=Own(templates=folder)) as made:
        made.router.start()
        found = Yard(made, folder, route("blog", made.app("blog")[0]))
        found.apply()
        yield found


# --- what a template can say


@pytest.mark.row("J7")
@pytest.mark.row("J8")
def test_an_app_with_a_template_has_a_file_of_its_own_and_is_served_by_it(yard: Yard) -> None:
    yard.put(MARKED)
    yard.apply(yard.shop(WORD="hello"))
    assert (yard.says("shop"), yard.mark(), yard.says("blog")) == ("shop", "hello", "blog")
    assert [f.name for f in (yard.bench.prefix / "current/containers").glob("*.conf")] == ["shop.conf"]
    assert not yard.bench.router.faults()


@pytest.mark.row("J7")
def test_a_template_knows_name_domains_instances_and_config(yard: Yard) -> None:
    yard.put(
        "upstream mine {\n{% for one in instances %}\n    server {{ one }};\n{% endfor %}\n}\n"
        "server {\n listen {{ listen }};\n server_name {{ domains|join(' ') }};\n"
        " add_header X-Seen {{ ('%s-%s-%s-%s-%s' % (name, release, config.A, tls, instances|length))|quoted }};\n"
        " add_header X-Quoted {{ config.B|quoted }} always;\n add_header X-None \"{{ config.get('C', 'none') }}\";\n"
        " location / { proxy_pass http://mine; }\n location /octo { proxy_pass http://{{ upstream }}; }\n}\n"
    )
    shop = replace(yard.shop(A="1", B='a "b" \\ c; } {'), hosts=("shop.localhost", "www.shop.test"), release=7)
    yard.apply(replace(shop, targets=(*shop.targets, NOBODY)))
    for host, path in (("shop.localhost", "/"), ("www.shop.test", "/octo")):
        answer = yard.bench.get(host, path)
        assert answer.echo["app"] == "shop"
        assert answer.headers["X-Seen"] == "shop-7-1-None-2"
        assert (answer.headers["X-Quoted"], answer.headers["X-None"]) == ('a "b" \\ c; } {', "none")


@pytest.mark.row("J8")
def test_a_stopped_app_with_a_template_gets_the_503_page_and_harms_nobody(yard: Yard) -> None:
    """Hole 22: an upstream without servers is no configuration for nginx."""
    yard.put(MARKED)
    shop = yard.shop(WORD="hello")
    yard.apply(shop)
    yard.apply(replace(shop, targets=()))
    assert (yard.says("shop"), yard.says("blog")) == ("503", "blog")
    yard.put("bogus")
    yard.apply(shop)
    assert (yard.says("shop"), yard.mark()) == ("shop", "hello")  # by the template that was good last


def test_a_template_takes_the_longest_names(yard: Yard) -> None:
    longest = ".".join(["h" * 63] * 3 + ["h" * 58, "io"])
    yard.put(MARKED)
    yard.apply(replace(yard.shop(WORD="hello"), hosts=(longest, *(f"h{n}.test" for n in range(100)))))
    assert yard.bench.get(longest).headers["X-Own"] == "hello"


# --- what it cannot


HARMFUL = ["a; } server {", "x;", "a b", "$host", "a{b", "a}", '"', "'", "\\", "a#b", "a\nb", "a\tb", "", "\x1b", "a;b"]


@pytest.mark.row("J7")
@pytest.mark.parametrize("value", HARMFUL, ids=repr)
def test_a_value_cannot_leave_its_place_in_a_template(yard: Yard, value: str) -> None:
    """Hole 11: `a; } server {` as a value becomes no block."""
    yard.put(MARKED)
    with pytest.raises(RouterFailed, match=r'line 4, "add_header .*\|quoted') as caught:
        yard.bench.router.check(yard.shop(WORD=value))
    assert not value or value not in caught.value.message.replace(" ", "").partition("always")[0] or len(value) < 2
    yard.apply(yard.shop(WORD=value))
    assert (yard.says("shop"), yard.says("blog")) == ("503", "blog")


@pytest.mark.parametrize("value", ["a\nb", "$host", "a\x00b", "a\rb"], ids=repr)
def test_what_nginx_cannot_quote_is_refused(yard: Yard, value: str) -> None:
    yard.put(MARKED.replace("config.WORD", "config.WORD|quoted"))
    with pytest.raises(RouterFailed, match="which nginx cannot quote"):
        yard.bench.router.check(yard.shop(WORD=value))


@pytest.mark.row("J8")
@pytest.mark.parametrize(
    "name",
    [
        "../own.conf",
        "/etc/passwd",
        "",
        ".hidden",
        "a/b",
        "no such",
        "missing.conf",
        "link",
        "pipe",
        "folder",
        "x" * 101,
    ],
)
def test_a_template_is_read_from_the_operators_folder_alone(yard: Yard, name: str) -> None:
    """Hole 12: NGINX_ALT read any file as root."""
    (yard.folder.parent / "own.conf").write_text(PLAIN)
    (yard.folder / "link").symlink_to("/etc/passwd")
    (yard.folder / "folder").mkdir()
    os.mkfifo(yard.folder / "pipe")
    if not name:
        yard.apply(yard.shop(template=name))
        assert yard.says("shop") == "shop"
        return
    with pytest.raises(RouterFailed, match="there is none of that name"):
        yard.bench.router.check(yard.shop(template=name))


@pytest.mark.parametrize(
    "text",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ config._config }}",
        "{{ config.__class__ }}",
        "{% include 'x' %}",
        "{{ cycler.__init__.__globals__ }}",
        "{% for k in config %}{{ k }}{% endfor %}",
        "{{ range(10**9)|list }}",
        "{{ domains|join(config.WORD) }}",
        "{{ missing }}",
        "{{ 1/0 }}",
        "{% if %}",
        "{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}",
        "{{ 'x' * 300000 }}",
    ],
)
def test_a_template_that_goes_astray_is_its_apps_fault_with_its_line(yard: Yard, text: str) -> None:
    yard.put("# one\n" + text)
    with pytest.raises(RouterFailed, match=r'cannot serve "shop" by the template "own.conf"') as caught:
        yard.bench.router.check(yard.shop(WORD=";"))
    assert "line 2" in caught.value.message or "without end" in caught.value.message or "256 KB" in caught.value.message
    assert yard.apply(yard.shop(WORD=";"))
    assert (yard.says("shop"), yard.says("blog")) == ("503", "blog")


# --- whose fault it is


@pytest.mark.row("J8")
def test_a_block_that_nginx_refuses_is_told_with_nginx_words_and_the_templates_line(yard: Yard) -> None:
    yard.put(
        "{% for one in instances %}\n# {{ one }}\n{% endfor %}\n\n"
        + PLAIN.replace("include loc", "bogus on; include loc")
    )
    shop = yard.shop()
    with pytest.raises(RouterFailed) as caught:
        yard.bench.router.check(replace(shop, targets=(*shop.targets, NOBODY)))
    assert caught.value.message == (
        'cannot serve "shop" by the template "own.conf", line 8, "bogus on; include locations.conf;": '
        'nginx says: [emerg] unknown directive "bogus" in containers/shop.conf:7'
    )
    assert yard.says("blog") == "blog"


@pytest.mark.row("J6")
@pytest.mark.row("J8")
def test_a_template_that_was_spoilt_later_holds_up_nobody_else(yard: Yard) -> None:
    """Hole 21: one bad file on the disk made every reload fail."""
    yard.put(MARKED)
    yard.apply(yard.shop("one", WORD="good"))
    for text in ("bogus;\n", "{{ nothing }}\n", MARKED + "}\n", MARKED.replace("include loc", "include none/loc")):
        yard.put(text)
        assert yard.apply(yard.shop("next", WORD="good"), route("other", yard.bench.app("other")[0]))
        assert (yard.says("shop"), yard.mark(), yard.says("other")) == ("next", "good", "other")
        assert 'cannot serve "shop" by the template "own.conf"' in yard.fault()
    assert yard.bench.router.problems() == []
    yard.put(MARKED.replace("X-Own", "X-Mended"))
    yard.apply(yard.shop("mended", WORD="good"))
    assert yard.bench.get("shop.localhost").headers["X-Mended"] == "good"
    assert not yard.bench.router.faults()


def test_a_restart_with_a_spoilt_template_serves_what_was_good_last(yard: Yard) -> None:
    yard.put(MARKED)
    shop = yard.shop(WORD="good")
    yard.apply(shop)
    yard.put("bogus;\n")
    again = yard.bench.other(own=Own(templates=yard.folder))
    again.start()
    assert (yard.says("shop"), yard.mark()) == ("shop", "good")
    assert "bogus" in again.faults()[shop.id]
    yard.bench.router.stop()
    again.start()
    assert (yard.says("shop"), yard.mark(), yard.says("blog")) == ("shop", "good", "blog")


def test_two_blocks_that_clash_cost_the_newer_one_alone(yard: Yard) -> None:
    text = "upstream same { server 127.0.0.1:1; }\n" + MARKED
    yard.put(text)
    shop = yard.shop(WORD="first")
    other = replace(shop, app="other", id="beef", hosts=("other.localhost",))
    yard.apply(shop)
    with pytest.raises(RouterFailed, match=r'cannot serve "other" .*duplicate upstream "same"'):
        yard.bench.router.check(other)
    yard.apply(shop, other)
    assert (yard.says("shop"), yard.mark(), yard.says("other")) == ("shop", "first", "503")
    assert list(yard.bench.router.faults()) == ["beef"]


def test_what_nginx_refused_is_not_asked_again_until_somebody_says_so(yard: Yard) -> None:
    needed = yard.bench.prefix.parent / "needed.conf"
    yard.put(MARKED.replace("include loc", f"include {needed}; include loc"))
    shop = yard.shop(WORD="hello")
    yard.apply(shop)
    assert yard.says("shop") == "503"
    needed.write_text("# here now\n")
    assert not yard.apply(shop)
    assert "needed.conf" in yard.fault()
    assert yard.apply(shop, anew=True)
    assert (yard.mark(), yard.fault()) == ("hello", "")


@pytest.mark.row("L19")
def test_rendering_anew_reloads_though_nothing_is_different(yard: Yard) -> None:
    reloads = (yard.bench.prefix / "logs/error.log").read_text().count(": reconfiguring\n")
    assert not yard.apply()
    assert yard.apply(anew=True)
    assert (yard.bench.prefix / "logs/error.log").read_text().count(": reconfiguring\n") == reloads + 1


def test_a_block_with_config_in_it_is_open_to_nginx_alone(yard: Yard) -> None:
    yard.put(MARKED)
    yard.apply(yard.shop(WORD="hush-hush"))
    current = (yard.bench.prefix / "current").resolve()
    holding = [f for f in current.rglob("*") if f.is_file() and b"hush-hush" in f.read_bytes()]
    assert {f.name for f in holding} == {"shop.conf", "routes.json"}
    assert not [f for f in holding if f.stat().st_mode & 0o007]


@pytest.mark.row("J10")
def test_a_sticky_app_sends_a_client_to_one_container(yard: Yard) -> None:
    made = yard.bench
    shop = replace(route("shop", made.app("one")[0], made.app("two")[0]), front=Front(sticky=True))
    yard.apply(shop)
    assert len({yard.says("shop") for _ in range(20)}) == 1
    yard.apply(replace(shop, front=Front()))
    assert len({yard.says("shop") for _ in range(20)}) == 2
