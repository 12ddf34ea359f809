"""Shared by the tests of stacks: the one stack that a whole test run has, and tiny ones that are made in no time."""

import json
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from octo.adapters.stack_debootstrap import DebootstrapStacks
from octo.errors import BuildFailed
from octo.stack.aptsources import Archive
from octo.stack.folder import Folder
from octo.stack.image import REPOSITORY
from octo.stack.root import Debootstrap, Plan
from octo.stack.work import Output
from tests.build_engine import STACKS
from tests.contract.docker_parts import ENGINE


def shared() -> DebootstrapStacks:
    """The stacks that ./setup has made; nothing is ever removed or made there by a test."""
    assert Folder(STACKS).current("octo"), f"there is no stack in {STACKS}: run ./setup stack"
    return DebootstrapStacks(ENGINE, STACKS, default="octo", maker=Tiny(), used=lambda id: True)


@dataclass
class Tiny:
    """Makes a tree of a few files in place of a distribution. failure: why the next ones fail."""

    failure: str = ""
    made: int = 0
    during: list[Callable[[Path], object]] = field(default_factory=list)  # done while one is made

    def plan(self, given: Mapping[str, str]) -> Plan:
        recipe = {"suite": "tiny", "mirror": "http://nowhere/", "packages": "", **given}
        return Plan(recipe, Archive("tiny", "http://nowhere/", ()), (), json.dumps(recipe, sort_keys=True))

    def make(self, plan: Plan, root: Path, output: Output) -> tuple[str, int]:
        output(b"-----> Bootstrapping\n")
        (root / "etc").mkdir()
        (root / "etc" / "content").write_text(plan.key)
        for act in self.during:
            act(root)
        if self.failure:
            raise BuildFailed(f"cannot make the stack: {self.failure}")
        self.made += 1
        return plan.key, 1000


@dataclass
class Place:
    """Stacks in a folder of their own. `name` is nobody else's; the default stack of the engine is left alone."""

    stacks: DebootstrapStacks
    folder: Path
    maker: Tiny
    name: str
    used: set[str]


@contextmanager
def tiny_stacks(folder: Path, *, maker: "Tiny | Debootstrap | None" = None) -> Iterator[Place]:
    maker, used, name = maker or Tiny(), set[str](), f"t{secrets.token_hex(4)}"
    stacks = DebootstrapStacks(
        ENGINE, folder, default=f"{name}-default", maker=maker, used=used.__contains__, latest=f"{name}-latest"
    )
    try:
        yield Place(stacks, folder, maker, name, used)
    finally:
        for tag in tags(name):
            ENGINE.delete("images", f"{REPOSITORY}:{tag}", query={"force": True})


def tags(name: str) -> set[str]:
    """Of the images of that stack."""
    found = ENGINE.get("images", "json", query={"filters": {"reference": [REPOSITORY]}})
    every = {ref.partition(":")[2] for image in found for ref in image["RepoTags"] or ()}
    return {tag for tag in every if tag == name or tag.startswith(f"{name}-")}
