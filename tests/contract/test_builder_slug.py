"""Builder.compose: a slug becomes an image, one layer on its stack, and harms nothing but itself."""

import gzip
import io
import os
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import replace

import pytest

from octo.adapters.builder_docker.slugs import Slugs
from octo.errors import BuildFailed, NotFound
from octo.images.layers import Store
from octo.ports import Builder, SlugSpec
from octo.specs import MB
from tests.contract.docker_parts import APP, ENGINE, STACK, WORKER, need_stack
from tests.fakes_docker import FakeBuilder, FakeRuntime

INSTANCE = f"octo-t{WORKER}-sl"
SPEC = SlugSpec(APP, f"{INSTANCE}/{APP}:1", "octo-1", "slugs/x.tgz")
UID = 59205


def slug(files: dict[str, bytes], *, mode: int = 0o644, kind: bytes = tarfile.REGTYPE) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode, member.uid, member.gid, member.type = len(content), mode, UID, UID, kind
            archive.addfile(member, io.BytesIO(content))
    return target.getvalue()


def pieces(data: bytes) -> Iterable[bytes]:
    return (data[at : at + 1000] for at in range(0, len(data), 1000))


@pytest.fixture(params=["fake", "layer", "commit"])
def builder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Builder]:
    if request.param == "fake":
        fake = FakeBuilder(FakeRuntime())
        fake.stacks = {"octo-1"}
        yield fake
        return
    need_stack()
    if request.param == "commit":
        monkeypatch.setattr(Store, "of", lambda *_: None)
    before = {
        i["Id"] for i in ENGINE.get("images", "json", query={"filters": {"label": [f"octo.instance={INSTANCE}"]}})
    }
    yield Slugs(ENGINE, INSTANCE, 8 * MB, lambda id: STACK if id == "octo-1" else "octo/none:1")  # type: ignore[misc]
    for image in ENGINE.get("images", "json", query={"filters": {"label": [f"octo.instance={INSTANCE}"]}}):
        ENGINE.delete("images", image["Id"], query={"force": True})
    assert not before
    assert not ENGINE.get("containers", "json", query={"all": True, "filters": {"ancestor": [SPEC.tag]}})


real_ones = pytest.mark.parametrize("builder", ["layer", "commit"], indirect=True)


def said(*words: str, command: str | None = None) -> str:
    """What a container of the image prints. command: in place of CMD, as the runtime gives it."""
    body = {"Image": SPEC.tag, "Cmd": ["/bin/sh", "-c", command] if command else list(words), "Tty": True}
    container = ENGINE.post("containers", "create", body=body)["Id"]
    try:
        ENGINE.post("containers", container, "start")
        ENGINE.post("containers", container, "wait", timeout=60)
        query = {"stdout": True, "stderr": True}
        return b"".join(ENGINE.stream("GET", "containers", container, "logs", query=query).chunks()).decode()
    finally:
        ENGINE.delete("containers", container, query={"force": True})


@pytest.mark.row("E9")
@pytest.mark.parametrize("zipped", [True, False])
def test_a_slug_becomes_an_image_of_that_name(builder: Builder, zipped: bool) -> None:
    data = slug({"app/Procfile": b"web: x\n"})
    image = builder.compose(SPEC, pieces(gzip.compress(data) if zipped else data))
    assert image.startswith("sha256:") and len(image) == 71


def test_a_stack_that_is_not_there_is_told(builder: Builder) -> None:
    with pytest.raises(NotFound, match='there is no stack "octo-9"'):
        builder.compose(SlugSpec(APP, SPEC.tag, "octo-9", "x"), [slug({})])


@real_ones
def test_it_runs_as_the_apps_user_in_the_apps_folder_with_its_profile(builder: Builder) -> None:
    files = {"app/.profile.d/a.sh": b"export WORD=of-a-profile\n", "app/.profile.d/b.sh": b"cd /app\n", "app/x": b"1"}
    builder.compose(SPEC, [gzip.compress(slug(files))])
    assert said(command="id -un; pwd; echo $HOME $WORD; ls; touch y && echo wrote").split() == [
        "app", "/app", "/app", "of-a-profile", "x", "wrote",
    ]  # fmt: skip
    assert said("printenv", "WORD").strip() == "of-a-profile"
    assert said(command="exit 3") == "" and "not found" in said("nosuch")


@real_ones
def test_a_slug_that_begins_with_the_folder_itself_is_taken_too(builder: Builder) -> None:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        home = tarfile.TarInfo("app")
        home.type, home.mode, home.uid, home.gid = tarfile.DIRTYPE, 0o700, UID, UID
        archive.addfile(home)
        archive.addfile(tarfile.TarInfo("app/x"))
    builder.compose(SPEC, pieces(target.getvalue()))
    assert said(command="stat -c %a:%U /app").strip() == "700:app"


@real_ones
def test_it_is_one_layer_on_the_stack_and_says_whose_it_is(builder: Builder) -> None:
    image = builder.compose(SPEC, [slug({"app/x": b"1"})])
    made, stack = ENGINE.get("images", image, "json"), ENGINE.get("images", STACK, "json")
    assert made["RootFS"]["Layers"][:-1] == stack["RootFS"]["Layers"]
    assert made["RepoTags"] == [SPEC.tag]
    assert made["Config"]["Labels"]["octo.app"] == APP


@real_ones
@pytest.mark.parametrize(
    "files", [{"etc/passwd": b""}, {"app/../etc/passwd": b""}, {"/etc/passwd": b""}, {"app2/x": b""}, {"../app/x": b""}]
)
def test_members_outside_the_apps_folder_are_refused(builder: Builder, files: dict[str, bytes]) -> None:
    with pytest.raises(BuildFailed, match="is not a file, folder or link under app/"):
        builder.compose(SPEC, [slug(files)])


@real_ones
@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_devices_and_pipes_are_refused(builder: Builder, kind: bytes) -> None:
    with pytest.raises(BuildFailed, match="is not a file, folder or link"):
        builder.compose(SPEC, [slug({"app/x": b""}, kind=kind)])


@real_ones
def test_a_slug_that_unpacks_to_too_much_is_refused_before_the_engine_sees_it(builder: Builder) -> None:
    bomb = gzip.compress(bytes(100 * MB))
    assert len(bomb) < MB
    with pytest.raises(BuildFailed, match="unpacks to more than 8 MB, the limit"):
        builder.compose(SPEC, [gzip.compress(slug({"app/x": bytes(20 * MB)}))])


@real_ones
@pytest.mark.parametrize("name", ["app/{}", "app/" + "{0}/" * 40 + "x"], ids=["files", "folders that nobody named"])
def test_a_slug_of_too_many_files_is_refused_before_the_engine_sees_it(builder: Builder, name: str) -> None:
    """Whoever builds can send any tar as his slug: a few kilobytes may ask for all files that a disk can have."""
    many = slug({name.format(number): b"" for number in range(100)})
    with pytest.raises(BuildFailed, match="holds more than 99 files and folders, the limit") as refused:
        builder.compose(replace(SPEC, files=99), [gzip.compress(many)])
    assert "octo limits:set APP files=500000" in refused.value.hint
    builder.compose(replace(SPEC, files=100 * 42), [many])


@real_ones
@pytest.mark.parametrize("cut", [5, 200])
def test_a_slug_that_is_not_whole_is_refused(builder: Builder, cut: int) -> None:
    with pytest.raises(BuildFailed, match=r"no whole gzip file|breaks off"):
        builder.compose(SPEC, [gzip.compress(slug({"app/x": bytes(range(256)) * 100}))[:-cut]])
    with pytest.raises(BuildFailed):
        builder.compose(SPEC, [b"\x1f\x8bnonsense"])


@real_ones
def test_links_in_a_slug_lead_nowhere_outside_the_image(builder: Builder) -> None:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        link = tarfile.TarInfo("app/up")
        link.type, link.linkname = tarfile.SYMTYPE, "../../../../../../../../tmp"
        archive.addfile(link)
        through = tarfile.TarInfo("app/up/octo-was-here")
        archive.addfile(through)
    try:
        builder.compose(SPEC, [target.getvalue()])
    except BuildFailed:
        return
    assert not os.path.exists("/tmp/octo-was-here")
