"""docs/compatibility.md against the marks: what it calls done is shown by a test, and every mark has its row."""

import ast
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent
PAGE = CHECKOUT / "docs" / "compatibility.md"
LAST = {"A": 18, "B": 16, "C": 14, "D": 6, "E": 13, "F": 5, "G": 11, "H": 8, "I": 13, "J": 12, "K": 2, "L": 42, "M": 16}
LAST |= {"R": 23, "T": 15}  # each letter's rows are 1 to this
STATES = ("done", "differs", "partly", "not yet")
WHY = ("differs", "partly")  # have to say more

Marks = Mapping[str, Sequence[str]]  # row -> "file::test" that bears its mark


@dataclass(frozen=True)
class Row:
    id: str
    behaviour: str
    state: str
    why: str
    tests: tuple[str, ...]


def read(page: str) -> Iterator[Row]:
    """The rows of the page's tables. Raises ValueError for a line that is none."""
    for line in page.splitlines():
        if line.startswith("|") and not re.match(r"\| Row \||\|-", line):
            id, behaviour, state, shown_by = (cell.strip() for cell in line.strip().strip("|").split("|"))
            word, _, why = state.partition(": ")
            yield Row(id, behaviour, word, why, tuple(re.findall(r"`([^`]+)`", shown_by)))


def marks_in(tree: ast.AST, file: str) -> Iterator[tuple[str, str]]:
    """Row and test of each mark; one within pytest.param is the test's whose decorator it stands in."""
    for test in ast.walk(tree):
        if isinstance(test, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            for call in (node for decorator in test.decorator_list for node in ast.walk(decorator)):
                if isinstance(call, ast.Call) and ast.unparse(call.func) == "pytest.mark.row":
                    yield from ((ast.literal_eval(row), f"{file}::{test.name}") for row in call.args)


def every_mark() -> Marks:
    found: dict[str, list[str]] = {}
    for file in sorted((CHECKOUT / "tests").rglob("*.py")):
        for row, test in marks_in(ast.parse(file.read_text()), str(file.relative_to(CHECKOUT))):
            found.setdefault(row, []).append(test)
    return found


def is_a_test(name: str) -> bool:
    file, _, test = name.partition("::")
    path = CHECKOUT / file
    return path.is_file() and re.search(rf"^def {re.escape(test)}\(", path.read_text(), re.MULTILINE) is not None


def untrue(rows: Iterable[Row], marks: Marks, known: Callable[[str], bool]) -> list[str]:
    """What the page says and the tests do not bear out, and the other way round."""
    rows = list(rows)
    found = [f"{row.id}: {problem}" for row in rows for problem in _problems(row, marks.get(row.id, ()), known)]
    unknown = sorted(marks.keys() - {row.id for row in rows})
    return found + [f"{id}: marked at {marks[id][0]}, and no row" for id in unknown]


def _problems(row: Row, marked: Sequence[str], known: Callable[[str], bool]) -> Iterator[str]:
    yield from (f"names {test}, which is no test" for test in row.tests if not known(test))
    if row.state not in STATES:
        yield f'"{row.state}" is no state'
    elif row.state == "not yet":
        yield from (f"not yet, but marked at {test}" for test in marked)
    elif not marked:
        yield f"{row.state}, and no test bears its mark"
    elif not set(row.tests) & set(marked):
        yield f"names none of the tests that bear its mark: {', '.join(marked)}"
    if bool(row.why) < (row.state in WHY) or (row.state == "done" and row.why):
        yield f"{row.state} says {'too much' if row.why else 'not what'}"


@pytest.fixture(scope="module")
def rows() -> Sequence[Row]:
    return list(read(PAGE.read_text()))


def test_every_row_is_there_once_and_in_order(rows: Sequence[Row]) -> None:
    assert [row.id for row in rows] == [f"{letter}{n}" for letter, last in LAST.items() for n in range(1, last + 1)]
    assert len(rows) == 214
    assert all(re.fullmatch(r"[A-MRT][0-9]+", row.id) and row.behaviour for row in rows)


def test_what_the_page_says_is_what_the_tests_show(rows: Sequence[Row]) -> None:
    assert untrue(rows, every_mark(), is_a_test) == []


def test_the_page_counts_right(rows: Sequence[Row]) -> None:
    counts = ", ".join(f"{sum(row.state == state for row in rows)} {state}" for state in STATES)
    assert f"Today, of {len(rows)} rows: {counts}." in PAGE.read_text()


# --- the check itself: a page and marks of our own ---------------------------------------------------------------

SHOWN = {"A1": ["t.py::test_a"], "A2": ["t.py::test_b", "t.py::test_c"]}
TRUE = "| A1 | x | done | `t.py::test_a` |\n| A2 | x | partly: half | `t.py::test_c` |\n| A3 | x | not yet | |\n"


def check(page: str, marks: Marks) -> list[str]:
    head = "| Row | Behaviour | State | Shown by |\n|---|---|---|---|\n"
    return untrue(read(head + page), marks, lambda test: "no_test" not in test)


def test_a_true_page_passes() -> None:
    assert check(TRUE, SHOWN) == []


@pytest.mark.parametrize(
    ("page", "marks", "said"),
    [
        (TRUE, {"A2": SHOWN["A2"]}, "A1: done, and no test bears its mark"),
        (TRUE, {"A1": SHOWN["A1"]}, "A2: partly, and no test bears its mark"),
        (TRUE, {**SHOWN, "A1": ["t.py::test_z"]}, "A1: names none of the tests that bear its mark: t.py::test_z"),
        (TRUE, {**SHOWN, "A3": ["t.py::test_d"]}, "A3: not yet, but marked at t.py::test_d"),
        (TRUE, {**SHOWN, "Z9": ["t.py::test_d"]}, "Z9: marked at t.py::test_d, and no row"),
        (TRUE.replace("test_a`", "test_a`<br>`t.py::no_test`"), SHOWN, "A1: names t.py::no_test, which is no test"),
        (TRUE.replace("done", "nearly"), SHOWN, 'A1: "nearly" is no state'),
        (TRUE.replace("partly: half", "partly"), SHOWN, "A2: partly says not what"),
        (TRUE.replace("done", "done: all but one"), SHOWN, "A1: done says too much"),
    ],
)
def test_an_untrue_page_is_told(page: str, marks: Marks, said: str) -> None:
    assert said in check(page, marks)


def test_marks_are_found_on_tests_and_on_single_parameters() -> None:
    source = """
@pytest.mark.row("A1", "A2")
@pytest.mark.parametrize("x", [1, pytest.param(2, marks=pytest.mark.row("B1"))])
def test_a(x): ...
@pytest.mark.slow
def test_b(): ...
"""
    found = [("A1", "t.py::test_a"), ("A2", "t.py::test_a"), ("B1", "t.py::test_a")]
    assert sorted(marks_in(ast.parse(source), "t.py")) == found
