"""Turn the day column of a file into days since the start of the experiment."""

from __future__ import annotations

import datetime
from typing import Any

import polars as pl

from reports.users.errors import Problems, TableError


class Days:
    """The column of days: seen batch by batch first, then turned into numbers.

    Args:
        problems: Where bad days are noted.
        start: First day of the experiment; None for the first of all.
    """

    def __init__(self, problems: Problems, start: str | None) -> None:
        self._problems = problems
        self._start = start
        # Of texts, the first batch decides between dates and whole numbers.
        self._dates: bool | None = None
        self._least: Any = None

    def see(self, column: pl.Series, first: int) -> None:
        """Check a batch that begins with row ``first`` of the file.

        Raises:
            TableError: the column holds no days.
        """
        if column.dtype == pl.String:
            if self._dates is None:
                self._dates = _as_dates(column).null_count() < len(column)
            days = _as_dates(column) if self._dates else column.cast(pl.Int64, strict=False)
            expected = "a day: 2026-11-24, or a whole number"
            bad = days.is_null() & column.is_not_null()
            self._problems.wrong(column, bad, first, expected)
            self._note(days)
            return
        self._dates = column.dtype.is_temporal()
        if self._dates:
            days = column.cast(pl.Date)
        elif column.dtype.is_float():
            days = column.cast(pl.Int64, strict=False)
            bad = (days != column).fill_null(True)
            self._problems.wrong(column, bad, first, "a whole number")
        elif column.dtype.is_integer():
            days = column
        else:
            raise TableError(
                f"column '{column.name}' of {self._problems.path} holds {column.dtype}, not days."
            )
        self._note(days)

    def _note(self, days: pl.Series) -> None:
        least: Any = days.min()
        if least is not None and (self._least is None or least < self._least):
            self._least = least

    def numbers(self, column: pl.Series) -> pl.Series:
        """int64, days since the start, of rows that have been seen.

        Raises:
            TableError: the start is not such a day.
        """
        if column.dtype == pl.String and self._dates:
            days = _as_dates(column)
        else:
            days = column.cast(pl.Date if self._dates else pl.Int64)
        first: Any = self._least if self._start is None else self._first_day(self._start)
        if isinstance(first, datetime.date):
            return (days - pl.Series([first])).dt.total_days()
        numbers: pl.Series = days - first
        return numbers

    def _first_day(self, start: str) -> Any:
        try:
            return datetime.date.fromisoformat(start) if self._dates else int(start)
        except ValueError:
            expected = "a date, as 2026-11-24" if self._dates else "a whole number"
            raise TableError(f"--start is '{start}', expected {expected}.") from None


def _as_dates(column: pl.Series) -> pl.Series:
    return column.str.to_date("%Y-%m-%d", strict=False)
