"""The queue in front of the builds."""

import threading
from collections.abc import Iterator

import pytest

from octo.errors import Cancelled, Unavailable
from octo.pipeline.admission import Admission


class Build:
    """A build in a thread, that lasts until it is let go."""

    def __init__(self, admission: Admission, order: list[str], name: str) -> None:
        self.told: list[str] = []
        self.heard = threading.Semaphore(0)
        self.inside, self.go = threading.Event(), threading.Event()
        self.gone = False
        self.error: Exception | None = None
        self._thread = threading.Thread(target=self._run, args=[admission, order, name])
        self._thread.start()

    def _run(self, admission: Admission, order: list[str], name: str) -> None:
        try:
            with admission.place(self._tell, lambda: self.gone):
                order.append(name)
                self.inside.set()
                self.go.wait()
        except (Cancelled, Unavailable) as error:
            self.error = error

    def _tell(self, text: str) -> None:
        self.told.append(text)
        self.heard.release()

    def end(self) -> None:
        self.go.set()
        self._thread.join()


class Yard:
    def __init__(self) -> None:
        self.order: list[str] = []
        self.builds: list[Build] = []

    def start(self, admission: Admission, name: str) -> Build:
        made = Build(admission, self.order, name)
        self.builds.append(made)
        return made


@pytest.fixture
def yard() -> Iterator[Yard]:
    made = Yard()
    yield made
    for build in made.builds:
        build.end()


@pytest.mark.row("C13")
def test_builds_beyond_the_places_wait_in_order_and_know_their_place(yard: Yard) -> None:
    admission = Admission(1, 10)
    first = yard.start(admission, "first")
    assert first.inside.wait(10)
    second = yard.start(admission, "second")
    assert second.heard.acquire(timeout=10)
    third = yard.start(admission, "third")
    assert third.heard.acquire(timeout=10)
    assert second.told[-1].endswith("number 1 in the queue") and third.told[-1].endswith("number 2 in the queue")
    assert admission.standing() == (1, 2)
    first.end()
    assert second.inside.wait(10) and not third.inside.is_set()
    assert third.heard.acquire(timeout=10) and third.told[-1].endswith("number 1 in the queue")
    second.end()
    assert third.inside.wait(10)
    third.end()
    assert yard.order == ["first", "second", "third"] and admission.standing() == (0, 0)
    assert not first.told


@pytest.mark.row("C13")
def test_a_full_queue_refuses(yard: Yard) -> None:
    admission = Admission(1, 1)
    assert yard.start(admission, "first").inside.wait(10)
    assert yard.start(admission, "second").heard.acquire(timeout=10)
    third = yard.start(admission, "third")
    third.end()
    assert isinstance(third.error, Unavailable) and "1 builds are going on and 1 wait" in third.error.message


def test_who_hangs_up_while_waiting_leaves_the_queue(yard: Yard) -> None:
    admission = Admission(1, 10)
    first = yard.start(admission, "first")
    assert first.inside.wait(10)
    second = yard.start(admission, "second")
    assert second.heard.acquire(timeout=10)
    third = yard.start(admission, "third")
    assert third.heard.acquire(timeout=10)
    second.gone = True
    second.end()
    assert isinstance(second.error, Cancelled)
    first.end()
    assert third.inside.wait(10) and yard.order == ["first", "third"]


def test_a_build_that_fails_frees_its_place() -> None:
    admission = Admission(1, 10)
    with pytest.raises(RuntimeError), admission.place(print, lambda: False):
        raise RuntimeError
    with admission.place(print, lambda: False):
        assert admission.standing() == (1, 0)


def test_without_a_queue_a_build_goes_on_or_is_refused() -> None:
    admission = Admission(1, 0)
    with admission.place(print, lambda: False):
        with pytest.raises(Unavailable, match="1 builds are going on and 0 wait"), admission.place(print, bool):
            pass
        assert admission.standing() == (1, 0)
