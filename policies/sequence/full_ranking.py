"""Find the top of a whole catalogue for many users at once, without sorting the catalogue.

The catalogue is dealt into columns of 16; whatever is among the best ``size`` lies in one of the
``size`` columns with the highest maxima. One pass over the scores finds those, and only their items
are sorted.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

_DEPTH = 16
_CELLS = 6_000_000


class FullRanking:
    """Ranks every item by its inner product with a person's vector.

    Args:
        table: float32[n, dim], item vectors, n at least 1.
    """

    def __init__(self, table: NDArray[np.float32]) -> None:
        self._n = len(table)
        self._columns = -(-self._n // _DEPTH)
        padding = self._columns * _DEPTH - self._n
        # Padded once, so that scores can be folded without a copy.
        self._table = np.pad(table.astype(np.float32), ((0, padding), (0, 0)))

    def best(
        self,
        people: NDArray[np.float32],
        size: int,
        seen_row: NDArray[np.integer] | None = None,
        seen_item: NDArray[np.integer] | None = None,
    ) -> NDArray[np.int64]:
        """The best items, best first; of equal scores the lower index comes first.

        Args:
            people: float32[B, dim], finite.
            size: How many to return.
            seen_row: int[m], ascending; row of each item not to return.
            seen_item: int[m], those items.

        Returns:
            int64[B, size]; -1 where a person has fewer unseen items.
        """
        rows = np.zeros(0, dtype=np.int64) if seen_row is None else seen_row
        items = np.zeros(0, dtype=np.int64) if seen_item is None else seen_item
        found = np.full((len(people), size), -1, dtype=np.int64)
        kept = min(size, self._n)
        block = max(1, min(512, _CELLS // len(self._table)))
        scores = np.empty((min(block, len(people)), len(self._table)), dtype=np.float32)
        for at in range(0, len(people), block):
            here = people[at : at + block]
            own = scores[: len(here)]
            np.matmul(here, self._table.T, out=own)
            own[:, self._n :] = -np.inf
            low, high = np.searchsorted(rows, [at, at + len(here)])
            own[rows[low:high] - at, items[low:high]] = -np.inf
            found[at : at + block, :kept] = self._best(own, kept)
        return found

    def _best(self, scores: NDArray[np.float32], size: int) -> NDArray[np.int64]:
        if size >= self._columns:
            return _sorted(scores, size)
        maxima = torch.from_numpy(scores.reshape(len(scores), _DEPTH, -1).max(axis=1))
        top, column = torch.topk(maxima, size + 1)
        chosen = column[:, :size, None] + self._columns * torch.arange(_DEPTH)
        near = torch.gather(torch.from_numpy(scores), 1, chosen.flatten(1))
        value, place = torch.topk(near, size + 1)
        best = torch.gather(chosen.flatten(1), 1, place[:, :size]).numpy()
        best = np.where(value[:, :size].numpy() > -np.inf, best, -1)
        # Equal scores, or an equal column left out: topk promises no order, so sort in full.
        equal = ((value[:, 1:] == value[:, :-1]) & (value[:, 1:] > -torch.inf)).any(dim=1)
        equal |= (top[:, size] == top[:, size - 1]) & (top[:, size] > -torch.inf)
        tied = np.flatnonzero(equal.numpy())
        if len(tied):
            best[tied] = _sorted(scores[tied], size)
        return best


def _sorted(scores: NDArray[np.float32], size: int) -> NDArray[np.int64]:
    best = np.argsort(-scores, axis=1, kind="stable")[:, :size]
    return np.where(np.take_along_axis(scores, best, axis=1) > -np.inf, best, -1)
