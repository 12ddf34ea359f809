"""Steps, their undoing, and what a crash leaves."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest

from octo.errors import Conflict, Unavailable
from octo.journal import Journal, Procedure, Step
from octo.ports import Value, Write
from tests.fakes import FakeStore


@dataclass(frozen=True)
class Subject:
    done: tuple[str, ...] = ()
    reason: str = ""


class World:
    def __init__(self, fail: str = "") -> None:
        self.undone: list[str] = []
        self.reasons: list[str] = []
        self.fail = fail

    def procedure(self) -> Procedure[Subject]:
        names = ("one", "two", "commit", "after")
        steps = tuple(
            Step(
                n,
                self._do(n),
                self._undo(n),
                (lambda s: [Write("truth", b"1")]) if n == "commit" else None,
                n == "commit",
            )
            for n in names
        )
        return Procedure("test", Subject, steps, lambda s: "a test")

    def _do(self, name: str):  # type: ignore[no-untyped-def]
        def do(subject: Subject) -> Subject:
            if name == self.fail:
                raise ZeroDivisionError(f"{name} fails")
            return replace(subject, done=(*subject.done, name))

        return do

    def _undo(self, name: str):  # type: ignore[no-untyped-def]
        def undo(subject: Subject) -> None:
            self.undone.append(name)
            self.reasons.append(subject.reason)

        return undo


def test_all_steps_are_done_in_order_and_nothing_is_left() -> None:
    store, procedure = FakeStore(), World().procedure()
    journal = Journal(store)
    entry = journal.begin(procedure, Subject())
    assert store.get("truth")
    assert journal.finish(procedure, entry).done == ("one", "two", "commit", "after")
    assert not journal.all()


def test_a_step_that_fails_is_undone_with_those_before_it_and_told_why() -> None:
    store, world = FakeStore(), World(fail="two")
    with pytest.raises(ZeroDivisionError):
        Journal(store).begin(world.procedure(), Subject())
    assert world.undone == ["two", "one"] and set(world.reasons) == {"two fails"}
    assert not store.get("truth") and not Journal(store).all()


class MuteStore(FakeStore):
    """Does the commit, or does it not, and answers nothing; later it answers again."""

    def __init__(self, *, does: bool, later: bool) -> None:
        super().__init__()
        self.does, self.later, self.mute = does, later, False

    def put_many(self, writes: Sequence[Write]) -> None:
        if any(write.key == "truth" for write in writes):
            if self.does:
                super().put_many(writes)
            self.mute = not self.later
            raise Unavailable("cannot reach the store")
        if self.mute:
            raise Unavailable("cannot reach the store")
        super().put_many(writes)

    def get(self, key: str) -> Value | None:
        if self.mute:
            raise Unavailable("cannot reach the store")
        return super().get(key)


def test_a_commit_whose_answer_was_lost_is_not_undone() -> None:
    store, world = MuteStore(does=True, later=True), World()
    journal, procedure = Journal(store), world.procedure()
    entry = journal.begin(procedure, Subject())
    assert journal.finish(procedure, entry).done == ("one", "two", "commit", "after")
    assert world.undone == [] and store.get("truth") and not journal.all()


def test_a_commit_that_did_not_happen_is_undone() -> None:
    store, world = MuteStore(does=False, later=True), World()
    with pytest.raises(Unavailable):
        Journal(store).begin(world.procedure(), Subject())
    assert world.undone == ["commit", "two", "one"] and not store.get("truth") and not Journal(store).all()


@pytest.mark.parametrize("does", [True, False])
def test_a_commit_of_which_nobody_knows_is_left_to_recover(does: bool) -> None:
    store, world = MuteStore(does=does, later=False), World()
    journal, procedure = Journal(store), world.procedure()
    with pytest.raises(Unavailable):
        journal.begin(procedure, Subject())
    assert world.undone == []
    store.mute = False
    (entry,) = journal.open()
    journal.recover(procedure, entry)
    assert world.undone == ([] if does else ["commit", "two", "one"]) and not journal.all()


def test_after_the_commit_nothing_is_undone() -> None:
    store, world = FakeStore(), World(fail="after")
    journal, procedure = Journal(store), world.procedure()
    entry = journal.begin(procedure, Subject())
    with pytest.raises(ZeroDivisionError):
        journal.finish(procedure, entry)
    world.fail = ""
    (left,) = journal.open()
    journal.recover(procedure, left)
    assert not world.undone and not journal.all()


def test_what_a_thread_is_at_is_not_recovered_by_another() -> None:
    store = FakeStore()
    journal, world = Journal(store), World()
    seen: list[int] = []
    journal.begin(world.procedure(), Subject(), before=lambda _: seen.append(len(journal.open())))
    assert set(seen) == {0} and len(journal.all()) == 1


def test_a_step_whose_choice_was_taken_meanwhile_chooses_again() -> None:
    store = FakeStore()
    tries: list[int] = []

    def choose(subject: Subject) -> Subject:
        tries.append(1)
        if len(tries) == 1:
            store.put("place-1", b"")
        return replace(subject, done=(f"place-{len(tries)}",))

    steps = (
        Step("choose", choose, None, lambda s: [Write(s.done[0], b"", 0)]),
        Step("commit", lambda s: s, None, lambda s: [], commits=True),
    )
    Journal(store).begin(Procedure("test", Subject, steps, lambda s: ""), Subject())
    assert len(tries) == 2 and store.get("place-2")


def test_a_choice_that_is_always_taken_fails_in_the_end() -> None:
    store = FakeStore()
    store.put("place", b"")
    steps = (Step("choose", lambda s: s, None, lambda s: [Write("place", b"", 0)], commits=True),)
    with pytest.raises(Conflict):
        Journal(store).begin(Procedure("test", Subject, steps, lambda s: ""), Subject())


def test_the_deploys_commit_is_where_its_table_says() -> None:
    from octo.pipeline import deploy
    from tests.crash.world import World as Whole

    assert Whole().deployer.procedure().commit == deploy.COMMIT
