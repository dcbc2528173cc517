"""Decide what a day without a row means for a user: an error, nothing done, or not there.

A user who joins on the fifth day of ten has no rows before. Counted as zeros they make the mean per
user-day too small, and its error too large; so a table with absent user-days needs a word about
them. Days at risk are a column of the rows, and a mean per user-day is then a ratio of sums.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import polars as pl

from reports.users.days import Days
from reports.users.errors import TableError
from reports.users.table import AT_RISK

Absent = Literal["error", "zero", "not-at-risk"]

JOINED = "\0joined"
RETAINED, MATURE = "@", "mature@"

_KEYS = ("arm", "user_id")


class Risk:
    """What absent user-days mean; also finds those that nobody explained.

    Args:
        absent: What they mean where no day of joining is known.
        joined: Whether the rows have the day on which their user joined, as ``JOINED``: before it
            nobody is at risk, after it a day without a row is a day on which nothing was done.
        retention: Columns and numbers of days: whether the user was active so many days after
            joining, asked of those only whose day has come.
    """

    def __init__(
        self, absent: Absent, joined: bool, retention: Sequence[tuple[str, int]] = ()
    ) -> None:
        self._absent = absent
        self._joined = joined
        self._retention = retention
        self._count = 0
        self._first: tuple[Any, int] | None = None
        self._early = 0
        self._early_user: Any = None

    @property
    def outcomes(self) -> list[str]:
        """Columns that ``applied`` adds."""
        added = [AT_RISK] if self._joined or self._absent == "not-at-risk" else []
        for column, day in self._retention:
            added += [f"{column}{RETAINED}{day}", f"{MATURE}{day}"]
        return list(dict.fromkeys(added))

    def applied(self, rows: pl.DataFrame, calendar: Sequence[int]) -> pl.DataFrame:
        """Rows with the columns of ``outcomes``.

        Args:
            rows: One per (user_id, arm, day).
            calendar: Days of the experiment, from the whole table.
        """
        if self._joined:
            return self._since_joining(rows, calendar)
        if self._absent == "not-at-risk":
            return rows.with_columns((pl.col("day") >= 0).cast(pl.Float64).alias(AT_RISK))
        if self._absent == "error":
            self._note(rows, calendar)
        return rows

    def _note(self, rows: pl.DataFrame, calendar: Sequence[int]) -> None:
        during = rows.filter(pl.col("day") >= 0)
        users = rows.select(_KEYS).unique()
        missing = users.height * len(calendar) - during.height
        if missing <= 0:
            return
        self._count += missing
        days = pl.DataFrame({"day": list(calendar)}, schema={"day": rows.schema["day"]})
        absent = users.join(days, how="cross").join(during, on=[*_KEYS, "day"], how="anti")
        user, day = absent.select("user_id", "day").sort("user_id", "day").row(0)
        if self._first is None or user < self._first[0]:
            self._first = (user, day)

    def _since_joining(self, rows: pl.DataFrame, calendar: Sequence[int]) -> pl.DataFrame:
        segments = [c for c in rows.columns if c not in (*_KEYS, "day", JOINED)]
        texts = [c for c in segments if rows.schema[c] == pl.String]
        users = rows.group_by(_KEYS).agg(pl.col(JOINED).first(), pl.col(texts).first())
        early = rows.filter((pl.col("day") >= 0) & (pl.col("day") < pl.col(JOINED)))
        if early.height:
            self._early += early["user_id"].n_unique()
            least = early["user_id"].min()
            self._early_user = least if self._early_user is None else min(self._early_user, least)
        days = pl.DataFrame({"day": list(calendar)}, schema={"day": rows.schema["day"]})
        expected = users.join(days, how="cross").filter(pl.col("day") >= pl.col(JOINED))
        silent = expected.join(rows, on=[*_KEYS, "day"], how="anti")
        whole = pl.concat([rows, silent], how="diagonal").with_columns(
            pl.col(pl.Float64).fill_null(0.0)
        )
        since = pl.col("day") - pl.col(JOINED)
        there = pl.col("day") >= 0
        added = [(there & (since >= 0)).cast(pl.Float64).alias(AT_RISK)]
        for column, number in self._retention:
            then = there & (since == number)
            kept = (then & (pl.col(column) > 0)).cast(pl.Float64)
            added.append(kept.alias(f"{column}{RETAINED}{number}"))
        added += [
            (there & (since == number)).cast(pl.Float64).alias(f"{MATURE}{number}")
            for number in dict.fromkeys(number for _, number in self._retention)
        ]
        return whole.with_columns(added).sort(*_KEYS, "day")

    def check(self, days: Days, user_column: str) -> None:
        """After the last part.

        Raises:
            TableError: absent user-days that nobody explained, or rows before their user joined.
        """
        if self._early:
            raise TableError(
                f"{user_column} {self._early_user} has rows before it joined.",
                f"{self._early:,} users have.",
                "Correct the day of joining, or drop those rows",
            )
        if self._first is not None:
            user, day = self._first
            raise TableError(
                f"{user_column} {user} has no row on day {days.shown(day)}.",
                f"{self._count:,} user-days are absent; what that means is yours to say.",
                "Nothing was done: --absent zero; not there yet: --absent not-at-risk, or "
                "--joined COLUMN with each user's first day",
            )
