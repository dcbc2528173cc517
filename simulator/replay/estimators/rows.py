"""Hold what estimators need per logged choice, reduced from candidate lists chunk by chunk."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]
Integers = NDArray[np.integer]

CHUNK = 1 << 18
"""Cells of candidate lists that are worked on at a time."""


@dataclass(frozen=True)
class Rows:
    """One row per logged choice, in any order.

    Attributes:
        user: int[N], cluster of the row, 0 .. ``n_users`` - 1.
        n_users: Number of clusters.
        outcome: float64[N].
        target: float64[N], probability of the logged action under the target policy.
        logging: float64[N], the same under the logging policy, in (0, 1].
        model: float64[N], expected outcome of the logged action by a reward model; None without.
        expected: float64[N], the model's outcome averaged over the target policy; None without.
        replaced: float64[N], importance weights in place of ``target / logging``, or None.
    """

    user: Integers
    n_users: int
    outcome: Float64
    target: Float64
    logging: Float64
    model: Float64 | None = None
    expected: Float64 | None = None
    replaced: Float64 | None = None

    def __post_init__(self) -> None:
        if not (self.logging > 0).all():
            row = int(np.argmin(self.logging > 0))
            raise ValueError(
                f"logging probability of row {row} is {self.logging[row]}, expected above 0"
            )

    @cached_property
    def weight(self) -> Float64:
        """float64[N]: importance weights."""
        return self.target / self.logging if self.replaced is None else self.replaced

    def __len__(self) -> int:
        return len(self.outcome)

    def with_weight(self, weight: Float64) -> Rows:
        """The same rows with other importance weights."""
        return replace(self, replaced=weight)

    def with_outcome(self, outcome: Float64) -> Rows:
        """The same rows with another outcome and without a reward model."""
        return replace(self, outcome=outcome, model=None, expected=None)


@dataclass(frozen=True)
class Candidates:
    """The actions that each row could have taken, one list after the other.

    Attributes:
        start: int64[N + 1]; row i has the cells ``start[i] : start[i + 1]``.
        target: float64[K], target probability of each cell; sums to 1 within a row.
        logging: float64[K], logging probability of each cell; may be 0.
        chosen: int64[N], cell of the logged action.
    """

    start: NDArray[np.int64]
    target: Float64
    logging: Float64
    chosen: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.chosen)

    def sums(self, values: Float64) -> Float64:
        """float64[N]: sum of a value per cell over each row."""
        return segment_sums(values, self.start)

    def rows(
        self,
        user: Integers,
        n_users: int,
        outcome: Float64,
        model: Float64 | None = None,
    ) -> Rows:
        """Reduce to what estimators need.

        Args:
            user: int[N].
            n_users: Number of clusters.
            outcome: float64[N].
            model: float64[K], reward model of every cell.
        """
        return Rows(
            user=user,
            n_users=n_users,
            outcome=outcome,
            target=self.target[self.chosen],
            logging=self.logging[self.chosen],
            model=None if model is None else model[self.chosen],
            expected=None if model is None else dot_sums(self.target, model, self.start),
        )

    def marginal_weights(self, feature: Integers) -> Float64:
        """Weights over a feature of the action in place of the action (MIPS).

        ``w = sum of target over the row's candidates with the logged action's feature / the same
        sum of logging`` (Saito & Joachims, ICML 2022, with a deterministic embedding). Unbiased if
        actions with equal features have equal expected outcomes in every context ("no direct
        effect"), and if the feature has common support.

        Args:
            feature: int[K], code of the feature of each cell, such as the video's category.

        Returns:
            float64[N].
        """
        row = np.repeat(np.arange(len(self)), np.diff(self.start))
        same = feature == feature[self.chosen][row]
        top = np.bincount(row, weights=self.target * same, minlength=len(self))
        bottom = np.bincount(row, weights=self.logging * same, minlength=len(self))
        return np.asarray(top / bottom)

    def second_moment(self) -> Float64:
        """float64[N]: expectation of the squared weight under the logging policy.

        Cells the log cannot show count as absent, as in the weights themselves.
        """
        seen = self.logging > 0
        square = np.where(seen, self.target**2 / np.where(seen, self.logging, 1.0), 0.0)
        return self.sums(square)

    def unsupported(self) -> Float64:
        """float64[N]: target probability of what the log could not have shown."""
        return self.sums(np.where(self.logging > 0, 0.0, self.target))


def segment_sums(values: Float64, start: NDArray[np.int64]) -> Float64:
    """float64[N]: sums of ``values[start[i] : start[i + 1]]``, empty segments included."""
    out = np.zeros(len(start) - 1)
    some = np.flatnonzero(np.diff(start) > 0)
    if len(some):
        out[some] = np.add.reduceat(values, start[some])
    return out


def dot_sums(first: Float64, second: Float64, start: NDArray[np.int64]) -> Float64:
    """float64[N]: `segment_sums` of a product, without holding all products at once."""
    n = len(start) - 1
    out = np.empty(n)
    row = 0
    while row < n:
        stop = max(int(np.searchsorted(start, start[row] + CHUNK, side="right")) - 1, row + 1)
        stop = min(stop, n)
        low, high = start[row], start[stop]
        out[row:stop] = segment_sums(
            first[low:high] * second[low:high], start[row : stop + 1] - low
        )
        row = stop
    return out


def dense_rows(
    user: Integers,
    n_users: int,
    outcome: Float64,
    action: Integers,
    target: Float64,
    logging: Float64,
    model: Float64 | None = None,
) -> Rows:
    """Reduce a dense table of actions; nothing of its size is allocated.

    Args:
        user: int[N].
        n_users: Number of clusters.
        outcome: float64[N].
        action: int[N], column of the logged action.
        target: float[N, A], target probabilities.
        logging: float64[N], probability of the logged action.
        model: float[N, A], reward model.
    """
    at = np.arange(len(action))
    expected = None
    if model is not None:
        expected = np.empty(len(action))
        step = max(CHUNK // max(target.shape[1], 1), 1)
        for low in range(0, len(action), step):
            part = slice(low, low + step)
            np.einsum("na,na->n", target[part], model[part], out=expected[part])
    return Rows(
        user=user,
        n_users=n_users,
        outcome=outcome,
        target=np.asarray(target[at, action], dtype=np.float64),
        logging=logging,
        model=None if model is None else np.asarray(model[at, action], dtype=np.float64),
        expected=expected,
    )
