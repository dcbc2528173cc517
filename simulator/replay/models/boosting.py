"""Fit scikit-learn's histogram gradient boosting as a reward model."""

from __future__ import annotations

from typing import Any

import numpy as np

from simulator.replay.models.regression import Float64, Regressor


class Boosting:
    """Gradient-boosted trees of one outcome: log loss for 0/1, squared error otherwise.

    Args:
        seed: Of the trees' own subsampling.
    """

    def __init__(self, seed: int = 0) -> None:
        # Imported here: it takes a second, and most commands need no reward model.
        from sklearn import ensemble

        self._ensemble, self._seed = ensemble, seed
        self._model: Any = None

    def fit(self, x: Float64, y: Float64, weight: Float64) -> None:
        """Fit to all rows, with a fixed number of small trees."""
        common = {
            "max_iter": 80,
            "learning_rate": 0.08,
            "max_leaf_nodes": 15,
            "min_samples_leaf": 40,
            "early_stopping": False,
            "random_state": self._seed,
        }
        binary = bool(np.isin(y, (0.0, 1.0)).all() and 0.0 < y.mean() < 1.0)
        kind = "HistGradientBoostingClassifier" if binary else "HistGradientBoostingRegressor"
        self._binary = binary
        self._model = getattr(self._ensemble, kind)(**common)
        self._model.fit(x, y.astype(int) if binary else y, sample_weight=weight)

    def predict(self, x: Float64) -> Float64:
        """Probabilities or means."""
        if self._binary:
            return np.asarray(self._model.predict_proba(x)[:, 1], dtype=np.float64)
        return np.asarray(self._model.predict(x), dtype=np.float64)


def boosting(_: Float64) -> Regressor:
    """A fresh model, whatever the outcome."""
    return Boosting()
