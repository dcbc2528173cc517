"""Reading the outcomes of a real experiment from a Parquet or CSV file.

One row per user, or per user and day, or any number of rows per user: outcomes of a user's rows
are added up. Columns named ``pre_X`` are what X was before the experiment.
"""

from __future__ import annotations

import datetime
import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from reports.statistics.errors import StatisticsError
from reports.user_table import SEGMENT, UserTable

PRE = "pre_"
MOST_ARMS = 20
_NUMBERS = "a number"
_SUFFIXES = {".parquet": "parquet", ".pq": "parquet", ".csv": "csv", ".tsv": "tsv"}


class TableError(StatisticsError):
    """A table that cannot be analysed: what is wrong, in which row, and what to do."""


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
    """

    user: str
    arm: str
    outcomes: tuple[str, ...]
    covariates: tuple[str, ...] = ()
    segments: tuple[str, ...] = ()
    day: str | None = None


@dataclass(frozen=True)
class Observed:
    """A real experiment, ready for ``analyze``.

    Attributes:
        table: Its users.
        rows: Of the file.
        covariates: Columns from before the experiment.
        notes: Sentences about what was done to the data.
    """

    table: UserTable
    rows: int
    covariates: tuple[str, ...]
    notes: tuple[str, ...]


class UserFile:
    """A file of users; opening it reads only the names of its columns.

    Raises:
        TableError: no such file, or neither Parquet nor CSV.
    """

    def __init__(self, path: Path) -> None:
        kind = _SUFFIXES.get(path.suffix.lower())
        if not path.is_file():
            beside = path.parent.iterdir() if path.parent.is_dir() else ()
            close = difflib.get_close_matches(path.name, [p.name for p in beside], n=1)
            near = f"Nearby: {path.with_name(close[0])}." if close else ""
            raise TableError(f"no file at {path}.", near)
        if kind is None:
            raise TableError(
                f"{path} is neither Parquet nor CSV.", "", f"Known: {', '.join(_SUFFIXES)}"
            )
        self.path = path
        self._text = kind != "parquet"
        try:
            if kind == "parquet":
                self._lazy = pl.scan_parquet(path)
            else:
                # Texts first: a value that is no number can then be shown with its line.
                separator = "\t" if kind == "tsv" else ","
                self._lazy = pl.scan_csv(path, infer_schema=False, separator=separator)
            self.schema = dict(self._lazy.collect_schema())
        except pl.exceptions.PolarsError as error:
            raise TableError(f"{path} cannot be read: {str(error).splitlines()[0]}.") from None

    @property
    def columns(self) -> list[str]:
        """Names of all columns."""
        return list(self.schema)

    def read(self, wanted: Columns, *, control: str | None, start: str | None = None) -> Observed:
        """Read, check and add up.

        Args:
            wanted: The columns.
            control: Name of the control arm; None if it can be told from the names.
            start: First day of the experiment; earlier days are the time before.

        Raises:
            TableError: naming column and row of the first thing wrong.
        """
        pre = [c for c in self.columns if c.startswith(PRE) and c not in wanted.outcomes]
        covariates = list(dict.fromkeys([*pre, *wanted.covariates]))
        keys = [wanted.user, wanted.arm, *([wanted.day] if wanted.day else [])]
        needed = list(dict.fromkeys([*keys, *wanted.outcomes, *covariates, *wanted.segments]))
        self._check_names(needed, wanted)
        try:
            frame = self._lazy.select(needed).collect()
        except pl.exceptions.PolarsError as error:
            raise TableError(f"{self.path} cannot be read: {str(error).splitlines()[0]}.") from None
        if frame.height == 0:
            raise TableError(f"{self.path} has no rows.")
        for key in keys:
            self._no_nulls(frame[key], f"every row needs its {key}")
        numbers = [self._numbers(frame[name], fill=False) for name in wanted.outcomes]
        before = [self._numbers(frame[name], fill=True) for name in covariates]
        notes = [
            f"{frame[name].null_count():,} rows have no '{name}'; the mean of all users was taken"
            for name in covariates
            if frame[name].null_count()
        ]
        segments = [
            frame[name].cast(pl.String).fill_null("unknown").alias(SEGMENT + name)
            for name in wanted.segments
        ]
        rows = pl.DataFrame(
            [
                frame[wanted.user].alias("user_id"),
                frame[wanted.arm].cast(pl.String).alias("arm"),
                *numbers,
                *[own.alias(f"\0{own.name}") for own in before],
                *segments,
            ]
        )
        arms = self._arms(rows["arm"], wanted.arm, control)
        if wanted.day is not None:
            rows = rows.with_columns(self._days(frame[wanted.day], start).alias("day"))
        elif start is not None:
            raise TableError("--start needs days.", "", "Name their column: --day COLUMN")
        table = self._table(rows, wanted, arms, [f"\0{own.name}" for own in before])
        known = [c for c in table.before.columns if c not in ("user_id", "arm")]
        return Observed(table, frame.height, tuple(known), tuple(notes))

    def _table(
        self, rows: pl.DataFrame, wanted: Columns, arms: Sequence[str], before: Sequence[str]
    ) -> UserTable:
        keys = ["arm", "user_id"]
        segments = [SEGMENT + name for name in wanted.segments]
        if rows["user_id"].n_unique() == rows.height:
            users = rows.sort(keys)
        else:
            users = rows.group_by(keys).agg(
                pl.col(wanted.outcomes).sum(), pl.col([*before, *segments]).first()
            )
            users = users.sort(keys)
            self._one_arm_each(users, wanted)
        names = {name: _without_prefix(name, wanted) for name in before}
        known = users.select(*keys, *before).rename(names) if before else None
        if wanted.day is None:
            kept = users.select(*keys, *wanted.outcomes, *segments)
            return UserTable.of_users(kept, arms, before=known)
        days = rows.group_by("arm", "user_id", "day").agg(
            pl.col(wanted.outcomes).sum(), pl.col(segments).first()
        )
        table = UserTable(days, arms)
        if known is not None:
            table.add_before(known)
        return table

    def _check_names(self, needed: Iterable[str], wanted: Columns) -> None:
        for name in needed:
            if name not in self.schema:
                close = difflib.get_close_matches(name, self.columns, n=1)
                guess = f"Did you mean '{close[0]}'?" if close else ""
                listed = f"Columns: {', '.join(self.columns[:30])}"
                raise TableError(f"{self.path} has no column '{name}'.", guess, listed)
        both = set(wanted.outcomes) & {*wanted.covariates, *wanted.segments}
        if both:
            raise TableError(
                f"'{min(both)}' is an outcome and something known before.",
                "What happened in the experiment cannot be a covariate, stratum or segment.",
            )
        keys = [name for name in (wanted.user, wanted.arm, wanted.day) if name is not None]
        numbers = {*wanted.outcomes, *wanted.covariates}
        double = [n for n in keys if n in numbers or keys.count(n) > 1]
        if double:
            raise TableError(
                f"column '{double[0]}' is given two meanings.", "", "Check the options"
            )

    def _where(self, row: int) -> str:
        """A row for people: lines of a CSV file start at 1 and have a header."""
        return f"{self.path} line {row + 2:,}" if self._text else f"{self.path} row {row + 1:,}"

    def _no_nulls(self, column: pl.Series, need: str) -> None:
        bad = column.is_null()
        if bad.any():
            raise TableError(
                f"{self._where(int(bad.arg_max() or 0))}: {column.name} is missing.",
                f"{int(bad.sum()):,} bad rows; {need}.",
                "Fill them or drop the rows",
            )

    def _numbers(self, column: pl.Series, *, fill: bool) -> pl.Series:
        """float64, without missing values."""
        found = column
        if column.dtype == pl.String:
            text = column.str.strip_chars()
            text = text.set(text == "", None)
            found = text.cast(pl.Float64, strict=False)
            self._refuse(column, found.is_null() & text.is_not_null(), _NUMBERS)
        elif not (column.dtype.is_numeric() or column.dtype == pl.Boolean):
            raise TableError(
                f"column '{column.name}' of {self.path} holds {column.dtype}, expected numbers."
            )
        found = found.cast(pl.Float64)
        self._refuse(column, (~found.is_finite()).fill_null(False), "a finite number")
        if fill and found.null_count() < len(found):
            return found.fill_null(found.mean())
        if found.null_count():
            self._no_nulls(
                found, "a user without an outcome is not a user with 0, unless you say so"
            )
        return found

    def _refuse(self, column: pl.Series, bad: pl.Series, expected: str) -> None:
        if bad.any():
            row = int(bad.arg_max() or 0)
            count = int(bad.sum())
            raise TableError(
                f"{self._where(row)}: {column.name} is {str(column[row])!r}, expected {expected}.",
                f"{count:,} bad row{'s' if count > 1 else ''}.",
                "Fix or drop them",
            )

    def _arms(self, column: pl.Series, name: str, control: str | None) -> list[str]:
        """Arm names, control first."""
        arms = sorted(column.unique().to_list())
        shown = ", ".join(arms[:MOST_ARMS])
        if len(arms) == 1:
            raise TableError(
                f"{self.path} has one arm only ('{arms[0]}').", "A comparison needs two."
            )
        if len(arms) > MOST_ARMS:
            raise TableError(
                f"column '{name}' has {len(arms):,} different values.",
                f"An experiment has at most {MOST_ARMS} arms.",
                "Name the column of the arms: --arm COLUMN",
            )
        if control is None:
            usual = [arm for arm in arms if arm.lower() in ("control", "baseline")]
            if len(usual) != 1:
                raise TableError(
                    "which arm is the control?", f"Arms: {shown}.", f"Add: --control {arms[0]}"
                )
            control = usual[0]
        if control not in arms:
            close = difflib.get_close_matches(control, arms, n=1)
            guess = f"Did you mean '{close[0]}'?" if close else f"Arms: {shown}"
            raise TableError(f"{self.path} has no arm '{control}'.", guess)
        return [control, *[arm for arm in arms if arm != control]]

    def _one_arm_each(self, users: pl.DataFrame, wanted: Columns) -> None:
        doubled = users.filter(pl.col("user_id").is_duplicated()).sort("user_id")
        if doubled.height:
            first = doubled["user_id"][0]
            arms = doubled.filter(pl.col("user_id") == first)["arm"].to_list()
            raise TableError(
                f"{wanted.user} {first} is in arms {' and '.join(map(repr, arms))}.",
                f"{doubled['user_id'].n_unique():,} users are in more than one arm of {self.path}.",
                "Find out why (the split may be broken), then drop them from all arms",
            )

    def _days(self, column: pl.Series, start: str | None) -> pl.Series:
        """int64, days since the start of the experiment."""
        days = column
        if column.dtype == pl.String:
            days = column.str.to_date("%Y-%m-%d", strict=False)
            if days.null_count():
                days = column.cast(pl.Int64, strict=False)
            self._refuse(column, days.is_null(), "a day: 2026-11-24, or a whole number")
        elif column.dtype.is_temporal():
            days = column.cast(pl.Date)
        elif column.dtype.is_float():
            days = column.cast(pl.Int64, strict=False)
            self._refuse(column, (days != column).fill_null(True), "a whole number")
        elif not column.dtype.is_integer():
            raise TableError(
                f"column '{column.name}' of {self.path} holds {column.dtype}, not days."
            )
        first = days.min() if start is None else _first_day(start, days.dtype)
        if isinstance(first, datetime.date):
            return (days - pl.Series([first])).dt.total_days()
        return days.cast(pl.Int64) - first


def _first_day(start: str, dtype: Any) -> Any:
    try:
        return datetime.date.fromisoformat(start) if dtype == pl.Date else int(start)
    except ValueError:
        expected = "a date, as 2026-11-24" if dtype == pl.Date else "a whole number"
        raise TableError(f"--start is '{start}', expected {expected}.") from None


def _without_prefix(name: str, wanted: Columns) -> str:
    """``pre_X`` is X before; unless the days before the start say what X was."""
    plain = name.removeprefix("\0")
    return plain if wanted.day is not None else plain.removeprefix(PRE)
