"""Text from outside becomes a name, or a clear error."""

import pytest

from octo import model
from octo.errors import Usage
from octo.model import AppName, Release, environment
from octo.options import KEYS


@pytest.mark.row("A16")
@pytest.mark.parametrize("name", ["a", "shop", "shop-2", "a" * 63, "testing_redis_data", "a_", "a-_"])
def test_good_app_names_pass(name: str) -> None:
    assert model.app_name(name) == name


BAD_NAMES = [
    "",
    "A",
    "Shop",
    "1shop",
    "-shop",
    "a" * 64,
    "../x",
    "..",
    "a/b",
    "/a",
    "a b",
    "a\n",
    "\na",
    "a\0b",
    "a.git",
    "wéb",
    "we\u200bb",
    "_b",
    "a-",
    "$(id)",
    "`id`",
    "a;id",
    "a'b",
    'a"b',
    "--help",
    "a" * 10_000_000,
    "а",
]


@pytest.mark.row("A16")
@pytest.mark.parametrize("name", BAD_NAMES, ids=lambda n: repr(n[:20]))
def test_bad_app_names_are_refused_in_one_short_line(name: str) -> None:
    with pytest.raises(Usage) as refused:
        model.app_name(name)
    assert len(refused.value.message) < 400 and "\n" not in refused.value.message and "\0" not in refused.value.message
    assert refused.value.exit_code == 2


@pytest.mark.parametrize("key", ["A", "DATABASE_URL", "_x", "a1", "A" * 128])
def test_good_config_keys_pass(key: str) -> None:
    assert model.config_key(key) == key


@pytest.mark.parametrize(
    "key", ["", "1A", "A-B", "A B", "A=B", "A/B", "../A", "a/../b", "A\n", "A\0", "A" * 129, "ключ", "%00"]
)
def test_bad_config_keys_are_refused(key: str) -> None:
    with pytest.raises(Usage):
        model.config_key(key)


@pytest.mark.row("H3")
@pytest.mark.parametrize("value", ["", "a b", 'x:y"z@', "line\nline", "--privileged", "@/etc/passwd", "ü", "a=b"])
def test_config_values_are_taken_verbatim(value: str) -> None:
    assert model.config_value(value) == value


@pytest.mark.parametrize("value", ["a\0b", "x" * 65_537, "latin-1: \udcfc", "\ud800"])
def test_config_values_have_a_limit_and_are_utf8_without_nul(value: str) -> None:
    with pytest.raises(Usage):
        model.config_value(value)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("a.test", "a.test"),
        ("WWW.Example.COM", "www.example.com"),
        ("a.test.", "a.test"),
        ("bücher.test", "xn--bcher-kva.test"),
        ("a_b.test", "a_b.test"),
        ("x--y.test", "x--y.test"),
    ],
)
def test_domains_become_lower_case_and_punycode(given: str, name: str) -> None:
    assert model.hostname(given) == name


@pytest.mark.parametrize(
    "given",
    [
        "",
        ".",
        "test",
        "a..test",
        "-a.test",
        "a-.test",
        "*.test",
        "_",
        '""',
        "a.test:80",
        "1.2.3.4",
        "[::1]",
        "::1",
        "{a,b}.test",
        "a.test; return 200 x; #",
        "a.test\n  location /x {}",
        "a test.com",
        "a.test/x",
        "http://a.test",
        "~^a.test",
        "a" * 64 + ".test",
        ".".join(["a" * 60] * 5),
        "a.test\0",
        "a\\.test",
        "$host.test",
        "a.test..",
        "ä" * 300 + ".test",
    ],
    ids=lambda n: repr(n[:20]),
)
def test_what_is_no_domain_is_refused(given: str) -> None:
    with pytest.raises(Usage):
        model.hostname(given)


@pytest.mark.parametrize(
    "name",
    ["", "Eve", "eve adams", "eve\n", 'eve",command="id', "eve\tx", "a/b", "ev\u00e9", "eve,no-pty", "e" * 65, "$(id)"],
    ids=repr,
)
def test_an_owner_of_a_key_brings_no_option_or_line_of_its_own(name: str) -> None:
    with pytest.raises(Usage, match="as a name for a key's owner"):
        model.user_name(name)


@pytest.mark.parametrize("text", ["0", "-1", "65536", "80x", "", " 80", "080", "99999", "٣"])
def test_what_is_no_port_is_refused(text: str) -> None:
    with pytest.raises(Usage):
        model.port_number(text)


@pytest.mark.parametrize("text", ["-1", "1e9", "abc", "", "101", "999999", "1.5"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(Usage):
        model.quantity(text)


@pytest.mark.row("H6")
def test_keys_that_steer_octo_are_not_handed_to_the_app() -> None:
    config = {
        "DEBUG": "1",
        "CONTAINERS": "3",
        "DOMAINS": "a.test",
        "MEMORY_LIMIT": "64m",
        "SSL_KEY": "/x",
        "NO_HTTP_PROXY": "1",
        **dict.fromkeys(KEYS, "x"),
    }
    release = Release("a", 3, "sha256:x", 0, commit="c0ffee", config=config, port=8000)
    octos = {
        "PORT": "8000",
        "DYNO": "web.2",
        "SOURCE_VERSION": "c0ffee",
        "OCTO_RELEASE": "v3",
        "CONTAINER_NAME": "shop",
    }
    assert environment(AppName("shop"), release, "web", 2) == {"DEBUG": "1", **octos}


def test_the_apps_own_port_wins_over_an_env_of_the_image() -> None:
    release = Release("a", 1, "x", 0, port=5000, config={"PORT": "5000"})
    assert environment(AppName("shop"), release, "web", 1)["PORT"] == "5000"


@pytest.mark.parametrize("given", ["0x7f.1", "a.1", "127.1", "1.1", "a.b.0"])
def test_a_name_that_browsers_take_for_an_address_is_no_domain(given: str) -> None:
    with pytest.raises(Usage):
        model.hostname(given)
