"""From one store into another, while no octod runs: copied, compared, and only then left for good.

It may be cut off anywhere and begun again: until the last write the source is as it was, and octod keeps to it; with
that write the source says where everything has gone, and octod refuses it.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from octo.catalog.writes import CONFIG, DOCUMENTS
from octo.errors import Conflict, NotFound, Unavailable, Usage
from octo.ports import Store, Value, Write

MOVED = f"{DOCUMENTS}store/moved"  # in a store that was left: where to
COMING = f"{DOCUMENTS}store/coming"  # in a store that is being filled: where from
_MARKS = (MOVED, COMING)
_PORTION = 50  # keys of one write


@dataclass(frozen=True)
class Moved:
    keys: int
    bytes: int
    written: int  # keys; the others were there already, from an attempt before


def move(source: Store, target: Store, *, names: tuple[str, str], tell: Callable[[str], None]) -> Moved:
    """names: of source and target, as the setting `store` has them. Raises Conflict when the target is in use."""
    _check(source, target, names)
    target.put_many([Write(COMING, json.dumps(names[0]).encode()), Write(MOVED, None)])
    rows = _rows(source)
    there = {key: value.data for key, value in _rows(target)}
    tell(f"Copying {len(rows)} keys from {names[0]} to {names[1]}")
    wanted = {key: value.data for key, value in rows}
    writes = [Write(key, data) for key, data in wanted.items() if there.get(key) != data]
    writes += [Write(key, None) for key in there.keys() - wanted.keys()]
    for portion in _portions(writes):
        target.put_many(portion)
    tell("Comparing")
    _compare(source, target, names)
    source.put_many([Write(MOVED, json.dumps(names[1]).encode()), Write(COMING, None)])
    target.delete(COMING)
    return Moved(len(wanted), sum(map(len, wanted.values())), len(writes))


def refuse_if_left(store: Store, name: str) -> None:
    """octod's first question. Raises Usage for a store that has moved, or has not been filled to the end."""
    moved, coming = store.get(MOVED), store.get(COMING)
    if moved:
        to = json.loads(moved.data)
        raise Usage(
            f'cannot use the store "{name}": everything in it has moved to {to}',
            hint=f'Set store = "{to}", or bring it back: octo store:migrate {name}',
        )
    if coming:
        came = json.loads(coming.data)
        raise Usage(
            f'cannot use the store "{name}": the move from {came} has not ended',
            hint=f'Go on with it: octo store:migrate {name}. Or set store = "{came}".',
        )


def _check(source: Store, target: Store, names: tuple[str, str]) -> None:
    moved, coming = source.get(MOVED), target.get(COMING)
    if source.get(COMING):
        raise Usage(
            f"cannot move from {names[0]}: the move into it has not ended", hint=f"octo store:migrate {names[0]}"
        )
    if moved and not coming and json.loads(moved.data) == names[1]:
        raise Usage(f"cannot move: everything has moved to {names[1]} already", hint=f'Set store = "{names[1]}".')
    if not coming and not _rows(source):
        raise NotFound(f"cannot move: there is nothing in {names[0]}", hint="See that the settings name the right one.")
    if not coming and not target.get(MOVED) and _rows(target):
        raise Conflict(
            f"cannot move to {names[1]}: there are an octo's data in it already",
            hint="Choose another place for it, as consul_prefix and consul_documents.",
        )


def _rows(store: Store) -> Sequence[tuple[str, Value]]:
    return [row for prefix in (DOCUMENTS, CONFIG) for row in store.list(prefix) if row[0] not in _MARKS]


def _portions(writes: Sequence[Write]) -> Iterator[Sequence[Write]]:
    left = iter(writes)
    while portion := tuple(islice(left, _PORTION)):
        yield portion


def _compare(source: Store, target: Store, names: tuple[str, str]) -> None:
    """Both are read anew: what is not the same now was changed by somebody while it was copied, or lost."""
    old, new = ({key: value.data for key, value in _rows(store)} for store in (source, target))
    different = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
    if different:
        some = ", ".join(different[:3])
        raise Unavailable(
            f"cannot end the move to {names[1]}: {len(different)} keys are not the same, as {some}",
            hint="See that nothing writes into either, then run it again. Nothing was lost.",
        )
