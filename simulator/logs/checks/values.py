"""Check the values of a table's columns: nulls, labels, bounds, plausibility."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import polars as pl

from simulator.logs.schema import Column, TableFormat

Severity = Literal["error", "warning"]
EARLIEST_MS, LATEST_MS = 631_152_000_000, 4_102_444_800_000
"""1990 and 2100: times outside are most likely in another unit."""
_DAY_MS = 86_400_000
_SPANS = ("play_time_ms", "profile_stay_time", "comment_stay_time", "dwell_ms")


@dataclass(frozen=True)
class Rule:
    """What the values of a column are.

    Attributes:
        column: Name.
        expected: For messages.
        severity: Of a violation.
        low, high: Bounds, both included; None for no bound.
        null: Whether a null is a violation; other rules ignore nulls.
    """

    column: str
    expected: str
    severity: Severity = "error"
    low: float | None = None
    high: float | None = None
    null: bool = False

    def violated(self, values: pl.Series) -> pl.Series | None:
        """Which values violate it; None if none does."""
        if self.null:
            return values.is_null() if values.null_count() else None
        low, high = values.min(), values.max()
        fine = low is None or (
            (self.low is None or low >= self.low) and (self.high is None or high <= self.high)  # type: ignore[operator]
        )
        if values.dtype.is_float() and values.is_nan().any():
            fine = False
        if fine:
            return None
        bad = pl.repeat(False, len(values), eager=True)
        if self.low is not None:
            bad |= (values < self.low).fill_null(False)
        if self.high is not None:
            bad |= (values > self.high).fill_null(False)
        if values.dtype.is_float():
            bad |= values.is_nan().fill_null(False)
        return bad


@dataclass
class Violation:
    """How often a rule was violated, and where first."""

    rule: Rule
    count: int = 0
    row: int = 0
    shown: str = ""

    def note(self, values: pl.Series, first: int) -> None:
        """Look at the values of a batch that begins with row ``first``."""
        bad = self.rule.violated(values)
        if bad is None or not bad.any():
            return
        if not self.count:
            at = int(bad.arg_max() or 0)
            self.row = first + at
            self.shown = "empty" if values[at] is None else str(values[at])
        self.count += int(bad.sum())


@dataclass
class ValueChecks:
    """The rules of the columns that a table has."""

    table: TableFormat
    present: list[str]
    found: list[Violation] = field(init=False)

    def __post_init__(self) -> None:
        columns = [c for c in self.table.columns if c.name in self.present]
        # Times of decisions are those of the impressions and comment events that they belong to.
        plausible = not self.table.name.endswith("_decisions")
        self.found = [
            Violation(rule)
            for column in columns
            for rule in rules(column)
            if plausible or rule.severity == "error"
        ]

    @property
    def columns(self) -> list[str]:
        """Columns that have rules."""
        return list(dict.fromkeys(v.rule.column for v in self.found))

    def note(self, rows: pl.DataFrame, first: int) -> None:
        """Look at a batch that begins with row ``first``."""
        for violation in self.found:
            violation.note(rows[violation.rule.column], first)

    def violations(self) -> list[Violation]:
        """Those of rules that were violated."""
        return [v for v in self.found if v.count]


def rules(column: Column) -> list[Rule]:
    """What the values of a column are."""
    found = []
    if not column.nullable:
        found.append(Rule(column.name, "a value", null=True))
    if isinstance(column.dtype, pl.List):
        return found
    if column.unit == "0/1":
        return [*found, Rule(column.name, "0 or 1", low=0, high=1)]
    if column.minimum is not None or column.maximum is not None:
        bounds = [
            f"at least {column.minimum}" if column.minimum is not None else "",
            f"at most {column.maximum}" if column.maximum is not None else "",
        ]
        found.append(
            Rule(
                column.name, " and ".join(b for b in bounds if b), low=column.minimum,
                high=column.maximum,
            )
        )  # fmt: skip
    if column.name == "time_ms":
        expected = "a time between 1990 and 2100, in ms"
        found.append(Rule(column.name, expected, "warning", EARLIEST_MS, LATEST_MS))
    if column.name in _SPANS:
        found.append(Rule(column.name, "at most a day, in ms", "warning", high=_DAY_MS))
    return found
