"""Find exact order statistics of any number of values in bounded memory.

A float64 read as a whole number (negative ones turned round) sorts as the float does, so the k-th
smallest value is found 16 bits at a time: count the leading 16 bits of all values, go on with the
values that share the bits of the k-th one (radix selection; Knuth, The Art of Computer Programming
3, 1998, 5.2.5). The values are read once per step; as soon as few enough are left they are held and
partitioned. At most four readings, mostly two or three.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reports.statistics.errors import StatisticsError
from reports.statistics.moments import Float, finite_table

HELD = 262_144
"""Values of one search that are held in memory."""

_STEP = 16
_BITS = 64
_SIGN = np.uint64(1 << 63)

Read = Callable[[], Iterable[Sequence[ArrayLike]]]
"""Starts reading anew: blocks, each with an array of values per collection."""


def order_statistics(
    read: Read, ranks: Sequence[Sequence[int]], *, held: int = HELD
) -> list[list[float]]:
    """Values at given places of the sorted values of several collections, read side by side.

    Args:
        read: Starts reading anew and yields blocks: float[n] for every collection, the same values
            in every reading.
        ranks: Per collection, places from 1 to its number of values.
        held: Values held at once for one place, about 9 bytes each; beside them 0.5 MB of counts.

    Returns:
        Per collection, a value for each of its ranks.

    Raises:
        StatisticsError: a value is missing or infinite, or a rank is beyond the values.
    """
    searches = [_Search(places, held) for places in ranks]
    while any(search.open for search in searches):
        for block in read():
            for search, values in zip(searches, block, strict=True):
                if search.open:
                    search.add(values)
        for search in searches:
            search.step()
    return [search.values() for search in searches]


def interpolated(values: Sequence[float], place: float) -> float:
    """Between two neighbouring order statistics, as ``np.quantile`` does it.

    Args:
        values: At the places below and above, as ``neighbours`` names them.
        place: From ``neighbours``.
    """
    low, high = values
    share = place % 1.0
    gap = high - low
    return high - gap * (1.0 - share) if share >= 0.5 else low + gap * share


def neighbours(users: int, quantile: float) -> tuple[float, list[int]]:
    """Place of a quantile from 0 (linear interpolation: Hyndman & Fan's type 7), and two ranks."""
    place = (users - 1) * quantile
    return place, [int(place) + 1, min(int(place) + 2, users)]


class _Search:
    """All ranks of one collection."""

    def __init__(self, ranks: Sequence[int], held: int) -> None:
        self._ranks = list(ranks)
        self._held = held
        self._found: dict[int, float] = {}
        self._bins = [_Bin(0, 0, {rank: rank for rank in ranks}, collect=held)] if ranks else []

    @property
    def open(self) -> bool:
        """Whether there is anything left to look for."""
        return bool(self._bins)

    def add(self, values: ArrayLike) -> None:
        """A block of values."""
        keys = _keys(finite_table(values)[:, 0])
        for one in self._bins:
            one.add(keys)

    def step(self) -> None:
        """After a reading."""
        following = []
        for one in self._bins:
            found, narrower = one.split(self._held)
            self._found |= found
            following += narrower
        self._bins = following

    def values(self) -> list[float]:
        return [self._found[rank] for rank in self._ranks]


class _Bin:
    """The values that share some leading bits.

    Args:
        prefix: The bits.
        known: How many.
        ranks: Of the collection, and what they are among these values.
        collect: Hold the values as long as they are not more than this.
    """

    def __init__(self, prefix: int, known: int, ranks: dict[int, int], *, collect: int) -> None:
        self._prefix, self._known, self._ranks = prefix, known, ranks
        self._collect = collect
        self._kept: list[NDArray[np.uint64]] = []
        self._counts = np.zeros(1 << _STEP, dtype=np.int64)
        self._size = 0

    def add(self, keys: NDArray[np.uint64]) -> None:
        if self._known:
            keys = keys[(keys >> np.uint64(_BITS - self._known)) == np.uint64(self._prefix)]
        self._size += len(keys)
        if self._size <= self._collect:
            self._kept.append(keys)
        else:
            self._kept = []
        if self._known < _BITS:
            shifted = keys >> np.uint64(_BITS - self._known - _STEP)
            low = (shifted & np.uint64((1 << _STEP) - 1)).astype(np.int64)
            self._counts += np.bincount(low, minlength=1 << _STEP)

    def split(self, held: int) -> tuple[dict[int, float], list[_Bin]]:
        """Values found, and narrower bins for the ranks that are not."""
        outside = [rank for rank, inner in self._ranks.items() if not 1 <= inner <= self._size]
        if outside:
            raise StatisticsError(
                "there is no such order statistic.", f"Rank {outside[0]:,} of {self._size:,}."
            )
        if self._size <= self._collect:
            return self._partitioned(), []
        ends = self._counts.cumsum()
        wanted: dict[int, dict[int, int]] = {}
        for rank, inner in self._ranks.items():
            cell = int(np.searchsorted(ends, inner))
            before = int(ends[cell - 1]) if cell else 0
            wanted.setdefault(cell, {})[rank] = inner - before
        known = self._known + _STEP
        found: dict[int, float] = {}
        narrower = []
        for cell, ranks in wanted.items():
            prefix = (self._prefix << _STEP) | cell
            if known == _BITS:
                found |= dict.fromkeys(ranks, _value(prefix))
            else:
                narrower.append(_Bin(prefix, known, ranks, collect=held))
        return found, narrower

    def _partitioned(self) -> dict[int, float]:
        kept = np.concatenate(self._kept)
        places = sorted({inner - 1 for inner in self._ranks.values()})
        kept.partition(places)
        return {rank: _value(int(kept[inner - 1])) for rank, inner in self._ranks.items()}


def _keys(values: Float) -> NDArray[np.uint64]:
    """Whole numbers in the order of the values; both zeros are one."""
    bits = (values + 0.0).view(np.uint64)
    return np.asarray(np.where(bits & _SIGN, ~bits, bits | _SIGN))


def _value(key: int) -> float:
    number = np.array([key], dtype=np.uint64)
    bits = np.where(number & _SIGN, number ^ _SIGN, ~number)
    return float(bits.view(np.float64)[0])
