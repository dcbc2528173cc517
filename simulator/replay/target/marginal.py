"""Weigh choices by a feature of what is chosen, such as the category of a video."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]


def marginal_weights(
    chance: Float64,
    logging: NDArray[np.floating],
    feature: NDArray[np.integer],
    at: NDArray[np.integer],
) -> tuple[Float64, Float64]:
    """The weights of `simulator.replay.estimators.rows.Candidates.marginal_weights`, for a block.

    Args:
        chance: float64[B, C], target probabilities; 0 for padding.
        logging: float[B, C], the log's probabilities; 0 for padding.
        feature: int[B, C], code of each candidate's feature, from 0.
        at: int[B], column of what was shown.

    Returns:
        Weight of what was shown and expected squared weight under the log's policy, float64[B]
        each.
    """
    row = np.arange(len(chance))
    cell = row[:, None] * (int(feature.max(initial=0)) + 1) + feature
    group = np.unique(cell, return_inverse=True)[1].reshape(chance.shape)
    logged = np.where(logging > 0, logging, 0.0).astype(np.float64)
    top = np.bincount(group.ravel(), weights=chance.ravel())
    bottom = np.bincount(group.ravel(), weights=logged.ravel())
    weight = np.where(bottom > 0, top / np.where(bottom > 0, bottom, 1.0), 0.0)[group]
    return weight[row, at], (logged * weight**2).sum(axis=1)


def places_in_order(
    scores: NDArray[np.floating], listed: NDArray[np.bool_], at: NDArray[np.integer]
) -> NDArray[np.int64]:
    """int64[B, 2]: first place that a ranker gives what was shown, and the one after its last.

    They differ by more than one where scores are tied.

    Args:
        scores: float[B, C] of the whole list, whatever stands above.
        listed: bool[B, C], False for padding.
        at: int[B], column of what was shown.
    """
    own = np.take_along_axis(scores, at[:, None], axis=1)
    first = (listed & (scores > own)).sum(axis=1)
    return np.stack([first, first + (listed & (scores == own)).sum(axis=1)], axis=1)
