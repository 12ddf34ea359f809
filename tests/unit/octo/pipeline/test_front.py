"""What an app's config says about how it is served."""

import pytest

from octo.errors import Usage
from octo.pipeline.front import front_of, given
from octo.ports import Front


@pytest.mark.row("J8")
def test_octohosts_keys_are_read_and_empty_ones_count_as_none() -> None:
    config = {"NGINX_ALT": "shop.conf", "SSL_FORCED": "no", "SSL_CERTIFICATE": "/c.pem", "SSL_KEY": "/k.pem"}
    assert front_of(config) == Front("shop.conf", forced=True, certificate="/c.pem", key="/k.pem")
    assert front_of(dict.fromkeys([*config, "NGINX_STICKY"], "")) == Front()
    assert front_of({"NGINX_STICKY": "1"}).sticky


@pytest.mark.row("J8")
def test_of_octohosts_path_the_last_part_counts() -> None:
    assert front_of({"NGINX_ALT": "/etc/octohost/templates/shop.ctmpl"}).template == "shop.ctmpl"


@pytest.mark.parametrize(
    "text", ["../../etc/passwd", "a/b", "/etc/../etc/passwd", "/", ".hidden", "a b", "a\n", "a;b", "x" * 101, "$HOME"]
)
def test_what_is_no_name_of_a_template_is_refused(text: str) -> None:
    """Hole 12: NGINX_ALT was a path that root read."""
    with pytest.raises(Usage, match="as NGINX_ALT: it is no template's name"):
        front_of({"NGINX_ALT": text})


def test_a_template_is_not_given_what_steers_octo() -> None:
    assert given({"WORD": "x", "SSL_KEY": "secret", "NGINX_ALT": "a", "DOMAINS": "b"}) == {"WORD": "x"}
