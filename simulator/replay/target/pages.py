"""Multiply numbers down the rows of each page."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]


def ranks_on_page(page: NDArray[np.int64]) -> NDArray[np.int64]:
    """int64[N]: place of each row on its page, from 0; rows of a page stand together, in order."""
    number = np.arange(len(page))
    first = np.ones(len(page), dtype=bool)
    first[1:] = page[1:] != page[:-1]
    return np.asarray(number - np.maximum.accumulate(np.where(first, number, 0)), dtype=np.int64)


def cumulative_products(values: Float64, page: NDArray[np.int64]) -> Float64:
    """float64[N]: product of the values of a page down to each row."""
    rank = ranks_on_page(page)
    out = values.astype(np.float64, copy=True)
    for depth in range(1, int(rank.max(initial=0)) + 1):
        at = np.flatnonzero(rank == depth)
        out[at] *= out[at - 1]
    return out
