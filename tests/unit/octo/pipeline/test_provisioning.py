"""A receiver that cannot be had."""

from types import SimpleNamespace

import pytest

from octo.catalog import Catalog
from octo.errors import Unavailable
from octo.model import AppName
from octo.pipeline.attend import Session
from octo.pipeline.disk import DiskGuard
from octo.pipeline.receive import Receiver, new_push
from octo.ports import Limits, SandboxSpec, Streams
from octo.specs import GB
from tests.fakes import FakeConsole, FakeDisks
from tests.unit.octo.pipeline.parts import ports


@pytest.mark.row("C7")
def test_the_pusher_is_told_that_there_is_no_build_server() -> None:
    stood, closed = ports(), []

    def act(spec: SandboxSpec, streams: Streams) -> int:
        raise Unavailable("cannot start a receiver: it did not come up", hint="See: octo doctor")

    stood.sandbox.act = act
    catalog = Catalog(stood.ports.store)
    app = catalog.create(AppName("shop"), now=1.0, owner=None)
    limits, guard = Limits(GB, 1.0, 64, 60), DiskGuard(FakeDisks(), 0)
    builds = SimpleNamespace(warm=lambda app: None)
    receiver = Receiver(
        stood.ports,
        catalog,
        None,
        builds,  # type: ignore[arg-type]
        None,
        limits,
        ("main",),
        0,
        str,
        1000,
        GB,
        guard,  # type: ignore[arg-type]
        None,
    )
    push = new_push(app, None)
    with pytest.raises(Unavailable, match="Problem provisioning build server: cannot start a receiver") as caught:
        receiver.push(push, Streams(0, 1, 2), FakeConsole(), lambda _: Session({}, "", lambda: closed.append(1)))
    assert caught.value.hint == "See: octo doctor" and closed and not receiver.pushes
