"""Compute sums of rows over runs and lists of rows, by products with a sparse matrix of ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]


def run_sums(values: Floats, first: NDArray[np.integer[Any]]) -> Floats:
    """Sums of consecutive rows.

    Args:
        values: float[n, k].
        first: int[R], where each run begins; ascending, the first is 0.

    Returns:
        float[R, k], of the values' type.
    """
    ones = np.ones(len(values), dtype=values.dtype)
    ends = np.append(first, len(values))
    runs = sp.csr_matrix((ones, np.arange(len(values)), ends), shape=(len(first), len(values)))
    return np.asarray(runs @ values)


def listed_sums(table: Floats, index: NDArray[np.integer[Any]]) -> Floats:
    """Sums of the rows of a table that lists name.

    Args:
        table: float[m, k].
        index: int[B, n], rows of the table; -1 is none.

    Returns:
        float[B, k], of the table's type.
    """
    known = index >= 0
    rows = index[known]
    ends = np.append(0, np.cumsum(known.sum(axis=1)))
    ones = np.ones(len(rows), dtype=table.dtype)
    lists = sp.csr_matrix((ones, rows, ends), shape=(len(index), len(table)))
    return np.asarray(lists @ table)
