"""Classify rows by scikit-learn's histogram gradient boosting, the same on any number of cores."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

_TREES = 100


class BoostedTrees:
    """A binary classifier of small trees; deterministic given the rows and their order."""

    def __init__(self) -> None:
        # Imported here: it takes a second, and most commands need no classifier.
        from sklearn.ensemble import HistGradientBoostingClassifier
        from threadpoolctl import threadpool_limits

        # Sums of floats depend on the number of threads that share them.
        self._one_thread = threadpool_limits
        self._model: Any = HistGradientBoostingClassifier(
            max_iter=_TREES, max_depth=3, learning_rate=0.1, early_stopping=False, random_state=0
        )

    def fit(self, x: Float64, label: NDArray[np.bool_]) -> BoostedTrees:
        """Fit to float64[n, k], finite, and bool[n] with both classes in it."""
        with self._one_thread(1):
            self._model.fit(x, label)
        return self

    def score(self, x: Float64) -> Float64:
        """float64[n]: log odds of the class True."""
        with self._one_thread(1):
            return np.asarray(self._model.decision_function(x), dtype=np.float64)
