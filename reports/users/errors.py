"""Collect what is wrong with the rows of a file of users."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from reports.statistics.errors import StatisticsError


class TableError(StatisticsError):
    """A table that cannot be analysed: what is wrong, in which row, and what to do."""


@dataclass
class _Problem:
    """One check of one column: how many rows fail it, and the first of them."""

    column: str
    need: str
    wrong: bool
    count: int = 0
    row: int = 0
    shown: str = ""


class Problems:
    """The checks of a file; each counts its bad rows and remembers the first.

    Args:
        path: Of the file.
        text: Whether it has lines, the first of them a header.
    """

    def __init__(self, path: Path, *, text: bool) -> None:
        self.path = path
        self._text = text
        self._checks: dict[tuple[str, str], _Problem] = {}

    @property
    def any(self) -> bool:
        """Whether a row failed a check."""
        return any(check.count for check in self._checks.values())

    def where(self, row: int) -> str:
        """A row, counted from 0, for people: lines of a CSV file start at 1 and have a header."""
        return f"{self.path} {self.place(row)}"

    def place(self, row: int) -> str:
        """As ``where``, without the file."""
        return f"line {row + 2:,}" if self._text else f"row {row + 1:,}"

    def missing(self, name: str, bad: pl.Series, first: int, need: str) -> None:
        """Rows without a value.

        Args:
            name: Of the column.
            bad: bool[n], of a batch.
            first: Row of the file that the batch begins with.
            need: Why there must be one.
        """
        self._note(_Problem(name, need, wrong=False), bad, first, None)

    def wrong(self, column: pl.Series, bad: pl.Series, first: int, expected: str) -> None:
        """Rows with a value that makes no sense."""
        self._note(_Problem(column.name, expected, wrong=True), bad, first, column)

    def _note(self, check: _Problem, bad: pl.Series, first: int, column: pl.Series | None) -> None:
        known = self._checks.setdefault((check.column, check.need), check)
        if not bad.any():
            return
        if not known.count:
            at = int(bad.arg_max() or 0)
            known.row = first + at
            known.shown = "" if column is None else repr(str(column[at]))
        known.count += int(bad.sum())

    def raise_first(self) -> None:
        """Of the first check, in the order in which they were made, that some row failed.

        Raises:
            TableError: if there is any.
        """
        for check in self._checks.values():
            if check.count and check.wrong:
                rows = f"{check.count:,} bad row{'s' if check.count > 1 else ''}."
                said = f"{check.column} is {check.shown}, expected {check.need}."
                raise TableError(f"{self.where(check.row)}: {said}", rows, "Fix or drop them")
            if check.count:
                raise TableError(
                    f"{self.where(check.row)}: {check.column} is missing.",
                    f"{check.count:,} bad rows; {check.need}.",
                    "Fill them or drop the rows",
                )
