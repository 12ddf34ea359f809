"""The ports as stand-ins, for tests of single parts of the pipeline."""

from dataclasses import dataclass

from octo.ports import Ports
from tests.fakes import FakeBlobs, FakeClock, FakeRegistry, FakeSandbox, FakeStore
from tests.fakes_docker import FakeBuilder, FakeImages, FakeProbe, FakeRuntime
from tests.fakes_router import FakeRouter
from tests.fakes_stacks import FakeStacks


@dataclass
class Stood:
    ports: Ports
    sandbox: FakeSandbox
    runtime: FakeRuntime
    builder: FakeBuilder
    blobs: FakeBlobs
    stacks: FakeStacks


def ports() -> Stood:
    runtime = FakeRuntime("10.213.0.0/22")
    sandbox, builder, blobs, stacks = FakeSandbox(), FakeBuilder(runtime), FakeBlobs(), FakeStacks()
    made = Ports(
        store=FakeStore(),
        registry=FakeRegistry(),
        blobs=blobs,
        sandbox=sandbox,
        builder=builder,
        stacks=stacks,
        runtime=runtime,
        images=FakeImages(runtime),
        probe=FakeProbe(runtime),
        router=FakeRouter(),
        clock=FakeClock(),
    )
    return Stood(made, sandbox, runtime, builder, blobs, stacks)
