"""Compute moments per group of a table of any size, in one pass.

The table comes in batches (of a Parquet file, the next is read while one is worked on), each batch
in blocks that stay in the processor's cache. A block gives moments of every group in it from sums
over values less the group's first mean; where a block's own mean is far from that one, in its
standard deviations, its values are centred once more (corrected two-pass). Blocks are joined by the
pairwise update. All of it is in Chan, Golub & LeVeque, The American Statistician 37, 1983: nothing
is lost where values are far from zero and close to each other.

Sums depend on the order of rows in their last digits. The order of the table is kept, so the same
file always gives the same bytes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from reports.statistics.errors import StatisticsError
from reports.statistics.moments import Float, Moments

Group = tuple[Any, ...]
"""Values of the grouping columns: ``("control",)``, or ``("control", "heavy")`` with a stratum."""

Codes = NDArray[np.int16]
Blocks = list[tuple[int, Moments]]
"""Group and moments, in the order of blocks and groups."""

# A few columns of a block fit into the second-level cache.
BLOCK = 16_000
BATCH = 8 * BLOCK
# BLAS hands longer dot products to other threads, which costs far more than it gains.
_LANE = 8_192
# One thread works on batches while this one reads the next. More of them would spend their time
# passing the interpreter's lock around: a block's operations take microseconds.
_WAITING = 2
# Up to here dot products of columns are faster than a matrix product.
_DOTTED_COLUMNS = 8
# Up to here looking for each group is faster than sorting.
_COMPARED_GROUPS = 6
# Share of a sum of squares that may be the square of the mean: costs less than one bit.
_DRIFT = 0.25


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
    groups = Groups(by)
    found: list[Moments] = []
    origins: list[Float] = []
    waiting: deque[Future[Blocks]] = deque()

    def collect(until: int) -> None:
        while len(waiting) > until:
            for code, part in waiting.popleft().result():
                if code == len(found):
                    found.append(part)
                else:
                    found[code] = found[code].merge(part)

    def submit(parts: list[_Rows]) -> None:
        for part in parts:
            while (origin := part.origin(len(origins))) is not None:
                origins.append(origin)
        waiting.append(pool.submit(_block_moments, parts, tuple(origins), columns))

    rest: _Rows | None = None
    with ThreadPoolExecutor(1) as pool:
        for batch in batches(table, [*by, *columns]):
            rows = _Rows(groups.codes(batch), tuple(batch[name].to_numpy() for name in columns))
            parts, rest = _whole_blocks(rest, rows)
            submit(parts)
            collect(_WAITING)
        if rest is not None:
            submit([rest])
        collect(0)
    return {
        name: moments._replace(mean=moments.mean + origin)
        for name, moments, origin in zip(groups.names, found, origins, strict=True)
    }


def batches(table: pl.LazyFrame | pl.DataFrame, columns: list[str]) -> Iterator[pl.DataFrame]:
    """Some columns of a table, in its order, never in memory as a whole."""
    if isinstance(table, pl.DataFrame):
        yield from table.select(columns).iter_slices(BATCH)
    else:
        # Without a size: to make batches of one size Polars copies them.
        yield from table.select(columns).collect_batches(maintain_order=True)


class _Rows(NamedTuple):
    """Rows of the table.

    Attributes:
        codes: [n], groups.
        values: [n] per column, of any type of numbers.
    """

    codes: Codes
    values: tuple[NDArray[Any], ...]

    def part(self, start: int, stop: int | None = None) -> _Rows:
        chosen = slice(start, stop)
        return _Rows(self.codes[chosen], tuple(column[chosen] for column in self.values))

    def joined(self, other: _Rows) -> _Rows:
        pairs = zip(self.values, other.values, strict=True)
        codes = np.concatenate([self.codes, other.codes])
        return _Rows(codes, tuple(np.concatenate(pair) for pair in pairs))

    def origin(self, code: int) -> Float | None:
        """float64[k], where a group's values are: its mean in its first block; None if absent."""
        first = int(np.argmax(self.codes == code))
        if not len(self.codes) or self.codes[first] != code:
            return None
        start = first - first % BLOCK
        codes, values = self.part(start, start + BLOCK)
        chosen = np.flatnonzero(codes == code)
        with np.errstate(over="ignore", invalid="ignore"):
            return np.array([column[chosen].mean(dtype=np.float64) for column in values])


def _whole_blocks(rest: _Rows | None, rows: _Rows) -> tuple[list[_Rows], _Rows | None]:
    """Parts of whole blocks, and what is left: how a file was cut must not show in the result."""
    parts = []
    if rest is not None:
        missing = BLOCK - len(rest.codes)
        first, rows = rest.joined(rows.part(0, missing)), rows.part(missing)
        if len(first.codes) < BLOCK:
            return [], first
        parts.append(first)
    whole = len(rows.codes) - len(rows.codes) % BLOCK
    if whole:
        parts.append(rows.part(0, whole))
    return parts, rows.part(whole) if whole < len(rows.codes) else None


@np.errstate(over="ignore", invalid="ignore")
def _block_moments(
    parts: Sequence[_Rows], origins: Sequence[Float], columns: Sequence[str]
) -> Blocks:
    """Of each group in each block, the means less the group's origin."""
    found: Blocks = []
    buffer = np.empty((len(columns), BLOCK))
    for codes, values in parts:
        for start in range(0, len(codes), BLOCK):
            block = slice(start, start + BLOCK)
            own = [column[block].astype(np.float64, copy=False) for column in values]
            for code, chosen in _positions(codes[block], len(origins)):
                rows = buffer[:, : len(chosen)]
                for row, column in zip(rows, own, strict=True):
                    # Other modes copy once more.
                    np.take(column, chosen, out=row, mode="clip")
                rows -= origins[code][:, None]
                found.append((code, _moments(rows)))
    if not all(np.isfinite(moments.cross.sum()) for _, moments in found):
        raise _not_finite(parts, columns)
    return found


def _positions(codes: Codes, groups: int) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """Each group that occurs in a block, and where, in order."""
    parts: Iterable[tuple[int, NDArray[np.intp]]]
    if groups <= _COMPARED_GROUPS:
        parts = ((code, np.flatnonzero(codes == code)) for code in range(groups))
    else:
        ends = np.bincount(codes, minlength=groups).cumsum()
        order = np.argsort(codes, kind="stable")
        parts = enumerate(np.split(order, ends[:-1]))
    return ((code, chosen) for code, chosen in parts if len(chosen))


def _moments(rows: Float) -> Moments:
    """Of one group in one block; the rows may be overwritten."""
    users = rows.shape[1]
    mean = rows.sum(axis=1) / users
    cross = _products(rows)
    left, drift = mean, mean * mean * users
    if not (drift <= _DRIFT * cross.diagonal()).all():
        rows -= mean[:, None]
        left = rows.sum(axis=1) / users
        cross = _products(rows)
        mean = mean + left
    return Moments(users, mean, cross - np.outer(left, left) * users)


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


class Groups:
    """Small whole numbers for groups, in order of first appearance.

    Comparing a column with each known value is several times faster than hashing it.

    Attributes:
        names: Of the groups.
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
        keys, first, inverse = np.unique(
            np.stack(parts, axis=1), axis=0, return_index=True, return_inverse=True
        )
        for key in map(tuple, keys[np.argsort(first)].tolist()):
            if key not in self._known:
                self._known[key] = len(self.names)
                self.names.append(tuple(v[i] for v, i in zip(self._levels, key, strict=True)))
        table = np.array([self._known[key] for key in map(tuple, keys.tolist())], dtype=np.int16)
        return np.asarray(table[inverse.ravel()])


def _level_codes(column: pl.Series, levels: list[Any]) -> Codes:
    """Positions of the values in ``levels``, which grows as needed."""
    if column.null_count():
        raise StatisticsError(
            f"column '{column.name}' has missing values.",
            f"{column.null_count():,} users belong to no group.",
            "Drop these users, or give them a value.",
        )
    equal = [column == level for level in levels]
    if sum(int(one.sum()) for one in equal) < len(column):
        known = pl.Series([False]).new_from_index(0, len(column))
        for one in equal:
            known |= one
        new = column.filter(~known).unique(maintain_order=True).to_list()
        levels += new
        equal += [column == level for level in new]
    codes = np.zeros(len(column), dtype=np.int16)
    for code, one in enumerate(equal[1:], 1):
        codes += np.int16(code) * one.to_numpy().view(np.int8)
    return codes


def _not_finite(parts: Sequence[_Rows], columns: Sequence[str]) -> StatisticsError:
    users = sum(len(part.codes) for part in parts)
    for k, name in enumerate(columns):
        bad = sum(int((~np.isfinite(part.values[k])).sum()) for part in parts)
        if bad:
            return StatisticsError(
                f"column '{name}' has missing or infinite values.",
                f"{bad:,} in a batch of {users:,} users.",
                "Fill them (a silent user counts as 0) or drop the users from both arms.",
            )
    return StatisticsError(
        "the values are too large.", "Their squares overflow.", "Use a larger unit."
    )
