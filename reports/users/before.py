"""Turn what is known from before the experiment into one number per user.

A user may have several rows. A covariate missing in some of them is not missing for the user, and
the mean that stands in for a missing one is over users, however many rows each has.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import fsum

import polars as pl

from reports.users.rows import BEFORE, Aggregation

PRE = "pre_"
_KEYS = ("arm", "user_id")


class KnownBefore:
    """Means over users of what is known from before, and what is said about it."""

    def __init__(self) -> None:
        self._sums: dict[str, list[float]] = {}
        self._counts: dict[str, int] = {}
        self._missing: dict[str, int] = {}
        self._several: dict[str, int] = {}

    def see(self, before: pl.DataFrame | None, several: Mapping[str, int]) -> None:
        """Count the users of a part.

        Args:
            before: A row per user, as in ``UserFrames``.
            several: Users with several values, by covariate.
        """
        if before is None:
            return
        for name in before.columns[len(_KEYS) :]:
            own, plain = before[name], name.removeprefix(BEFORE)
            empty = own.null_count()
            self._sums.setdefault(plain, []).append(float(own.sum()))
            self._counts[plain] = self._counts.get(plain, 0) + len(own) - empty
            self._missing[plain] = self._missing.get(plain, 0) + empty
            self._several[plain] = self._several.get(plain, 0) + several.get(plain, 0)

    def filled(self, before: pl.DataFrame, by_day: bool) -> pl.DataFrame:
        """Missing values become the mean of the users who have one.

        ``pre_X`` is X before; unless the days before the start say what X was.
        """
        plain = {name: name.removeprefix(BEFORE) for name in before.columns[len(_KEYS) :]}
        means = {
            name: fsum(self._sums[own]) / self._counts[own]
            for name, own in plain.items()
            if self._counts[own]
        }
        names = plain if by_day else {a: b.removeprefix(PRE) for a, b in plain.items()}
        return before.with_columns(
            pl.col(name).fill_null(mean) for name, mean in means.items()
        ).rename(names)

    def notes(self) -> list[str]:
        """Sentences about what was filled in and what was chosen."""
        filled = [
            f"{count:,} users have no '{name}'; the mean of all users was taken"
            for name, count in self._missing.items()
            if count
        ]
        return filled + [
            f"{count:,} users have several values of '{name}'; the first was taken. "
            f"Another choice: --covariate {name}:mean"
            for name, count in self._several.items()
            if count
        ]


def one_number(column: pl.Expr, how: Aggregation) -> pl.Expr:
    """Of the rows of a user; missing only if all are."""
    there = column.drop_nulls()
    if how == "sum":
        return pl.when(column.count() > 0).then(column.sum()).alias(column.meta.output_name())
    chosen: pl.Expr = getattr(there, how)()
    return chosen
