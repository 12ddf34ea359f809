"""Stacks: one tree each, used by LXC as it is (stack/folder.py) and by Docker as an image (stack/image.py).

In the engine they are octo/stack:<id>, octo/stack:<name> for the current one, octo/stack:latest for that of the default
stack. An image bears its Record as a label, so that either half can be made of the other, in seconds.
"""

import base64
import contextlib
import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from octo import codec
from octo.engine import Engine
from octo.errors import Conflict, NotFound
from octo.ports import StackVersion
from octo.stack.folder import LATEST, Folder, Record, mounted, stack_name
from octo.stack.image import StackImages, named
from octo.stack.root import Plan
from octo.stack.tree import tidy
from octo.stack.work import LEAD, Output

LABEL, RECORD = "octo.stack", "octo.stack.record"


class Maker(Protocol):
    """What stackroot.Debootstrap is."""

    def plan(self, given: Mapping[str, str]) -> Plan: ...
    def make(self, plan: Plan, root: Path, output: Output) -> tuple[str, int]: ...


class DebootstrapStacks:
    """Builds tell their steps with "-----> " before them, beside the programs' own lines.

    used: whether a release, or a build under way, needs that id. latest: the tag of the default stack's image.
    """

    def __init__(
        self,
        engine: Engine,
        folder: Path,
        *,
        default: str,
        maker: Maker,
        used: Callable[[str], bool],
        latest: str = LATEST,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._folder, self._images, self._maker = Folder(folder), StackImages(engine), maker
        self._default, self._latest = stack_name(default), latest
        self._used, self._now = used, now

    def list(self) -> Sequence[StackVersion]:
        found = [self._version(r) for r in self._folder.every()]
        return sorted(found, key=lambda v: (v.name, not v.current, -v.created_at))

    def current(self, name: str) -> StackVersion:
        record = self._folder.current(name)
        if record is None:
            raise NotFound(f'cannot find the stack "{name[:60]}"', hint=f"Make it: octo stack:build {name[:60]}")
        return self._version(record)

    def find(self, id: str) -> StackVersion:
        """The version of that id; "" is the default stack's current one. Raises NotFound."""
        if not id:
            return self.current(self._default)
        record = self._folder.find(id)
        if record is None:
            raise NotFound(f'cannot find the stack "{id[:60]}"', hint="See: octo stack:list")
        return self._version(record)

    # --- making ---

    def build(self, name: str, recipe: Mapping[str, str], output: Output) -> StackVersion:
        with self._folder.alone(lambda: _tell(output, "Waiting for another stack to be made")):
            return self._build(stack_name(name), {**self._given(name), **recipe}, output)

    def ensure(self, name: str, output: Output) -> StackVersion:
        """Build the stack only where there is none of its recipe; make the half that is missing of the other."""
        with self._folder.alone(lambda: _tell(output, "Waiting for another stack to be made")):
            given = self._given(stack_name(name))
            key = self._maker.plan(given).key
            known = [*self._folder.every(), *self._in_engine(name)]
            record = next((r for r in known if (r.name, r.key) == (name, key)), None)
            if record is None:
                return self._build(name, given, output)
            if self._folder.find(record.id) is None:
                self._unpack(record, output)
            return self._settle(record, output)

    def _build(self, name: str, given: Mapping[str, str], output: Output) -> StackVersion:
        plan = self._maker.plan(given)
        with self._folder.new() as work:
            content, size = self._maker.make(plan, work / "root", output)
            id = f"{name}-{hashlib.sha256(content.encode()).hexdigest()[:12]}"
            record = Record(id, name, plan.key, self._now(), size, plan.recipe, given)
            there = self._folder.find(id)
            if there is None:
                self._folder.move_in(record, work)
            else:
                _tell(output, f"Nothing has changed: {id} stays")
                record = replace(record, created_at=there.created_at, size=there.size)
                self._folder.note(record)
        return self._settle(record, output)

    def _unpack(self, record: Record, output: Output) -> None:
        _tell(output, f"Unpacking the image {named(record.id)}")
        with self._folder.new() as work:
            self._images.take(record.id, work / "root")
            self._folder.move_in(replace(record, size=tidy(work / "root")), work)

    def _settle(self, record: Record, output: Output) -> StackVersion:
        """Make the version the current one, in the folder and in the engine. Twice is the same as once."""
        if self._images.labels(record.id) is None:
            _tell(output, f"Importing it into the engine ({record.size // 1_000_000} MB)")
            text = base64.urlsafe_b64encode(codec.dumps(record)).decode().rstrip("=")
            self._images.put(self._folder.tree(record.id), record.id, {LABEL: record.id, RECORD: text})
        for tag in (record.name, self._latest)[: 1 + (record.name == self._default)]:
            self._images.tag(record.id, tag)
        self._folder.point(record)
        self._sweep()
        return self._version(record)

    # --- removing ---

    def remove(self, id: str) -> None:
        with self._folder.alone(lambda: None):
            record = self._folder.find(id)
            if record is None:
                raise NotFound(
                    f'cannot remove the stack "{id[:60]}": there is no such version', hint="See: octo stack:list"
                )
            if record.name == self._default and self._folder.is_current(record):
                raise Conflict(f'cannot remove "{id}": it is the default stack', hint="Build a newer one first.")
            if self._used(id) or mounted(id):
                raise Conflict(f'cannot remove "{id}": a release or a build needs it', hint="See: octo releases")
            self._drop(record)

    def sweep(self) -> Sequence[str]:
        """Remove what killed octos left, and versions neither current nor used; returns what was removed.

        Does nothing while somebody makes one: who does sweeps at the end.
        """
        with contextlib.suppress(BlockingIOError), self._folder.alone(None):
            return self._sweep()
        return ()

    def _sweep(self) -> Sequence[str]:
        gone = list(self._folder.clear())
        for record in self._folder.every():
            if not self._folder.is_current(record) and not self._used(record.id) and not mounted(record.id):
                with contextlib.suppress(Conflict):  # a container of somebody else runs on it
                    self._drop(record)
                    gone.append(record.id)
        return gone

    def _drop(self, record: Record) -> None:
        """Raises Conflict, with all as it was, when a container runs on its image."""
        if self._folder.is_current(record):
            self._images.drop(record.name)
        try:
            self._images.drop(record.id)
        except Conflict:
            if self._folder.is_current(record):
                self._images.tag(record.id, record.name)
            raise
        if self._folder.is_current(record):
            self._folder.unpoint(record.name)
        self._folder.throw_away(record.id)

    # --- what is known ---

    def _version(self, record: Record) -> StackVersion:
        return StackVersion(
            id=record.id,
            name=record.name,
            image=named(record.id),
            tree=str(self._folder.tree(record.id)),
            created_at=record.created_at,
            size=record.size,
            recipe=record.recipe,
            current=self._folder.is_current(record),
        )

    def _given(self, name: str) -> Mapping[str, str]:
        """What the stack has of its own so far."""
        here = self._folder.current(name)
        return next((r.given for r in ([here] if here else self._in_engine(name))), {})

    def _in_engine(self, name: str) -> Sequence[Record]:
        """The Record of the image of that name, as when the folder is new."""
        text = (self._images.labels(name) or {}).get(RECORD, "")
        try:
            record = codec.loads(Record, base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        except (ValueError, TypeError):
            return []
        # The name may have been given to an image of somebody else's, which has inherited the label.
        own = record.name == name and (self._images.labels(record.id) or {}).get(LABEL) == record.id
        return [record] if own else []


def _tell(output: Output, step: str) -> None:
    output(LEAD + step.encode() + b"\n")
