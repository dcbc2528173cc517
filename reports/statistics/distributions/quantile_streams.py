"""Compute quantiles per group of a table of any size, with their intervals.

Nothing is approximated: the values at the ranks that an interval needs are found by reading the
table several times (``order_statistics``), and the clustered error of a share is a ratio of whole
numbers, the sums and products of users' counts, added up exactly.

In memory are one batch, half a megabyte of counts per rank and group, and the last user of each
group, if a group's rows come sorted by user. Where they do not, the counts of every user are held
besides: two numbers and the id.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import polars as pl

from reports.statistics.distributions.order_statistics import order_statistics
from reports.statistics.distributions.quantiles import (
    QuantileEstimate,
    check_quantile,
    middle_rank,
    needed_ranks,
    quantile_of_ranks,
    same_shares,
)
from reports.statistics.distributions.streams import Group, Groups, batches
from reports.statistics.errors import StatisticsError
from reports.statistics.moments import Float


def grouped_quantiles(
    table: pl.LazyFrame | pl.DataFrame,
    column: str,
    quantile: float,
    *,
    by: Sequence[str] = ("arm",),
    user: str | None = None,
    confidence: float = 0.95,
) -> dict[Group, QuantileEstimate]:
    """Quantile of a column in every group, as ``quantile_estimate`` gives it.

    Args:
        table: One row per value. A lazy table is never in memory as a whole.
        column: Of numbers.
        quantile: q, between 0 and 1.
        by: Columns whose values make the groups, a few dozen at most.
        user: Column of whose value it is; None if each is of another user. Takes the least memory
            if rows are sorted by it.
        confidence: Of the intervals.

    Raises:
        StatisticsError: fewer than two users in a group, a value, group or user that is missing, or
            a quantile outside (0, 1).
    """
    source = _Scan(table, column, tuple(by))
    sizes = source.sizes()
    for size in sizes:
        check_quantile(size, quantile)
    shares: list[tuple[int, float] | None] = [None] * len(sizes)
    if user is not None:
        middles = order_statistics(source.read, [[middle_rank(n, quantile)] for n in sizes])
        shares = [*_share_errors(source, user, [value for (value,) in middles])]
    ranks = [
        needed_ranks(n, quantile, one, confidence=confidence)
        for n, one in zip(sizes, shares, strict=True)
    ]
    found = {}
    values = order_statistics(source.read, ranks)
    for name, n, one, places, own in zip(source.names, sizes, shares, ranks, values, strict=True):
        known = dict(zip(places, own, strict=True))

        def at(asked: Sequence[int], known: dict[int, float] = known) -> list[float]:
            return [known[rank] for rank in asked]

        def share_error(_: float, one: tuple[int, float] | None = one) -> tuple[int, float]:
            assert one is not None
            return one

        found[name] = quantile_of_ranks(
            n, quantile, at, None if one is None else share_error, confidence=confidence
        )
    return found


class _Scan:
    """A table that is read again and again, group by group."""

    def __init__(
        self, table: pl.LazyFrame | pl.DataFrame, column: str, by: tuple[str, ...]
    ) -> None:
        self.table, self.column, self.by = table, column, by
        self._groups = Groups(by)

    @property
    def names(self) -> list[Group]:
        """Of the groups, once all rows have been read."""
        return self._groups.names

    def sizes(self) -> list[int]:
        """Values per group."""
        counts: np.ndarray[Any, Any] = np.zeros(0, dtype=np.int64)
        for batch in batches(self.table, list(self.by)):
            codes = self._groups.codes(batch)
            own = np.bincount(codes, minlength=len(self.names))
            own[: len(counts)] += counts
            counts = own
        return [int(count) for count in counts]

    def read(self) -> Iterator[list[Float]]:
        """Batches: the values of every group."""
        for values, _ in self.rows(None):
            yield values

    def rows(self, user: str | None) -> Iterator[tuple[list[Float], list[pl.Series]]]:
        """Batches: values and users of every group, in the order of the table."""
        needed = [*self.by, self.column, *([] if user is None else [user])]
        for batch in batches(self.table, list(dict.fromkeys(needed))):
            codes = self._groups.codes(batch)
            values = batch[self.column].cast(pl.Float64).to_numpy()
            chosen = [np.flatnonzero(codes == code) for code in range(len(self.names))]
            users = [] if user is None else [batch[user].gather(own) for own in chosen]
            yield [values[own] for own in chosen], users


@dataclass
class _Shares:
    """Sums over users of the number of values, s, and of those at or below a value, f."""

    value: float
    users: int = 0
    sums: tuple[int, int] = (0, 0)
    squares: tuple[int, int, int] = (0, 0, 0)
    last: Any = None
    rest: tuple[int, int] = (0, 0)

    def add(self, values: Float, users: pl.Series) -> bool:
        """Rows sorted by user; False, and of no further use, if they are not."""
        if len(users) == 0:
            return True
        if not users.is_sorted() or (self.last is not None and users[0] < self.last):
            return False
        new = (users != users.shift()).fill_null(True).to_numpy()
        starts = np.flatnonzero(new)
        sizes = np.diff(starts, append=len(users))
        flagged = np.add.reduceat(values <= self.value, starts, dtype=np.int64)
        if users[0] == self.last:
            sizes[0] += self.rest[0]
            flagged[0] += self.rest[1]
        elif self.last is not None:
            self.count(np.array([self.rest[0]]), np.array([self.rest[1]]))
        self.count(sizes[:-1], flagged[:-1])
        self.last, self.rest = users[-1], (int(sizes[-1]), int(flagged[-1]))
        return True

    def count(self, sizes: np.ndarray[Any, Any], flagged: np.ndarray[Any, Any]) -> None:
        """Whole users."""
        s, f = sizes.astype(np.int64), flagged.astype(np.int64)
        self.users += len(s)
        self.sums = (self.sums[0] + int(s.sum()), self.sums[1] + int(f.sum()))
        products = (int(s @ s), int(s @ f), int(f @ f))
        ss, sf, ff = (a + b for a, b in zip(self.squares, products, strict=True))
        self.squares = (ss, sf, ff)

    def error(self) -> tuple[int, float]:
        """Users, and the standard error of the share; see ``quantiles``."""
        if self.last is not None:
            self.count(np.array([self.rest[0]]), np.array([self.rest[1]]))
            self.last = None
        m = self.users
        if m < 2:
            raise StatisticsError("a quantile needs at least two users.", f"There are {m}.")
        size, flagged = self.sums
        ss, sf, ff = self.squares
        p = Fraction(flagged, size)
        residual = ff - 2 * p * sf + p * p * ss
        if residual == 0:
            raise same_shares(m)
        variance = residual / (m * (m - 1)) * Fraction(m, size) ** 2
        return m, float(np.sqrt(float(variance)))


def _share_errors(source: _Scan, user: str, values: Sequence[float]) -> Iterator[tuple[int, float]]:
    """Users and the error of the share at or below a value, per group."""
    found = [_Shares(value) for value in values]
    for columns, users in source.rows(user):
        for own, column, ids in zip(found, columns, users, strict=True):
            if ids.null_count():
                raise StatisticsError(
                    f"column '{user}' has missing values.",
                    f"{ids.null_count():,} in a batch of {len(ids):,} rows.",
                    "Every value needs its user.",
                )
            if not own.add(column, ids):
                yield from _unsorted_errors(source, user, values)
                return
    for own in found:
        yield own.error()


def _unsorted_errors(
    source: _Scan, user: str, values: Sequence[float]
) -> Iterator[tuple[int, float]]:
    """The same of rows in any order, with the counts of every user in memory."""
    for name, value in zip(source.names, values, strict=True):
        here = [pl.col(c) == level for c, level in zip(source.by, name, strict=True)]
        counts = (
            source.table.lazy()
            .filter(*here)
            .group_by(user)
            .agg(pl.len().alias("s"), (pl.col(source.column) <= value).sum().alias("f"))
            .select("s", "f")
            .collect(engine="streaming")
        )
        own = _Shares(value)
        own.count(counts["s"].to_numpy(), counts["f"].to_numpy())
        yield own.error()
