"""Turn the day column of a table into days since the start of the experiment.

A day is a date (``2026-11-24``, ``2026/11/24``, ``20261124``, or a time in its own zone) or a
whole number that counts days. Dates are counted on the calendar, so months' ends and gaps count.
"""

from __future__ import annotations

import datetime
from typing import Any

import polars as pl

from reports.users.errors import TableError

_EPOCH = datetime.date(1970, 1, 1)
_FORMATS = ("%Y-%m-%d", "%Y/%m/%d", "%Y%m%d")
_YMD = (19000101, 21001231)
_MOST_DAYS = 1_000_000
"""A larger number counts no days: it is a time since 1970, or a date that is none."""

EXPECTED = "a day: 2026-11-24, 20261124 or a whole number"


class Days:
    """A column of days: read batch by batch, then counted from the start.

    Args:
        start: First day of the experiment; None for the first of all.
        like: A column whose kind of days this one shares; None if the first batch decides.
    """

    def __init__(self, start: str | None = None, like: Days | None = None) -> None:
        self._start = start
        self._like = like
        self._dates: bool | None = None
        self._least: int | None = None
        self._seen: set[int] = set()

    @property
    def dates(self) -> bool | None:
        """Whether days are dates; None before any was read."""
        return self._dates if self._like is None or self._like.dates is None else self._like.dates

    def read(self, column: pl.Series) -> tuple[pl.Series, pl.Series]:
        """int64[n] of a batch (days since 1970, or the numbers), and which cells are no days.

        Raises:
            TableError: the column's type holds no days.
        """
        values, bad = self._values(column)
        known = values.unique().drop_nulls()
        if len(known):
            least: Any = known.min()
            self._least = least if self._least is None else min(self._least, least)
            self._seen |= set(known.to_list())
        return values, bad

    def _values(self, column: pl.Series) -> tuple[pl.Series, pl.Series]:
        if column.dtype.is_temporal():
            if column.dtype == pl.Time or column.dtype == pl.Duration:
                raise TableError(f"column '{column.name}' holds {column.dtype}, not days.")
            self._decide(True)
            # Of a time in a zone the date there, not that in Greenwich.
            dates = column if column.dtype == pl.Date else column.dt.date()
            return self._as_kind(dates.cast(pl.Int32).cast(pl.Int64), True, column)
        if column.dtype.is_float():
            numbers = column.fill_nan(None).cast(pl.Int64, strict=False)
            whole = (numbers == column).fill_null(False) | column.is_null()
            return self._of_numbers(numbers.set(~whole, None), column)
        if column.dtype.is_integer():
            return self._of_numbers(column.cast(pl.Int64, strict=False), column)
        if column.dtype != pl.String:
            raise TableError(f"column '{column.name}' holds {column.dtype}, not days.")
        text = column.str.strip_chars().str.replace(r"^([+-]?\d+)\.0*$", "$1")
        text = text.set(text == "", None)
        dates = _as_dates(text)
        if self.dates is None and text.null_count() < len(text):
            self._decide(dates.null_count() < len(dates))
        if self.dates:
            return dates, dates.is_null() & text.is_not_null()
        return _plausible(text.cast(pl.Int64, strict=False), text)

    def _of_numbers(self, numbers: pl.Series, column: pl.Series) -> tuple[pl.Series, pl.Series]:
        known = numbers.drop_nulls()
        if self.dates is None and len(known):
            dated = _as_dates(known.cast(pl.String))
            written = known.is_between(*_YMD).all() and dated.null_count() < len(dated)
            self._decide(bool(written))
        if self.dates:
            found = _as_dates(numbers.cast(pl.String))
            return found, found.is_null() & column.is_not_null()
        return _plausible(numbers, column)

    def _as_kind(
        self, values: pl.Series, dates: bool, column: pl.Series
    ) -> tuple[pl.Series, pl.Series]:
        if self.dates == dates:
            return values, pl.repeat(False, len(values), eager=True)
        nothing = pl.Series([None] * len(values), dtype=pl.Int64)
        return nothing, column.is_not_null()

    def _decide(self, dates: bool) -> None:
        if self._dates is None:
            self._dates = dates

    @property
    def first(self) -> int:
        """The start, as ``read`` gives days.

        Raises:
            TableError: the start is not such a day.
        """
        if self._start is None:
            return self._least or 0
        if self.dates:
            found = _as_dates(pl.Series([self._start.strip()]))
            if found.has_nulls():
                raise TableError(f"--start is '{self._start}', expected a date, as 2026-11-24.")
            return int(found[0])
        try:
            return int(self._start)
        except ValueError:
            raise TableError(f"--start is '{self._start}', expected a whole number.") from None

    @property
    def calendar(self) -> list[int]:
        """Days of the experiment that occur, counted from its start; without the time before."""
        return sorted(day - self.first for day in self._seen if day >= self.first)

    def shown(self, day: int) -> str:
        """A day since the start, as people write it."""
        number = self.first + day
        return str(_EPOCH + datetime.timedelta(days=number)) if self.dates else str(number)


def why_no_day(cell: object) -> str:
    """What is remarkable about a cell that is no day; empty if nothing."""
    text = str(cell).strip()
    if text.lstrip("-").isdigit() and abs(int(text)) > _MOST_DAYS and len(text) != 8:
        return "a time since 1970? Write the date"
    return ""


def _plausible(numbers: pl.Series, cells: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Numbers that count days, and which cells are none: also times since 1970."""
    bad = (numbers.is_null() & cells.is_not_null()) | (numbers.abs() > _MOST_DAYS).fill_null(False)
    return numbers.set(bad, None), bad


def _as_dates(text: pl.Series) -> pl.Series:
    """int64[n], days since 1970; null where there is no date. What follows a date is a time."""
    head = text.str.extract(r"^(\d{4}[-/]\d{1,2}[-/]\d{1,2}|\d{8})(?:[T ].*)?$", 1)
    tried = [head.str.to_date(form, strict=False) for form in _FORMATS]
    dates = pl.select(pl.coalesce([pl.lit(one) for one in tried])).to_series()
    return dates.cast(pl.Int32).cast(pl.Int64).alias(text.name)
