"""Check the rows of a file batch by batch and turn them into numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import polars as pl

from reports.users.days import Days
from reports.users.errors import Problems, TableError
from reports.users.table import SEGMENT

Aggregation = Literal["first", "last", "mean", "sum", "min", "max"]

BEFORE = "\0"
"""Marks columns from before the experiment: their names may be those of outcomes."""


@dataclass(frozen=True)
class Columns:
    """What to read.

    Attributes:
        user: Whose row it is.
        arm: Which arm the user is in.
        outcomes: Numbers that are added up per user.
        covariates: Numbers from before the experiment, beside the ``pre_`` columns.
        segments: Texts to split by.
        day: Day of the row, a whole number or a date.
        aggregations: How a covariate of several rows of a user becomes one number; ``first``, the
            first value there is, if nothing is said.
    """

    user: str
    arm: str
    outcomes: tuple[str, ...]
    covariates: tuple[str, ...] = ()
    segments: tuple[str, ...] = ()
    day: str | None = None
    aggregations: Mapping[str, Aggregation] = field(default_factory=dict)

    @property
    def keys(self) -> list[str]:
        """What every row must have."""
        return [self.user, self.arm, *([self.day] if self.day else [])]


class RowReader:
    """Reads batches in the order of the file; knows of them what takes all rows to know.

    Args:
        wanted: The columns.
        covariates: All columns from before the experiment.
        problems: Where bad rows are noted.
        days: Of the experiment, if rows have days.

    Attributes:
        rows: Read so far.
        arms: Seen so far.
    """

    def __init__(
        self, wanted: Columns, covariates: list[str], problems: Problems, days: Days | None
    ) -> None:
        self._wanted = wanted
        self._problems = problems
        self._days = days
        self._empty = dict.fromkeys(covariates, 0)
        self.rows = 0
        self.arms: set[str] = set()

    def read(self, batch: pl.DataFrame) -> pl.DataFrame:
        """Rows of ``user_id``, ``arm``, outcomes, covariates, segments and the day as it was.

        Bad values are noted and become missing; so do missing covariates.

        Raises:
            TableError: a column holds no numbers, or no days.
        """
        wanted = self._wanted
        for key in wanted.keys:
            bad = _absent(batch[key], name=key == wanted.user)
            self._problems.missing(key, bad, self.rows, f"every row needs its {key}")
        need = "a user without an outcome is not a user with 0, unless you say so"
        columns = [_plain(batch[wanted.user]).alias("user_id")]
        columns.append(batch[wanted.arm].cast(pl.String).alias("arm"))
        for name in wanted.outcomes:
            numbers = self._numbers(batch[name])
            self._problems.missing(name, numbers.is_null(), self.rows, need)
            columns.append(numbers)
        for name in self._empty:
            numbers = self._numbers(batch[name])
            self._empty[name] += numbers.null_count()
            columns.append(numbers.alias(BEFORE + name))
        columns += [
            batch[name].cast(pl.String).fill_null("unknown").alias(SEGMENT + name)
            for name in wanted.segments
        ]
        if self._days is not None and wanted.day is not None:
            self._days.see(batch[wanted.day], self.rows)
            columns.append(batch[wanted.day].alias("day"))
        self.rows += batch.height
        self.arms |= set(columns[1].drop_nulls().unique().to_list())
        return pl.DataFrame(columns)

    def _numbers(self, column: pl.Series) -> pl.Series:
        """float64; bad values are noted."""
        found = column
        if column.dtype == pl.String:
            text = column.str.strip_chars()
            text = text.set(text == "", None)
            found = text.cast(pl.Float64, strict=False)
            bad = found.is_null() & text.is_not_null()
            self._problems.wrong(column, bad, self.rows, "a number")
        elif not (column.dtype.is_numeric() or column.dtype == pl.Boolean):
            raise TableError(
                f"column '{column.name}' of {self._problems.path} holds {column.dtype}, "
                "expected numbers."
            )
        found = found.cast(pl.Float64)
        infinite = (~found.is_finite()).fill_null(False)
        self._problems.wrong(column, infinite, self.rows, "a finite number")
        return found.set(infinite, None) if infinite.any() else found

    def check(self) -> None:
        """After the last batch.

        Raises:
            TableError: naming column and row of the first thing wrong.
        """
        self._problems.raise_first()
        for name, count in self._empty.items():
            if count == self.rows:
                raise TableError(
                    f"{self._problems.where(0)}: {name} is missing.",
                    f"All {count:,} rows are; a covariate needs values.",
                    "Fill them or leave the column out",
                )

    def finish(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Rows of ``read``, once all have been read: days as numbers."""
        if self._days is None:
            return rows
        return rows.with_columns(self._days.numbers(rows["day"]))


def _absent(column: pl.Series, *, name: bool) -> pl.Series:
    """bool[n]: no value; a number that is none is no name either, nor is its text."""
    if column.dtype.is_float():
        return column.is_null() | column.is_nan().fill_null(False)
    if name and column.dtype == pl.String:
        blank = column.str.strip_chars().str.to_lowercase().is_in(["", "nan"])
        return column.is_null() | blank.fill_null(False)
    return column.is_null()


def _plain(users: pl.Series) -> pl.Series:
    """Ids whose order and hash do not depend on the batch."""
    return users.cast(pl.String) if users.dtype in (pl.Categorical, pl.Enum) else users
