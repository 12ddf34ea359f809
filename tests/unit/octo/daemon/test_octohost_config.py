"""What an octohost's KV means here."""

import base64
import json
from collections.abc import Mapping
from typing import Any

import pytest

from octo.daemon.octohost_config import Wanted, in_order, kv_export, wanted
from octo.errors import Usage
from octo.model import app_name


def kv(*pairs: tuple[str, bytes]) -> bytes:
    return json.dumps([{"key": k, "flags": 0, "value": base64.b64encode(v).decode()} for k, v in pairs]).encode()


def known(given: str) -> str:
    if "none" in given:
        raise Usage("there is none")
    return f"found {given}"


def sorted_out(config: Mapping[str, str]) -> Wanted:
    return wanted(config, ("octo.test",), pem=known, template=known)


def test_values_are_verbatim_under_the_names_that_apps_have_here() -> None:
    odd = "a='b' \"c\"\n$(d) é".encode()
    found = kv_export(kv(("octohost/shop/KEY", odd), ("octohost/Shop_x.y/KEY", b""), ("octohost/", b"")), "octohost")
    assert found.apps == {"shop": {"KEY": odd.decode()}, "shop-x-y": {"KEY": ""}} and not found.notes


@pytest.mark.parametrize(("prefix", "name"), [("", "shop"), ("/", "shop"), ("a/b/", "deep"), ("octohost", "own")])
def test_the_prefix_says_where_the_apps_are(prefix: str, name: str) -> None:
    data = kv(("shop/K", b"1"), ("a/b/deep/K", b"2"), ("octohost/own/K", b"3"))
    assert list(kv_export(data, prefix).apps) == [name]


@pytest.mark.parametrize(
    "key", ["octohost/../K", "octohost/a..b/K", "octohost//K", "octohost/a/b/K", "x", "octohost/a"]
)
def test_what_is_no_apps_config_is_named_and_left_alone(key: str) -> None:
    found = kv_export(kv((key, b"secret")), "octohost")
    assert not found.apps and f'"{key}"' in found.notes[0] and "secret" not in found.notes[0]


def test_a_value_that_is_no_text_is_told_and_left_out() -> None:
    found = kv_export(kv(("octohost/shop/A", b"\xff"), ("octohost/shop/B", b"b")), "octohost")
    assert found.apps == {"shop": {"B": "b"}} and found.notes == ('shop: "A" is left out: it is no text in UTF-8',)


@pytest.mark.parametrize(
    "data",
    [b"", b"{}", b"null", b"\xff", b"[" * 100_000, b"[1]", b'[{"value": "YQ=="}]', b'[{"key": 1, "value": ""}]']
    + [json.dumps([{"key": "octohost/a/B", "value": value}]).encode() for value in ("%%", "YQ", 1, ["a"], "é")],
)
def test_what_consul_did_not_print_is_refused(data: Any) -> None:
    with pytest.raises(Usage, match=r"cannot read kv\.json: "):
        kv_export(data, "octohost")


def test_an_apps_config_comes_in_the_order_in_which_it_can_be_had() -> None:
    config = {
        "KEY": "value",
        "DOMAINS": "b.test, a.test shop.octo.test octo.test b.test",
        "SSL_CERTIFICATE": "crt",
        "SSL_KEY": "key",
        "NGINX_ALT": "/t/own.ctmpl",
    }
    pair = {"SSL_CERTIFICATE": "found crt", "SSL_KEY": "found key"}
    found = sorted_out(config)
    assert (found.first, found.domains) == ({"KEY": "value"}, ("b.test", "a.test"))
    assert found.last == (pair, {"NGINX_ALT": "found /t/own.ctmpl"}) and not found.notes


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("CONTAINERS", "many"),
        ("MEMORY_LIMIT", "lots"),
        ("PORT", "x"),
        ("no-key", "1"),
        ("NUL", "a\0b"),
        ("DOMAINS", "a"),
    ],
)
def test_a_bad_value_is_told_and_left_out_alone(key: str, value: str) -> None:
    found = sorted_out({key: value, "GOOD": "1"})
    assert found.first == {"GOOD": "1"} and not found.domains and len(found.notes) == 1


@pytest.mark.parametrize(
    "half", [{"SSL_KEY": "none", "SSL_CERTIFICATE": "a"}, {"SSL_KEY": "a", "SSL_CERTIFICATE": "none"}]
)
def test_half_a_certificate_is_none(half: Mapping[str, str]) -> None:
    found = sorted_out(half)
    assert not found.last and len(found.notes) == 2


def test_octohosts_own_templates_need_no_move() -> None:
    plain, forced = (sorted_out({"NGINX_ALT": f"/etc/octohost/templates/{n}.ctmpl"}) for n in ("nginx", "nginx-ssl"))
    assert (plain.first, plain.last, forced.first, forced.last) == ({}, (), {"SSL_FORCED": "1"}, ())


def test_what_others_need_comes_first() -> None:
    names = [app_name(name) for name in ("a", "a_b", "a_b_c", "z_data", "b")]
    assert in_order(names) == ["z_data", "a_b_c", "a_b", "a", "b"]
