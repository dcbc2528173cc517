"""Measure held-out quality of probabilities and quantiles; all inputs are plain arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

Float64 = NDArray[np.float64]


def auc(label: NDArray[np.integer], score: Float64) -> float | None:
    """Area under the ROC curve by the Mann-Whitney statistic; None with one class only."""
    positive = int((label == 1).sum())
    negative = len(label) - positive
    if positive == 0 or negative == 0:
        return None
    ranks = rankdata(score)
    return float((ranks[label == 1].sum() - positive * (positive + 1) / 2) / (positive * negative))


def calibration_error(label: NDArray[np.integer], probability: Float64, bins: int = 10) -> float:
    """Expected calibration error over bins of equal size (Naeini et al., AAAI 2015)."""
    order = np.argsort(probability, kind="stable")
    total = 0.0
    for part in np.array_split(order, min(bins, len(order))):
        total += len(part) * abs(float(label[part].mean() - probability[part].mean()))
    return total / len(order)


def brier(label: NDArray[np.integer], probability: Float64 | float) -> float:
    """Mean squared error of a probability."""
    return float(np.mean((label - probability) ** 2))


def pinball(value: NDArray[np.number], quantile: Float64 | float, level: float) -> float:
    """Mean pinball loss of a predicted quantile (Koenker & Bassett, Econometrica 1978)."""
    error = value - quantile
    return float(np.mean(np.maximum(level * error, (level - 1.0) * error)))
