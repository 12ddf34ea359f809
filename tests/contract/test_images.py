"""The image registry: the fake, and the engine with a real registry."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from octo.adapters.images_docker import DockerImages
from octo.engine import Engine
from octo.errors import OctoError, Unavailable
from octo.ports import ImageRegistry
from tests import image_registry
from tests.fakes_docker import FakeImages, FakeRuntime

ENGINE = Engine(Path(os.environ.get("OCTO_ENGINE", "/var/run/docker.sock")))
BASE = "octo/stack:latest"


@dataclass
class Place:
    images: ImageRegistry
    image: str  # in the engine
    name: str

    def is_here(self) -> bool:
        if isinstance(self.images, FakeImages):
            return self.images.runtime.image(self.images.local(self.name)) is not None
        return ENGINE.find("images", self.images.local(self.name), "json") is not None


@pytest.fixture(scope="module")
def real() -> Iterator[image_registry.ImageRegistry]:
    with image_registry.registry() as made:
        yield made


@pytest.fixture
def small() -> Iterator[str]:
    """An image of a few bytes."""
    stream = ENGINE.upload("images", "create", query={"fromSrc": "-", "changes": 'CMD ["/x"]'})
    stream.send([b"\0" * 10240])
    stream.answer()
    id = next(line["status"] for line in stream.lines() if line.get("status", "").startswith("sha256:"))
    tag = os.urandom(4).hex()
    ENGINE.post("images", id, "tag", query={"repo": "octotest/small", "tag": tag})
    yield id
    ENGINE.delete("images", f"octotest/small:{tag}")


@pytest.fixture(params=["fake", "docker"])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    name = f"shop-{os.urandom(3).hex()}"
    if request.param == "fake":
        runtime = FakeRuntime()
        yield Place(FakeImages(runtime, "registry.test"), runtime.add("an/image:1").id, name)
        return
    real, small = request.getfixturevalue("real"), request.getfixturevalue("small")
    images = DockerImages(ENGINE, registry=real.at, org="octotest", login=real.login, seconds=60)
    yield Place(images, small, name)
    ENGINE.delete("images", images.local(name))


@pytest.mark.row("K2")
def test_what_is_pushed_can_be_pulled(place: Place) -> None:
    place.images.push(place.image, place.name, ("latest", "v3"))
    assert not place.is_here()
    assert place.images.pull(place.name) == place.image
    assert place.is_here()


def test_an_image_that_is_not_there_is_told(place: Place) -> None:
    with pytest.raises(OctoError, match=f"cannot pull {place.name} from {place.images.at}"):
        place.images.pull(place.name)
    assert not place.is_here()


def test_both_tags_arrive_and_none_stays_behind(real: image_registry.ImageRegistry, small: str) -> None:
    images = DockerImages(ENGINE, registry=f"{real.at}/team", org="octotest", login=real.login, seconds=60)
    images.push(small, "shop", ("latest", "v3"))
    assert real.tags("team/shop") == ["latest", "v3"]
    assert not [t for t in ENGINE.get("images", small, "json")["RepoTags"] or [] if real.at in t]


@pytest.mark.row("K1")
def test_who_has_not_logged_in_and_who_nobody_answers_is_told(
    real: image_registry.ImageRegistry, small: str, tmp_path: Path
) -> None:
    stranger = DockerImages(ENGINE, registry=real.at, org="octotest", login=tmp_path / "none.json", seconds=60)
    with pytest.raises(Unavailable, match=f"cannot push shop to {real.at}: .*no basic auth"):
        stranger.push(small, "shop", ("latest",))
    nobody = DockerImages(ENGINE, registry="127.0.0.1:9", org="octotest", login=real.login, seconds=60)
    with pytest.raises(Unavailable, match=r"cannot push shop to 127.0.0.1:9: .*refused"):
        nobody.push(small, "shop", ("latest",))
    with pytest.raises(Unavailable, match=r"This feature requires a private registry\."):
        DockerImages(ENGINE, registry="", org="octotest", login=real.login, seconds=60).pull("shop")
