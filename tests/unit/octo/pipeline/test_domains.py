"""Which app has which domain: by command, by CNAME file, by the config key DOMAINS."""

from dataclasses import dataclass

import pytest

from octo.catalog import Catalog
from octo.daemon.access import NOBODY, OPERATOR, Actor, Verb, allowed
from octo.errors import BuildFailed, Conflict, Forbidden, NotFound, OctoError, RouterFailed, Taken
from octo.model import App, AppName, Hostname, UserName, hostname
from octo.pipeline.domains import MOST, Domains, listed
from octo.pipeline.routing import Routing
from tests.fakes import FakeStore
from tests.fakes_router import FakeRouter


@dataclass
class Yard:
    catalog: Catalog
    router: FakeRouter
    domains: Domains
    shop: App
    blog: App

    def add(self, app: App, *names: str, take: bool = False) -> None:
        for name in names:
            self.domains.add(app, hostname(name), nobody, take=take)

    def set(self, app: App, text: str) -> None:
        self.domains.set(app, listed(text), nobody)

    def push(self, app: App, *names: str) -> None:
        """What the commit of a push with these lines does."""
        asked = self.domains.asked(app, "\n".join(names), nobody)
        self.catalog.store.put_many(self.domains.writes_of_push(app, asked))

    def of(self, app: App) -> list[str]:
        return [d.hostname for d in self.catalog.domains(app)]

    def key(self, app: App) -> str | None:
        return self.catalog.config(app).get("DOMAINS")

    def served(self, app: App) -> list[str]:
        return [host for route in self.router.table if route.id == app.id for host in route.hosts]


def nobody(app: App) -> bool:
    return False


@pytest.fixture
def yard() -> Yard:
    catalog, router = Catalog(FakeStore()), FakeRouter()
    routing = Routing(catalog, router, "octo.test", more=("10.0.0.1.xip.test",))
    made = [catalog.create(AppName(name), now=0.0, owner=None) for name in ("shop", "blog")]
    routing.refresh()
    return Yard(catalog, router, Domains(catalog, routing, lambda: 1.0), *made)


# --- names


@pytest.mark.row("J4")
def test_an_app_is_served_under_its_name_and_every_suffix(yard: Yard) -> None:
    assert yard.served(yard.shop) == ["shop.octo.test", "shop.10.0.0.1.xip.test"]


@pytest.mark.row("J4")
def test_a_domain_is_served_from_its_adding_to_its_removal(yard: Yard) -> None:
    yard.add(yard.shop, "www.shop.test", "www.shop.test")
    assert "www.shop.test" in yard.served(yard.shop)
    yard.domains.remove(yard.shop, Hostname("www.shop.test"))
    assert "www.shop.test" not in yard.served(yard.shop)
    with pytest.raises(NotFound, match='"shop" does not have it'):
        yard.domains.remove(yard.shop, Hostname("www.shop.test"))


@pytest.mark.parametrize("name", ["blog.octo.test", "x.octo.test", "a.shop.octo.test", "x.10.0.0.1.xip.test"])
def test_names_under_octos_suffixes_belong_to_the_apps_of_that_name(yard: Yard, name: str) -> None:
    """Hole 11: hijack of another app's name, also of one that is not there yet."""
    with pytest.raises(Forbidden, match=r"names under [0-9a-z.]+ belong to the apps of that name"):
        yard.add(yard.shop, name)
    with pytest.raises(BuildFailed, match=r"line 2, .* belong to the apps of that name"):
        yard.domains.asked(yard.shop, f"# a comment\n{name}", nobody)
    assert yard.of(yard.shop) == []


def test_octos_own_host_is_the_operators_to_give(yard: Yard) -> None:
    with pytest.raises(Forbidden, match="octo's own name"):
        yard.add(yard.shop, "octo.test")
    yard.add(yard.shop, "octo.test", take=True)
    assert "octo.test" in yard.served(yard.shop)


# --- whose is it


@pytest.mark.row("J5")
@pytest.mark.parametrize(("actor", "knows"), [(OPERATOR, True), (Actor(UserName("ann")), True), (NOBODY, False)])
def test_a_domain_of_another_app_is_refused_and_its_owner_named_to_who_may_know(
    yard: Yard, actor: Actor, *, knows: bool
) -> None:
    yard.add(yard.blog, "www.test")
    said = 'cannot add the domain "www.test": ' + ('the app "blog" has it' if knows else "another app has it")

    def may_read(app: App) -> bool:
        return allowed(actor, Verb.READ, app)

    with pytest.raises(Taken) as caught:
        yard.domains.add(yard.shop, Hostname("www.test"), may_read)
    assert caught.value.message == said
    with pytest.raises(Taken) as caught:
        yard.domains.set(yard.shop, listed("a.test, www.test"), may_read)
    assert caught.value.message == said
    assert (yard.of(yard.shop), yard.of(yard.blog)) == ([], ["www.test"])


def test_the_operator_moves_a_domain(yard: Yard) -> None:
    yard.set(yard.blog, "www.test b.test")
    yard.add(yard.shop, "www.test", take=True)
    assert (yard.of(yard.shop), yard.of(yard.blog), yard.key(yard.blog)) == (["www.test"], ["b.test"], "b.test")
    assert "www.test" in yard.served(yard.shop) and "www.test" not in yard.served(yard.blog)


def test_what_cannot_be_routed_does_not_stay(yard: Yard) -> None:
    yard.set(yard.shop, "old.test")
    for attempt in (lambda: yard.add(yard.shop, "new.test"), lambda: yard.set(yard.shop, "other.test")):
        yard.router.fail_next = "cannot reload nginx"
        with pytest.raises(RouterFailed):
            attempt()
        assert (yard.of(yard.shop), yard.key(yard.shop)) == (["old.test"], "old.test")


def test_two_at_once_do_not_both_get_it(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    real = yard.catalog.store.put_many

    def first_the_other(writes):  # type: ignore[no-untyped-def]
        monkeypatch.setattr(yard.catalog.store, "put_many", real)
        yard.add(yard.blog, "www.test")
        real(writes)

    monkeypatch.setattr(yard.catalog.store, "put_many", first_the_other)
    with pytest.raises(Taken):
        yard.add(yard.shop, "www.test")
    assert yard.of(yard.blog) == ["www.test"]


# --- lists


@pytest.mark.row("J5")
@pytest.mark.row("L21")
@pytest.mark.parametrize("text", ["b.test,a.test,b.test", " b.test  a.test\n", "B.test., a.test"])
def test_a_list_has_commas_or_spaces_and_is_kept_sorted_and_once(yard: Yard, text: str) -> None:
    yard.add(yard.shop, "gone.test")
    yard.set(yard.shop, text)
    assert yard.of(yard.shop) == ["a.test", "b.test"]
    assert yard.key(yard.shop) == "a.test b.test"


@pytest.mark.row("L21")
def test_own_names_in_a_list_say_nothing_new_and_an_empty_list_takes_all_away(yard: Yard) -> None:
    yard.set(yard.shop, "shop.octo.test,a.test,shop.10.0.0.1.xip.test")
    assert yard.of(yard.shop) == ["a.test"]
    yard.set(yard.shop, "")
    assert (yard.of(yard.shop), yard.key(yard.shop)) == ([], None)


@pytest.mark.parametrize("text", ["a; } server {", "a.test;", "*.test", "http://a.test", "a.test:80", "$host.test"])
def test_what_is_no_domain_is_in_no_list(text: str) -> None:
    """Hole 11: DOMAINS went into nginx's files as it was."""
    with pytest.raises(OctoError, match="as a domain"):
        listed(text)


def test_the_key_follows_where_it_is(yard: Yard) -> None:
    yard.add(yard.shop, "a.test")
    assert yard.key(yard.shop) is None
    yard.set(yard.shop, "a.test")
    yard.add(yard.shop, "b.test")
    assert yard.key(yard.shop) == "a.test b.test"
    yard.push(yard.shop, "c.test")
    assert yard.key(yard.shop) == "a.test b.test c.test"
    yard.domains.remove(yard.shop, Hostname("a.test"))
    assert yard.key(yard.shop) == "b.test c.test"


# --- the CNAME file


@pytest.mark.row("J4")
def test_a_cname_file_has_a_domain_a_line_and_comments_and_blank_lines_mean_nothing(yard: Yard) -> None:
    text = "\ufeffWWW.Shop.test\r\n\r\n# a comment\n  b.test   # why\nshop.octo.test\nb.test\nb\u00fccher.test\n"
    assert yard.domains.asked(yard.shop, text, nobody) == ("www.shop.test", "b.test", "xn--bcher-kva.test")
    assert yard.domains.asked(yard.shop, None, nobody) == ()


@pytest.mark.row("J4")
@pytest.mark.parametrize("line", ["a; } server {", "`id`", "$(id).test", "a b.test", "*.test", "-x", "http://a.test"])
def test_a_bad_line_is_named(yard: Yard, line: str) -> None:
    """Hole 7: lines went to a shell and into nginx's files."""
    with pytest.raises(BuildFailed) as caught:
        yard.domains.asked(yard.shop, f"a.test\n\n{line}\n", nobody)
    assert caught.value.message == f'cannot use the CNAME file: line 3, "{line}", is no domain'


def test_a_flood_of_domains_is_refused(yard: Yard) -> None:
    with pytest.raises(BuildFailed, match=f"more than {MOST} domains"):
        yard.domains.asked(yard.shop, "\n".join(f"h{n}.test" for n in range(MOST + 1)), nobody)


@pytest.mark.row("J4")
def test_a_foreign_domain_is_refused_by_its_line(yard: Yard) -> None:
    yard.add(yard.blog, "www.test")
    with pytest.raises(BuildFailed) as caught:
        yard.domains.asked(yard.shop, "a.test\nwww.test\n", lambda app: True)
    assert caught.value.message == 'cannot use the CNAME file: line 2, "www.test": the app "blog" has it'


@pytest.mark.row("J4")
def test_a_pushed_domain_goes_with_the_file_and_the_operators_own_stays(yard: Yard) -> None:
    yard.add(yard.shop, "own.test")
    yard.push(yard.shop, "a.test", "own.test")
    assert yard.of(yard.shop) == ["a.test", "own.test"]
    yard.push(yard.shop, "b.test")
    assert yard.of(yard.shop) == ["b.test", "own.test"]
    yard.set(yard.shop, "own.test,b.test")  # now by command
    yard.push(yard.shop)
    assert yard.of(yard.shop) == ["b.test", "own.test"]


def test_a_domain_that_somebody_else_got_meanwhile_stops_the_commit(yard: Yard) -> None:
    asked = yard.domains.asked(yard.shop, "www.test", nobody)
    late = yard.domains.writes_of_push(yard.shop, asked)
    yard.add(yard.blog, "www.test")
    with pytest.raises(Taken):
        yard.domains.writes_of_push(yard.shop, asked)
    with pytest.raises(Conflict):
        yard.catalog.store.put_many(late)
