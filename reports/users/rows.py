"""Turn typed batches of a table into rows of users, and describe them as a whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import polars as pl

from reports.users.days import Days
from reports.users.errors import TableError
from reports.users.risk import JOINED, Absent
from reports.users.table import SEGMENT

Aggregation = Literal["first", "last", "mean", "sum", "min", "max"]
Role = Literal["user", "arm", "outcome", "covariate", "segment", "day", "joined"]

LARGEST = 1e30
"""Largest value of an outcome or covariate: the analysis adds up fourth powers of ratios."""
SMALLEST = 1e-30
"""What all values of a column may not lie below, unless they are 0: their powers would vanish."""
BEFORE = "\0"
"""Marks columns from before the experiment: their names may be those of outcomes."""


@dataclass(frozen=True)
class Columns:
    """What to read.

    Attributes:
        user: Whose row it is.
        arm: Which arm the user is in; None if all users were treated alike.
        outcomes: Numbers that are added up per user.
        covariates: Numbers from before the experiment, beside the ``pre_`` columns.
        segments: Texts to split by.
        day: Day of the row, a whole number or a date.
        aggregations: How a covariate of several rows of a user becomes one number; ``first``, the
            first value there is, if nothing is said.
        joined: Day on which the user joined.
        absent: What a day without a row means where no day of joining is known.
        retention: Outcome columns and numbers of days after joining.
    """

    user: str
    arm: str | None
    outcomes: tuple[str, ...]
    covariates: tuple[str, ...] = ()
    segments: tuple[str, ...] = ()
    day: str | None = None
    aggregations: Mapping[str, Aggregation] = field(default_factory=dict)
    joined: str | None = None
    absent: Absent = "error"
    retention: tuple[tuple[str, int], ...] = ()

    def roles(self, covariates: Sequence[str]) -> dict[str, Role]:
        """What each column is read as.

        Args:
            covariates: All of them, also those that nobody named.

        Raises:
            TableError: a column with two roles.
        """
        asked: list[tuple[str | None, Role]] = [(self.user, "user"), (self.arm, "arm")]
        asked += [(self.day, "day"), (self.joined, "joined")]
        asked += [(name, "outcome") for name in self.outcomes]
        asked += [(name, "covariate") for name in covariates]
        asked += [(name, "segment") for name in self.segments]
        found: dict[str, Role] = {}
        for name, role in asked:
            if name is None or found.get(name) == role:
                continue
            if name in found:
                raise TableError(
                    f"column '{name}' is given two meanings: {found[name]} and {role}.",
                    "What happened in the experiment cannot be a covariate, stratum or segment."
                    if "outcome" in (found[name], role)
                    else "",
                    "Check the options",
                )
            found[name] = role
        return found


class RowSource(Protocol):
    """A table, in files or not, that comes as typed batches.

    Attributes:
        name: Of the table, for messages.
        files: It is in.
        schema: Column name to type, as it is stored.
    """

    name: str
    files: list[Path]
    schema: Mapping[str, pl.DataType]

    def rows_at_most(self) -> int:
        """About how many rows there are, or more."""

    def batches(
        self, roles: Mapping[str, Role], days: Mapping[str, Days]
    ) -> Iterator[pl.DataFrame]:
        """The columns of ``roles``, typed.

        Users are whole numbers or texts, arms and segments texts, outcomes and covariates float64,
        days int64. Only covariates and segments may be missing. Bad rows are refused with their
        place, or left out and counted.
        """

    def places(self, user_column: str, user: Any, arm_column: str) -> list[tuple[str, str]]:
        """The arm and the place of every row of a user."""

    def notes(self) -> list[str]:
        """Sentences about rows that were left out; after the last batch."""

    def numbers(self) -> list[str]:
        """Columns that hold numbers, as far as the beginning of the table tells."""


class RowReader:
    """Reads batches in the order of the table; knows of them what takes all rows to know.

    Args:
        wanted: The columns.
        covariates: All columns from before the experiment.
        days: Of the experiment, if rows have days.
        name: Of the table.

    Attributes:
        rows: Read so far.
        arms: Seen so far.
    """

    def __init__(
        self, wanted: Columns, covariates: list[str], days: Days | None, name: str
    ) -> None:
        self._wanted = wanted
        self._days = days
        self._name = name
        self._empty = dict.fromkeys(covariates, 0)
        self._largest = dict.fromkeys([*wanted.outcomes, *covariates], 0.0)
        self._id_type: pl.DataType | None = None
        self.rows = 0
        self.arms: set[str] = set()

    def read(self, batch: pl.DataFrame) -> pl.DataFrame:
        """Rows of ``user_id``, ``arm``, outcomes, covariates, segments and days as they were.

        Raises:
            TableError: users are numbers in one file and texts in another.
        """
        wanted = self._wanted
        users = batch[wanted.user]
        if self._id_type is None:
            self._id_type = users.dtype
        elif users.dtype != self._id_type and len(users):
            raise TableError(
                f"column '{wanted.user}' of {self._name} holds {self._id_type} in one file and "
                f"{users.dtype} in another.",
                "The same user would be two.",
                "Store it alike in all files",
            )
        columns = [users.alias("user_id")]
        if wanted.arm is None:
            columns.append(pl.repeat(EVERYBODY, batch.height, eager=True).alias("arm"))
        else:
            columns.append(batch[wanted.arm].alias("arm"))
        columns += [batch[name] for name in wanted.outcomes]
        for name in self._empty:
            self._empty[name] += batch[name].null_count()
            columns.append(batch[name].alias(BEFORE + name))
        columns += [
            batch[name].fill_null("unknown").alias(SEGMENT + name) for name in wanted.segments
        ]
        if wanted.day is not None:
            columns.append(batch[wanted.day].alias("day"))
        if wanted.joined is not None:
            columns.append(batch[wanted.joined].alias(JOINED))
        for name, largest in self._largest.items():
            found = batch[name].abs().max()
            self._largest[name] = max(largest, float(found or 0.0))  # type: ignore[arg-type]
        self.rows += batch.height
        self.arms |= set(columns[1].unique().to_list())
        return pl.DataFrame(columns)

    def check(self) -> None:
        """After the last batch.

        Raises:
            TableError: no rows, a covariate without any value, or values too close to 0.
        """
        if self.rows == 0:
            raise TableError(f"{self._name} has no rows.")
        for name, largest in self._largest.items():
            if 0.0 < largest < SMALLEST:
                raise TableError(
                    f"{name} of {self._name} is at most {largest:.3g}.",
                    f"Values below {SMALLEST:g} cannot be squared.",
                    "Give them in a smaller unit",
                )
        for name, count in self._empty.items():
            if count == self.rows:
                raise TableError(
                    f"{name} of {self._name} is missing in all {count:,} rows.",
                    "A covariate needs values.",
                    "Fill them or leave the column out",
                )

    def finish(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Rows of ``read``, once all have been read: days since the start."""
        if self._days is None:
            return rows
        first = self._days.first
        named = [name for name in ("day", JOINED) if name in rows.columns]
        return rows.with_columns(pl.col(named) - first)


EVERYBODY = "all"
"""The arm of users who were all treated alike."""
