"""Cross-fit a reward model by user over features of the place, the person and the item.

The model that predicts a user's rows was fitted on other users only, so that its errors are
independent of theirs and the doubly robust estimate stays unbiased (Chernozhukov et al.,
Econometrics Journal 2018). Item averages are target-encoded without the fold that is predicted
*and* without the fold of the row that is fitted.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from simulator.progress import Meter
from simulator.randomness import mix, purpose_key
from simulator.replay.models.regression import Float64, Regressor, for_outcome
from simulator.requests import Int32, Int64

FOLDS = 5
_PRIOR_ROWS = 20.0
"""Rows' worth of the overall mean that an item's own average is mixed with."""
_MOST_WEIGHT = 20.0


def fold_of(user: Int32, folds: int = FOLDS) -> Int64:
    """int64[N]: a fold per user, by a fixed hash, so that it depends on nobody else."""
    return np.asarray(mix(purpose_key(0, "replay.fold"), user) % np.uint64(folds), dtype=np.int64)


def row_weights(propensity: Float64) -> Float64:
    """float64[N]: sample weights that undo what the log's policy preferred, capped.

    Rows of random exposure get large ones: they are where a model learns about videos that the
    policy avoids. The cap, 20 times the median, bounds what single rows can do to the fit.
    """
    inverse = 1.0 / propensity
    return np.minimum(inverse, _MOST_WEIGHT * float(np.median(inverse)))


class CrossFit:
    """Predict the outcome of any item in any logged place.

    Args:
        user: int32[N].
        item: int32[N], what was shown.
        n_items: Number of items.
        outcome: float64[N]; NaN rows are not fitted.
        weight: float64[N], sample weights.
        context: float64[N, P], features of the place and the person, known before the choice.
        group: int[n_items], a group of each item such as its category, -1 unknown; or None.
        item_features: float64[n_items, Q], such as log duration; or None.
        make: Gives a fresh regressor for an outcome.
        meter: Told the folds that are fitted.
    """

    def __init__(
        self,
        user: Int32,
        item: Int32,
        n_items: int,
        outcome: Float64,
        *,
        weight: Float64,
        context: Float64,
        group: NDArray[np.integer] | None = None,
        item_features: Float64 | None = None,
        make: Callable[[Float64], Regressor] = for_outcome,
        meter: Meter | None = None,
    ) -> None:
        self.fold = fold_of(user)
        self._context = context
        self._extra = np.zeros((n_items, 0)) if item_features is None else item_features
        known = np.flatnonzero(~np.isnan(outcome))
        y, w = outcome[known], weight[known]
        code = np.arange(n_items) if group is None else np.asarray(group) + 1
        sums = _fold_sums(self.fold[known], item[known], n_items, y, w)
        group_sums = _fold_sums(self.fold[known], code[item[known]], int(code.max()) + 1, y, w)
        prior = _PRIOR_ROWS * (float(w.mean()) if len(w) else 1.0)
        self._encoded: list[Float64] = []
        self._models: list[Regressor | None] = []
        for fold in range(FOLDS):
            self._encoded.append(_encode(sums, group_sums, code, (fold,), prior))
            rows = known[self.fold[known] != fold]
            if meter is not None and fold:
                meter.add(1)
            if len(rows) < 2:
                self._models.append(None)
                continue
            x = np.empty((len(rows), self._width()))
            for own in range(FOLDS):
                part = self.fold[rows] == own
                encoded = _encode(sums, group_sums, code, (fold, own), prior)
                x[part] = self._features(rows[part], item[rows[part]], encoded)
            model = make(y)
            model.fit(x, outcome[rows], weight[rows])
            self._models.append(model)
        if meter is not None:
            meter.add(1)

    def predict(self, rows: Int64, items: Int32) -> Float64:
        """float64[B, C]: modelled outcomes of items int32[B, C] in logged places int64[B].

        Padding (-1) gives 0.
        """
        out = np.zeros(items.shape)
        for fold, model in enumerate(self._models):
            mine = np.flatnonzero(self.fold[rows] == fold)
            if len(mine) == 0 or model is None:
                continue
            cells = items[mine]
            at, column = np.nonzero(cells >= 0)
            x = self._features(rows[mine][at], cells[at, column], self._encoded[fold])
            out[mine[at], column] = model.predict(x)
        return out

    def of_shown(self, item: Int32) -> Float64:
        """float64[N]: modelled outcome of what each row showed."""
        return self.predict(np.arange(len(item)), item[:, None])[:, 0]

    def _width(self) -> int:
        return 2 + int(self._extra.shape[1]) + 2 * int(self._context.shape[1])

    def _features(self, rows: Int64, items: Int32, encoded: Float64) -> Float64:
        own = encoded[items]
        place = self._context[rows]
        # The products let a person's level scale an item's.
        return np.column_stack([own, self._extra[items], place, place * own[:, :1]])


def _fold_sums(
    fold: Int64, code: NDArray[np.integer], size: int, y: Float64, w: Float64
) -> tuple[Float64, Float64]:
    """(weighted sums of the outcome, sums of weights), float64[FOLDS, size] each."""
    cell = fold * size + code
    top = np.bincount(cell, weights=w * y, minlength=FOLDS * size).reshape(FOLDS, size)
    bottom = np.bincount(cell, weights=w, minlength=FOLDS * size).reshape(FOLDS, size)
    return np.asarray(top, dtype=np.float64), np.asarray(bottom, dtype=np.float64)


def _encode(
    items: tuple[Float64, Float64],
    groups: tuple[Float64, Float64],
    code: NDArray[np.integer],
    without: tuple[int, ...],
    prior: float,
) -> Float64:
    """float64[n_items, 2]: averages of each item and of its group, without some folds."""
    keep = [f for f in range(FOLDS) if f not in without]
    total = float(groups[1][keep].sum())
    mean = float(groups[0][keep].sum()) / total if total > 0 else 0.0
    group = (groups[0][keep].sum(axis=0) + prior * mean) / (groups[1][keep].sum(axis=0) + prior)
    own = items[0][keep].sum(axis=0) + prior * group[code]
    return np.column_stack([own / (items[1][keep].sum(axis=0) + prior), group[code]])
