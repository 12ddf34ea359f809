"""What the registry is told of a container."""

import pytest

from octo.errors import Usage
from octo.model import App, AppName, Check, Slot
from octo.pipeline.services import service_of

SHOP = App("1a2b3c", AppName("shop"), 0.0)
SLOT = Slot("1a2b3c", 3, "web", 1, "octo-shop-web.1", "10.0.0.2", 5000)


@pytest.mark.row("J1")
def test_a_service_is_named_for_its_app_address_and_port() -> None:
    service = service_of(SHOP, SLOT, {})
    assert (service.id, service.name) == ("shop-10.0.0.2-5000", "shop")
    assert (service.address, service.port) == ("10.0.0.2", 5000)


@pytest.mark.row("J2")
@pytest.mark.parametrize(
    ("given", "tags"),
    [
        (None, ("http", "v3")),
        ("http,blue", ("http", "blue", "v3")),
        (" redis , cache,,redis", ("redis", "cache", "v3")),
        ("", ("v3",)),
    ],
)
def test_tags_are_a_list(given: str | None, tags: tuple[str, ...]) -> None:
    assert service_of(SHOP, SLOT, {} if given is None else {"CONSUL_TAGS": given}).tags == tags


@pytest.mark.row("J3")
@pytest.mark.parametrize(
    ("config", "check"),
    [
        ({}, Check("/", 15)),
        ({"CONSUL_TAGS": "redis"}, None),
        ({"CONSUL_TAGS": "redis", "CUSTOM_CHECK": "tcp"}, Check("", 15)),
        ({"CUSTOM_CHECK": "/health?deep=1", "CUSTOM_CHECK_INTERVAL": "2m"}, Check("/health?deep=1", 120)),
        ({"CUSTOM_CHECK": "http://169.254.169.254/up", "CUSTOM_CHECK_INTERVAL": "30"}, Check("/up", 30)),
        ({"CUSTOM_CHECK": "https://shop.example.com", "CUSTOM_CHECK_INTERVAL": "1500ms"}, Check("/", 1.5)),
    ],
)
def test_a_web_service_is_asked_at_its_own_address_alone(config: dict[str, str], check: Check | None) -> None:
    assert service_of(SHOP, SLOT, config).check == check


@pytest.mark.parametrize("path", ["health", "/a b", "/a\nb", "ftp://x/y", "file:///etc/passwd", "/" + "a" * 2001, "/ü"])
def test_a_check_that_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(Usage, match="CUSTOM_CHECK"):
        service_of(SHOP, SLOT, {"CUSTOM_CHECK": path})


@pytest.mark.parametrize("interval", ["0s", "2h", "-1s", "1d", "soon", "15 s", "9" * 30])
def test_an_interval_that_is_none_is_refused(interval: str) -> None:
    with pytest.raises(Usage, match="CUSTOM_CHECK_INTERVAL"):
        service_of(SHOP, SLOT, {"CUSTOM_CHECK_INTERVAL": interval})
