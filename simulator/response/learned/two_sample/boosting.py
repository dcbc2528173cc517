"""Classify rows by gradient boosting, in numpy: no optional package, and the same on any machine.

Gradient boosting of the log loss (Friedman, Annals of Statistics 29, 2001) with Newton leaves and
symmetric trees, in which all nodes of a level ask the same question (Prokhorenkova et al.,
"CatBoost", NeurIPS 2018). Features are cut into at most 32 bins at their quantiles.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

Float64 = NDArray[np.float64]
Bins = NDArray[np.uint8]

_BINS = 32
_DEPTH = 3
_TREES = 100
_RATE = 0.1
_RIDGE = 1.0
_LEAST_GAIN = 1e-6


@dataclass(frozen=True)
class _Tree:
    """Questions ``bin[:, feature] > cut`` in order, and what each combination of answers adds."""

    features: list[int]
    cuts: list[int]
    values: Float64

    def leaf(self, bins: Bins) -> NDArray[np.int64]:
        place = np.zeros(len(bins), dtype=np.int64)
        for feature, cut in zip(self.features, self.cuts, strict=True):
            place = 2 * place + (bins[:, feature] > cut)
        return place


class Boosting:
    """A binary classifier; deterministic given the rows and their order."""

    def __init__(self) -> None:
        self._edges: list[Float64] = []
        self._trees: list[_Tree] = []
        self._base = 0.0

    def fit(self, x: Float64, label: NDArray[np.bool_]) -> Boosting:
        """Fit to float64[n, k], finite, and bool[n] with both classes in it."""
        levels = np.linspace(0.0, 1.0, _BINS + 1)[1:-1]
        self._edges = [np.unique(np.quantile(column, levels)) for column in x.T]
        bins = self._binned(x)
        share = label.mean()
        self._base = float(np.log(share / (1.0 - share)))
        score = np.full(len(x), self._base)
        self._trees = []
        for _ in range(_TREES):
            chance = expit(score)
            tree = _grown(bins, label - chance, chance * (1.0 - chance))
            if tree is None:
                break
            score += tree.values[tree.leaf(bins)]
            self._trees.append(tree)
        return self

    def score(self, x: Float64) -> Float64:
        """float64[n]: log odds of the class True."""
        bins = self._binned(x)
        total = np.full(len(x), self._base)
        for tree in self._trees:
            total += tree.values[tree.leaf(bins)]
        return total

    def _binned(self, x: Float64) -> Bins:
        columns = [np.searchsorted(e, x[:, j], side="left") for j, e in enumerate(self._edges)]
        return np.stack(columns, axis=1).astype(np.uint8)


def _grown(bins: Bins, gradient: Float64, hessian: Float64) -> _Tree | None:
    """The next tree; None if no question gains anything."""
    rows, width = bins.shape
    place = np.zeros(rows, dtype=np.int64)
    features: list[int] = []
    cuts: list[int] = []
    column = np.arange(width) * _BINS + bins
    for level in range(_DEPTH):
        leaves = 2**level
        cell = (place[:, None] * (width * _BINS) + column).ravel()
        shape = (leaves, width, _BINS)
        size = leaves * width * _BINS
        g, h = (
            np.bincount(cell, np.repeat(weight, width), size).reshape(shape).cumsum(axis=2)
            for weight in (gradient, hessian)
        )
        whole_g, whole_h = g[:, :, -1:], h[:, :, -1:]
        gain = (
            g**2 / (h + _RIDGE)
            + (whole_g - g) ** 2 / (whole_h - h + _RIDGE)
            - whole_g**2 / (whole_h + _RIDGE)
        ).sum(axis=0)
        best = int(gain[:, :-1].argmax())
        feature, cut = divmod(best, _BINS - 1)
        if gain[feature, cut] < _LEAST_GAIN:
            break
        features.append(feature)
        cuts.append(cut)
        place = 2 * place + (bins[:, feature] > cut)
    if not features:
        return None
    leaves = 2 ** len(features)
    total = np.bincount(place, gradient, leaves)
    curvature = np.bincount(place, hessian, leaves)
    return _Tree(features, cuts, _RATE * total / (curvature + _RIDGE))
