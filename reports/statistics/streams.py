"""Moments of a table of any size, per group of users, in one pass and bounded memory.

The table comes in batches (of a Parquet file, the next is read while one is worked on), each batch
in blocks that stay in the processor's cache. A block gives two-pass moments of every group in it,
and blocks are joined by the pairwise update (Chan, Golub & LeVeque, The American Statistician 37,
1983). All values are first moved by the first block's means: nothing is lost where they are far
from zero and close to each other.

Sums depend on the order of rows in their last digits. The order of the table is kept, so the same
file always gives the same bytes.
"""

from __future__ import annotations

import itertools
import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from reports.statistics.errors import StatisticsError
from reports.statistics.moments import Float, Moments

Group = tuple[Any, ...]
"""Values of the grouping columns: ``("control",)``, or ``("control", "heavy")`` with a stratum."""

Codes = NDArray[np.int16]

# A few columns of a block fit into the second-level cache.
BLOCK = 32_768
BATCH = 131_072
# BLAS hands longer dot products to other threads, which costs far more than it gains.
_LANE = 8_192
# Batches are worked on side by side, and joined in their order.
_THREADS = min(4, os.cpu_count() or 1)
# Up to here dot products of columns are faster than a matrix product.
_DOTTED_COLUMNS = 8


def grouped_moments(
    table: pl.LazyFrame | pl.DataFrame, columns: Sequence[str], *, by: Sequence[str] = ("arm",)
) -> dict[Group, Moments]:
    """Moments of some columns in every group; the table is read once.

    Args:
        table: One row per user. A lazy table is never in memory as a whole.
        columns: Of numbers, in the order of the moments.
        by: Columns whose values make the groups, a few dozen at most.

    Raises:
        StatisticsError: a value or a group is missing or infinite; names the column.
    """
    groups = _Groups(by)
    found: list[Moments] = []
    origin: Float | None = None
    waiting: deque[Future[list[Moments]]] = deque()

    def collect(until: int) -> None:
        while len(waiting) > until:
            for code, part in enumerate(waiting.popleft().result()):
                if code == len(found):
                    found.append(part)
                else:
                    found[code] = found[code].merge(part)

    with ThreadPoolExecutor(_THREADS) as pool:
        for batch in _batches(table, [*by, *columns]):
            codes = groups.codes(batch)
            if origin is None:
                origin = np.array([_level(batch[name]) for name in columns])
            waiting.append(pool.submit(_batch_moments, batch.select(columns), codes, origin))
            collect(_THREADS)
        collect(0)
    if origin is None:
        return {}
    return {
        name: moments._replace(mean=moments.mean + origin)
        for name, moments in zip(groups.names, found, strict=True)
    }


def _level(column: pl.Series) -> float:
    return float(column.head(BLOCK).to_numpy().mean())


def _batches(table: pl.LazyFrame | pl.DataFrame, columns: list[str]) -> Iterator[pl.DataFrame]:
    if isinstance(table, pl.DataFrame):
        yield from table.select(columns).iter_slices(BATCH)
    else:
        yield from table.select(columns).collect_batches(chunk_size=BATCH, maintain_order=True)


def _batch_moments(batch: pl.DataFrame, codes: Codes, origin: Float) -> list[Moments]:
    """Moments of each group, the means less the origin."""
    k = batch.width
    found = [Moments(0, np.zeros(k), np.zeros((k, k)))] * (int(codes.max()) + 1)
    values = [column.to_numpy() for column in batch]
    buffer = np.empty((k, min(BLOCK, batch.height)))
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, batch.height, BLOCK):
            block = slice(start, start + BLOCK)
            rows, ends = _by_group(values, block, codes[block], buffer)
            for code, (first, last) in enumerate(itertools.pairwise([0, *ends])):
                if last > first:
                    found[code] = found[code].merge(_moments(rows[:, first:last], origin))
    if not all(np.isfinite(moments.cross.sum()) for moments in found):
        raise _not_finite(batch)
    return found


def _by_group(
    values: Sequence[NDArray[Any]], block: slice, codes: Codes, buffer: Float
) -> tuple[Float, list[int]]:
    """Rows of a block sorted by group, float64[k, n], and where each group ends."""
    rows = buffer[:, : len(codes)]
    ends = np.cumsum(np.bincount(codes)).tolist()
    if len(ends) == 1:
        for row, column in zip(rows, values, strict=True):
            row[:] = column[block]
        return rows, ends
    order = np.argsort(codes, kind="stable")
    for row, column in zip(rows, values, strict=True):
        own = column[block].astype(np.float64, copy=False)
        np.take(own, order, out=row, mode="clip")  # Other modes copy once more.
    return rows, ends


def _moments(rows: Float, origin: Float) -> Moments:
    """Of one group by the corrected two-pass formula (``Moments.of``), less the origin.

    The rows are overwritten.
    """
    users = rows.shape[1]
    mean = rows.sum(axis=1) / users
    rows -= mean[:, None]
    left = rows.sum(axis=1) / users
    return Moments(users, (mean - origin) + left, _products(rows) - np.outer(left, left) * users)


def _products(rows: Float) -> Float:
    k = len(rows)
    if k > _DOTTED_COLUMNS:
        return np.asarray(rows @ rows.T)
    cross = np.empty((k, k))
    for i, row in enumerate(rows):
        cross[i, : i + 1] = cross[: i + 1, i] = _dot(rows[: i + 1], row)
    return cross


def _dot(rows: Float, row: Float) -> Float:
    """float64[k], dot product of each row with one, in lanes."""
    whole = rows.shape[1] - rows.shape[1] % _LANE
    total = np.vecdot(rows[:, whole:], row[whole:])
    if whole:
        lanes = np.vecdot(
            rows[:, :whole].reshape(len(rows), -1, _LANE), row[:whole].reshape(-1, _LANE)
        )
        total = total + lanes.sum(axis=1)
    return np.asarray(total)


class _Groups:
    """Small whole numbers for groups, in order of first appearance.

    Comparing a column with each known value is several times faster than hashing it.
    """

    def __init__(self, by: Sequence[str]) -> None:
        self._by = list(by)
        self._levels: list[list[Any]] = [[] for _ in by]
        self._known: dict[tuple[int, ...], int] = {}
        self.names: list[Group] = []

    def codes(self, batch: pl.DataFrame) -> Codes:
        """int16[n], positions in ``names``, which grows as needed."""
        parts = [
            _level_codes(batch[name], levels)
            for name, levels in zip(self._by, self._levels, strict=True)
        ]
        if len(parts) == 1:
            self.names = [(level,) for level in self._levels[0]]
            return parts[0]
        keys, inverse = np.unique(np.stack(parts, axis=1), axis=0, return_inverse=True)
        for key in map(tuple, keys.tolist()):
            if key not in self._known:
                self._known[key] = len(self.names)
                self.names.append(tuple(v[i] for v, i in zip(self._levels, key, strict=True)))
        table = np.array([self._known[key] for key in map(tuple, keys.tolist())], dtype=np.int16)
        return table[inverse.ravel()]


def _level_codes(column: pl.Series, levels: list[Any]) -> Codes:
    """Positions of the values in ``levels``, which grows as needed."""
    if column.null_count():
        raise StatisticsError(
            f"column '{column.name}' has missing values.",
            f"{column.null_count():,} users belong to no group.",
            "Drop these users, or give them a value.",
        )
    codes = np.full(len(column), -1, dtype=np.int16)
    left = len(column)
    for code, level in enumerate(levels):
        equal = (column == level).to_numpy()
        codes += (code + 1) * equal.view(np.int8)
        left -= int(np.count_nonzero(equal))
    if left:
        for level in column.filter(pl.Series(codes < 0)).unique(maintain_order=True):
            levels.append(level)
            codes += len(levels) * (column == level).to_numpy()
    return codes


def _not_finite(batch: pl.DataFrame) -> StatisticsError:
    for column in batch:
        bad = int((~np.isfinite(column.to_numpy().astype(np.float64))).sum())
        if bad:
            return StatisticsError(
                f"column '{column.name}' has missing or infinite values.",
                f"{bad:,} in a batch of {batch.height:,} users.",
                "Fill them (a silent user counts as 0) or drop the users from both arms.",
            )
    return StatisticsError(
        "the values are too large.", "Their squares overflow.", "Use a larger unit."
    )
