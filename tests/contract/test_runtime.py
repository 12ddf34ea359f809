"""The Runtime: what its fake and Docker both promise."""

from collections.abc import Iterator

import pytest

from octo.errors import DeployFailed, NotFound
from octo.ports import Runtime
from tests.contract.docker_parts import INSTANCE, STACK, SUBNET, A, B, real_runtime, spec
from tests.fakes_docker import FakeRuntime

WEB, WEB2, NOBODY = f"{INSTANCE}-web", f"{INSTANCE}-web2", f"{INSTANCE}-nobody"


@pytest.fixture(scope="module", params=["fake", "docker"])
def runtime(request: pytest.FixtureRequest) -> Iterator[Runtime]:
    if request.param == "fake":
        fake = FakeRuntime(str(SUBNET))
        fake.add(STACK)
        yield fake
        return
    with real_runtime() as docker:
        yield docker


@pytest.fixture
def addresses(runtime: Runtime) -> Iterator[list[str]]:
    found = runtime.addresses()
    yield [address for address, _ in zip(found, range(4), strict=False)]
    for container in runtime.list():
        runtime.stop(container.name, 0)


def test_a_container_is_what_was_asked_for_until_it_is_stopped(runtime: Runtime, addresses: list[str]) -> None:
    started = runtime.start(spec(WEB, addresses[0]))
    assert (started.name, started.app, started.release, started.process, started.index) == (WEB, "a" * 12, 3, "web", 2)
    assert (started.state, started.exit_code, started.oom, started.address) == ("running", 0, False, addresses[0])
    assert started.started_at > 0
    stack = runtime.image(STACK)
    assert stack
    assert started.image == stack.id
    assert runtime.inspect(WEB) == started
    assert list(runtime.list()) == [started]
    runtime.stop(WEB, 5)
    assert runtime.inspect(WEB) is None
    assert not runtime.list()


def test_names_that_begin_alike_are_never_taken_for_each_other(runtime: Runtime, addresses: list[str]) -> None:
    second = runtime.start(spec(WEB2, addresses[1], app="b" * 12))
    assert runtime.inspect(WEB) is None
    first = runtime.start(spec(WEB, addresses[0]))
    assert list(runtime.list()) == [first, second]
    assert list(runtime.list("b" * 12)) == [second]
    assert not runtime.list("b")
    runtime.stop(WEB, 0)
    assert runtime.inspect(WEB2) == second
    assert runtime.inspect(second.id[:12]) is None


def test_a_left_over_of_the_same_name_is_replaced(runtime: Runtime, addresses: list[str]) -> None:
    old = runtime.start(spec(WEB, addresses[0]))
    new = runtime.start(spec(WEB, addresses[0]))
    assert old.id != new.id
    assert list(runtime.list()) == [new]


def test_an_image_that_is_not_there_is_told_and_leaves_nothing(runtime: Runtime, addresses: list[str]) -> None:
    with pytest.raises(DeployFailed, match=f"No such image: {INSTANCE}/nosuch:1"):
        runtime.start(spec(WEB, addresses[0], image=f"{INSTANCE}/nosuch:1"))
    assert not runtime.list()
    assert runtime.image(f"{INSTANCE}/nosuch:1") is None


def test_an_address_in_use_is_refused_and_its_holder_is_named(runtime: Runtime, addresses: list[str]) -> None:
    runtime.start(spec(WEB, addresses[0]))
    with pytest.raises(DeployFailed, match=f'its address {addresses[0]} still belongs to "{WEB}"'):
        runtime.start(spec(WEB2, addresses[0]))
    assert [c.name for c in runtime.list()] == [WEB]


def test_stopping_what_is_not_there_is_no_error(runtime: Runtime) -> None:
    runtime.stop(NOBODY, 1)


def test_asking_about_a_container_that_is_not_there_says_so(runtime: Runtime) -> None:
    for ask in (
        lambda: runtime.keep(NOBODY),
        lambda: runtime.listening(NOBODY),
        lambda: runtime.logs(NOBODY, tail=1, follow=False),
    ):
        with pytest.raises(NotFound, match=NOBODY):
            ask()


def test_addresses_come_in_order_and_none_twice(runtime: Runtime) -> None:
    found = list(runtime.addresses())
    assert (found[0], found[1], found[-1]) == (A, B, str(SUBNET[-2]))
    assert len(set(found)) == len(found) == SUBNET.num_addresses - 64 - 1


def test_the_last_name_takes_the_image_with_it_unless_a_container_uses_it(
    runtime: Runtime, addresses: list[str]
) -> None:
    runtime.tag(STACK, f"{INSTANCE}/x:1")
    runtime.tag(f"{INSTANCE}/x:1", f"{INSTANCE}/x:2")
    runtime.start(spec(WEB, addresses[0], image=f"{INSTANCE}/x:1"))
    runtime.untag(f"{INSTANCE}/x:1")
    assert runtime.image(f"{INSTANCE}/x:1") is None
    assert runtime.image(f"{INSTANCE}/x:2") == runtime.image(STACK)
    runtime.untag(f"{INSTANCE}/x:2")
    runtime.untag(f"{INSTANCE}/x:2")
    assert runtime.image(STACK)


def test_a_container_without_an_address_of_its_own_gets_a_free_one(runtime: Runtime, addresses: list[str]) -> None:
    started = runtime.start(spec(WEB, None))
    assert started.address
    assert started.address not in set(runtime.addresses())
