"""Batch sequences of similar lengths, so that little of them is padding."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

_ROWS = 64
_SPREAD = 12
_WORTH = 384


def length_blocks(lengths: NDArray[np.integer]) -> Iterator[NDArray[np.intp]]:
    """Blocks of at most 64 rows of similar lengths, sorted; few rows are not split finely.

    A block has a fixed cost, about that of 384 padded tokens.

    Args:
        lengths: int[n].

    Yields:
        int[k], rows; every row is in one block.
    """
    order = np.argsort(lengths, kind="stable")
    ordered = lengths[order]
    spread = max(_SPREAD, _WORTH // max(len(order), 1))
    start = 0
    while start < len(order):
        alike = int(np.searchsorted(ordered, ordered[start] + spread, side="right"))
        stop = min(start + _ROWS, alike)
        yield order[start:stop]
        start = stop
