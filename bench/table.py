"""Samples to rows, rows to a Markdown table: values in, text out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Goal:
    ratio: float | None = None  # the most, of the ratio of the medians
    most: float | None = None  # the most, of octo's own median, in the row's unit

    def text(self, unit: str) -> str:
        words = [f"≤ {self.ratio:g} x"] if self.ratio is not None else []
        words += [f"≤ {self.most:g} {unit}"] if self.most is not None else []
        return " and ".join(words)


@dataclass(frozen=True)
class Row:
    """One line of the table. The samples at one place of both lists were taken side by side."""

    what: str
    octo: Sequence[float]
    by_hand: Sequence[float] = ()  # empty when there is nothing to compare with
    goal: Goal = Goal()
    unit: str = "ms"
    digits: int = 0

    @property
    def ratio(self) -> float | None:
        """Of the medians."""
        return median(self.octo) / median(self.by_hand) if self.by_hand else None

    @property
    def paired(self) -> float | None:
        """The median of the ratios pair by pair, which a burst of load in the middle of a run moves less."""
        pairs = list(zip(self.octo, self.by_hand, strict=True)) if self.by_hand else []
        return median(a / b for a, b in pairs) if pairs else None

    @property
    def verdict(self) -> str:
        if self.goal == Goal():
            return ""
        over = self.goal.ratio is not None and (self.ratio is None or self.ratio > self.goal.ratio)
        over |= self.goal.most is not None and median(self.octo) > self.goal.most
        return "over" if over else "ok"

    def cells(self) -> Sequence[str]:
        return (
            self.what,
            f"{_number(self.octo, self.digits)} {self.unit}",
            f"{_number(self.by_hand, self.digits)} {self.unit}" if self.by_hand else "-",
            _times(self.ratio),
            _times(self.paired),
            self.goal.text(self.unit),
            self.verdict,
        )


HEAD = ("what", "octo", "by hand", "ratio", "pairwise", "goal", "")


def table(rows: Sequence[Row]) -> str:
    return markdown(HEAD, [row.cells() for row in rows])


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their longest cell, all but the first to the right."""
    width = [max(len(r[i]) for r in (head, *rows)) for i in range(len(head))]
    rule = [":" + "-" * (w - 1) if i == 0 else "-" * (w - 1) + ":" for i, w in enumerate(max(w, 2) for w in width)]
    return "\n".join([_line(head, width), f"| {' | '.join(rule)} |", *(_line(row, width) for row in rows)])


def raw(rows: Sequence[Row]) -> Sequence[Mapping[str, object]]:
    """Every sample, for `--json`."""
    return [
        {"what": r.what, "unit": r.unit, "octo": list(r.octo), "by_hand": list(r.by_hand), "verdict": r.verdict}
        for r in rows
    ]


def _line(cells: Sequence[str], width: Sequence[int]) -> str:
    padded = [
        c.ljust(max(w, 2)) if i == 0 else c.rjust(max(w, 2)) for i, (c, w) in enumerate(zip(cells, width, strict=True))
    ]
    return f"| {' | '.join(padded)} |"


def _number(samples: Sequence[float], digits: int) -> str:
    return f"{median(samples):.{digits}f}"


def _times(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.2f} x"
