"""What the build engine keeps of an app goes when it is to be forgotten, whatever comes in between."""

from collections.abc import Iterator

import pytest

from octo.buildengine.engine import BuildEngine
from tests.contract import engine_parts
from tests.contract.docker_parts import APP, ENGINE
from tests.contract.engine_parts import INSTANCE, Bench, clear, docker_builder, images
from tests.fakes_docker import FakeBuilder, FakeRuntime

OTHER, NEVER = "b" * 12, "c" * 12
RANDOM = "RUN head -c 16 /dev/urandom > /random\n"
# This BuildKit, which "auto" does not take, gives one app's step to another.
THEIRS = "RUN head -c 17 /dev/urandom > /random\n"
MOUNT = "RUN --mount=type=cache,target=/m echo i''s: $(ls /m); touch /m/seen; echo {} > /x\n"
TINY: engine_parts.Files = {"Dockerfile": b"FROM scratch\nLABEL x=y\nCOPY text /\n", "text": b"1"}


@pytest.fixture(params=["classic", "buildkit"])
def bench(request: pytest.FixtureRequest, engine: BuildEngine) -> Iterator[Bench]:
    with engine_parts.bench(engine, request.param) as made:
        yield made


def layers(image: str) -> list[str]:
    return list(ENGINE.get("images", image, "json")["RootFS"]["Layers"])


def cached(bench: Bench) -> set[str]:
    return {name for name in images(bench.engine) if name.startswith(f"{INSTANCE}-cache/")}


def test_a_forgotten_app_is_built_anew_and_every_other_app_keeps_its_layers(bench: Bench) -> None:
    one, two = layers(bench.build(RANDOM)), layers(bench.build(THEIRS, app=OTHER))
    both = cached(bench)
    bench.builder.forget(APP)
    left = cached(bench)
    assert left < both and len({name.partition(":")[0] for name in left}) == 1
    assert layers(bench.build(THEIRS, app=OTHER)) == two
    assert layers(bench.build(RANDOM)) != one


def test_nothing_of_a_forgotten_app_is_left_on_the_disk(bench: Bench) -> None:
    bench.builder.forget(APP)  # of the tests before
    bench.build(THEIRS, app=OTHER)
    before = everything(bench)
    bench.build(RANDOM + "RUN echo more > /more\n")
    with pytest.raises(Exception, match="exit code"):
        bench.build(RANDOM + "RUN exit 1\n")
    bench.builder.forget(APP)
    assert everything(bench) == before
    bench.builder.forget(APP)


def everything(bench: Bench) -> set[str]:
    """Ids of all images and of BuildKit's records."""
    images = bench.engine.get("images", "json", query={"all": True})
    return {i["Id"] for i in images} | {r["ID"] for r in bench.engine.get("system", "df")["BuildCache"] or ()}


@pytest.mark.parametrize("bench", ["buildkit"], indirect=True)
def test_a_forgotten_app_finds_its_cache_mounts_empty_and_another_app_its_own(bench: Bench) -> None:
    for app in (APP, OTHER):
        bench.build(MOUNT.format(1), app=app)
    bench.builder.forget(APP)
    bench.build(MOUNT.format(2), app=OTHER)
    assert b"is: seen" in bench.output
    bench.build(MOUNT.format(2))
    assert b"is:" in bench.output and b"is: seen" not in bench.output


def built(engine: BuildEngine) -> Bench:
    """With something in the build engine, which is stopped."""
    made = Bench(docker_builder(engine), engine)
    made.build(TINY)
    with engine.use():
        assert cached(made)
    engine.close()
    assert not engine.adopt()
    return made


def emptied(bench: Bench, engine: BuildEngine) -> bool:
    with engine.use():
        left = cached(bench)
    clear(n for n in images() if n.startswith(f"{INSTANCE}/"))
    return not left and not list((engine.folder / "apps").glob(f"{INSTANCE}.{APP}*"))


def test_a_stopped_engine_is_started_to_forget_an_app_and_for_no_app_that_it_never_built(engine: BuildEngine) -> None:
    bench = built(engine)
    bench.builder.forget(NEVER)
    assert not engine._warming and not engine.adopt()
    bench.builder.forget(APP)
    engine.close()  # waits for what goes on behind the caller's back
    assert emptied(bench, engine)


@pytest.mark.parametrize("then", ["start", "build"])
def test_what_a_killed_octod_was_to_forget_is_forgotten_by_the_next_one(
    engine: BuildEngine, monkeypatch: pytest.MonkeyPatch, then: str
) -> None:
    bench = built(engine)
    with monkeypatch.context() as patch:
        patch.setattr(engine, "prewarm", lambda _: None)  # as far as it came
        bench.builder.forget(APP)
    after = Bench(docker_builder(engine), engine)
    if then == "start":
        after.builder.sweep()
    else:
        after.build(TINY, app=OTHER)
        after.builder.forget(OTHER)
    engine.close()
    assert emptied(bench, engine)


def test_the_fake_forgets_too() -> None:
    fake = FakeBuilder(FakeRuntime())
    fake.forget(APP)
    assert fake.forgotten == [APP]
