"""Fit empirical quantile functions per cell, and compute the normal scores they induce.

A time (play, comment stay) is modelled as ``F_cell^-1(Phi(mu + sigma * z))`` with ``z`` standard
normal: the table carries the shape of the distribution, a network carries who and what shifts it.
With ``mu = 0`` and ``sigma = 1`` a cell's empirical distribution is reproduced exactly. Working
with quantiles inside duration groups removes the duration bias of watch time (Zhan et al.,
"Deconfounding Duration Bias in Watch-time Prediction", KDD 2022).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

Float64 = NDArray[np.float64]
Int = NDArray[np.integer]

LEVELS = 201
_MINIMUM_ROWS = 60


@dataclass(frozen=True)
class QuantileTable:
    """Quantile functions of a non-negative time, one per cell.

    Attributes:
        values: float64[C, LEVELS], quantiles at equally spaced levels from 0 to 1; each row is
            non-decreasing.
    """

    values: Float64

    @classmethod
    def fit(cls, value: Float64, cell: Int, n_cells: int, parent: Int) -> QuantileTable:
        """Estimate the table.

        Args:
            value: float64[N], observed times in ms.
            cell: int[N], 0 .. n_cells - 1.
            n_cells: Number of cells.
            parent: int[n_cells], group of each cell; a cell with fewer than 60 rows takes the
                quantiles of its group, an empty group those of all rows.

        Returns:
            The table; all zero when there are no rows at all.
        """
        levels = np.linspace(0.0, 1.0, LEVELS)
        rows = np.zeros((n_cells, LEVELS))
        if len(value):
            overall = np.quantile(value, levels)
            for index in range(n_cells):
                inside = value[cell == index]
                if len(inside) < _MINIMUM_ROWS:
                    inside = value[parent[cell] == parent[index]]
                rows[index] = (
                    np.quantile(inside, levels) if len(inside) >= _MINIMUM_ROWS else overall
                )
        return cls(rows)

    def score(self, value: Float64, cell: Int) -> Float64:
        """Normal score of each value inside its cell, float64[N]; ties take their middle rank."""
        level = np.zeros(len(value))
        grid = np.linspace(0.0, 1.0, LEVELS)
        for index in np.unique(cell):
            inside = cell == index
            row = self.values[index]
            left = np.searchsorted(row, value[inside], side="left")
            right = np.searchsorted(row, value[inside], side="right")
            between = np.interp(value[inside], row, grid)
            tied = right - left > 1
            level[inside] = np.where(tied, (left + right - 1) / 2 / (LEVELS - 1), between)
        edge = 0.5 / (LEVELS - 1)
        return np.asarray(ndtri(np.clip(level, edge, 1.0 - edge)), dtype=np.float64)

    def value(self, score: Float64, cell: Int) -> Float64:
        """Times with these normal scores, float64 of the broadcast shape of the arguments."""
        place = ndtr(score) * (LEVELS - 1)
        low = np.clip(place.astype(np.int64), 0, LEVELS - 2)
        fraction = place - low
        return np.asarray(
            self.values[cell, low] * (1.0 - fraction) + self.values[cell, low + 1] * fraction
        )
