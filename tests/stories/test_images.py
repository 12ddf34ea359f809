"""A private registry: pushes end there, and an app begins with an image from it."""

import subprocess
from collections.abc import Iterator

import pytest

from tests import apps, image_registry
from tests.stories.conftest import Name, serving
from tests.stories.host import Host, Repository


@pytest.fixture(scope="module")
def registry() -> Iterator[image_registry.ImageRegistry]:
    with image_registry.registry() as made:
        yield made


@pytest.fixture(scope="module")
def yard(registry: image_registry.ImageRegistry) -> Iterator[Host]:
    settings = {"PRIVATE_REGISTRY": registry.at, "REGISTRY_LOGIN": str(registry.login), "BUILD_ORG": "octotest"}
    with serving(**{f"OCTO_{name}": value for name, value in settings.items()}) as made:
        yield made


@pytest.mark.row("K1", "K2", "L3", "L29")
def test_a_push_ends_in_the_registry_and_an_app_starts_from_there(
    registry: image_registry.ImageRegistry, yard: Host, names: Name
) -> None:
    app, other = names("shop"), names("other")
    said = Repository(yard, app, apps.web("hello")).push()
    assert said.index("Launching... done, v1") > said.index(f"Pushing {app} to a private registry.")
    assert registry.tags(app) == ["latest", "v1"]
    yard.octo("config:set", "-a", app, "WORD=new")
    assert f"{registry.at}/{app}: latest, v2" in yard.octo("push", app)
    assert registry.tags(app) == ["latest", "v1", "v2"]
    assert f"octotest/{app}:latest" in yard.octo("pull", app)
    subprocess.run(["docker", "tag", f"octotest/{app}:latest", f"octotest/{other}:latest"], check=True)
    assert f"Started {other}, v1." in yard.octo("start", other, "2")
    assert yard.get(other) == (200, "hello v1 ")
    assert len(yard.json("ps", "-a", other)) == 2
    assert "runs already" in yard.octo("start", other)
    yard.octo("ps:stop", "-a", other)
    yard.octo("start", other)
    assert yard.get(other) == (200, "hello v1 ")
    for name in (app, other):
        subprocess.run(["docker", "rmi", f"octotest/{name}:latest"], check=True, capture_output=True)


@pytest.mark.row("K1")
def test_a_registry_that_is_away_is_told_and_the_release_serves(
    registry: image_registry.ImageRegistry, yard: Host, names: Name
) -> None:
    app = names("shop")
    registry.process.kill()
    registry.process.wait()
    said = Repository(yard, app, apps.web("hello")).push()
    assert f"cannot push {app} to {registry.at}" in said
    assert f"The release serves all the same. Try again: octo push {app}" in said
    assert yard.get(app) == (200, "hello v1 ")
    assert "cannot push" in yard.octo("push", app, code=1)


@pytest.mark.row("K2", "L29", "L3")
def test_without_a_registry_both_are_refused(host: Host, app: str) -> None:
    host.octo("apps:create", app)
    assert "This feature requires a private registry." in host.octo("pull", app, code=1)
    assert "it has no release that serves" in host.octo("push", app, code=1)
    assert f"there is no image octoprod/{app}:latest" in host.octo("start", app, code=1)
    host.octo("apps:destroy", app, "--confirm", app)
    assert "cannot find the app" in host.octo("start", app, code=20)
