"""An in-memory stand-in for the Stacks: a version is what its recipe says."""

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

from octo.errors import BuildFailed, Conflict, NotFound
from octo.ports import StackVersion


class FakeStacks:
    """Has the default stack's octo-1 from the start. used: ids that must stay. failure: why the next builds fail."""

    def __init__(self, default: str = "octo", used: Callable[[], Collection[str]] = tuple) -> None:
        self.default, self.used, self.failure = default, used, ""
        first = StackVersion(f"{default}-1", default, f"octo/stack:{default}-1", "/stacks/1/root", 1.0, 1000)
        self.versions = {first.id: first}
        self._made = 1.0

    def build(self, name: str, recipe: Mapping[str, str], output: Callable[[bytes], None]) -> StackVersion:
        output(b"-----> Bootstrapping\n")
        if self.failure:
            raise BuildFailed(f"cannot make the stack: {self.failure}")
        before = next((v for v in self.versions.values() if v.name == name and v.current), None)
        recipe = {**(before.recipe if before else {}), **recipe}
        id = f"{name}-{hashlib.sha256(repr(sorted(recipe.items())).encode()).hexdigest()[:12]}"
        self._made += 1
        made = StackVersion(id, name, f"octo/stack:{id}", f"/stacks/{id}/root", self._made, 1000, recipe)
        made = replace(self.versions.get(id, made), current=True)
        older = {v.id: replace(v, current=False) for v in self.versions.values() if v.name == name and v.id != id}
        self.versions = {**self.versions, **older, id: made}
        self.sweep()
        return made

    def list(self) -> Sequence[StackVersion]:
        return sorted(self.versions.values(), key=lambda v: (v.name, not v.current, -v.created_at))

    def current(self, name: str) -> StackVersion:
        found = next((v for v in self.versions.values() if v.name == name and v.current), None)
        if found is None:
            raise NotFound(f'cannot find the stack "{name}"')
        return found

    def remove(self, id: str) -> None:
        if id not in self.versions:
            raise NotFound(f'cannot remove the stack "{id}"')
        version = self.versions[id]
        if id in self.used() or (version.current and version.name == self.default):
            raise Conflict(f'cannot remove "{id}": a release or a build needs it')
        del self.versions[id]

    def sweep(self) -> Sequence[str]:
        gone = [v.id for v in self.versions.values() if not v.current and v.id not in self.used()]
        for id in gone:
            del self.versions[id]
        return gone
