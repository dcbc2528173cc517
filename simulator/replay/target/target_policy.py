"""Turn scores into the probabilities with which a ranker would choose: what `run` deploys."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.errors import DataError

Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class TargetPolicy:
    """How a ranker's scores become choices, place by place.

    The default is what `abtest run` deploys: the best candidate that does not stand above, ties
    broken at random, so equally good candidates share the probability.

    Attributes:
        explore_share: Probability with which a place is filled uniformly at random instead.
        temperature: Softmax of scores over it in place of the best one; None for the best.
        top_share: Choose uniformly among this share of the candidates, at least one, in place of
            the best one; None for the best. It answers another question than `run` does, and needs
            far less of the log.
    """

    explore_share: float = 0.0
    temperature: float | None = None
    top_share: float | None = None

    def __post_init__(self) -> None:
        if not 0.0 <= self.explore_share < 1.0:
            raise DataError(
                f"explore share is {self.explore_share}, expected 0 up to but not 1.", ""
            )
        if self.temperature is not None and not 0.0 < self.temperature < np.inf:
            raise DataError(f"temperature is {self.temperature}, expected a number above 0.", "")
        if self.top_share is not None and not 0.0 < self.top_share <= 1.0:
            raise DataError(
                f"top share is {self.top_share}, expected a share above 0 and up to 1.", ""
            )
        if self.temperature is not None and self.top_share is not None:
            raise DataError("a temperature and a top share exclude each other.", "Give one.")

    def probabilities(self, scores: NDArray[np.floating], free: NDArray[np.bool_]) -> Float64:
        """float64[B, C]: probability of each candidate; 0 where not free; rows sum to 1.

        Args:
            scores: float[B, C].
            free: bool[B, C], candidates that can still be chosen; at least one per row.
        """
        score = np.where(free, scores, -np.inf).astype(np.float64)
        count = free.sum(axis=1, keepdims=True)
        if self.temperature is not None:
            chosen = np.exp((score - score.max(axis=1, keepdims=True)) / self.temperature)
            chosen /= chosen.sum(axis=1, keepdims=True)
        elif self.top_share is not None:
            chosen = _top(score, top_counts(count[:, 0], self.top_share))
        else:
            best = score == score.max(axis=1, keepdims=True)
            chosen = best / best.sum(axis=1, keepdims=True)
        if self.explore_share > 0:
            chosen = (1.0 - self.explore_share) * chosen + self.explore_share * free / count
        return np.asarray(chosen)

    def describe(self, candidates: str) -> str:
        """What a place gets, in words."""
        if self.temperature is not None:
            text = f"one {candidates}, drawn with a softmax of its scores at {self.temperature:g}"
        elif self.top_share is not None:
            text = f"one of its best {100 * self.top_share:g} % {candidates}, equally likely"
        else:
            text = f"the best {candidates} by its scores, ties at random"
        if self.explore_share > 0:
            text += f", and in {100 * self.explore_share:g} % of the places one drawn at random"
        return text


def top_counts(sizes: NDArray[np.integer], top_share: float) -> NDArray[np.int64]:
    """int64[N]: ``max(1, ceil(top_share * size))``."""
    exact = np.asarray(top_share * sizes, dtype=np.float64)
    # 0.1 * 30 is 3.0000000000000004: that is 3 candidates, not 4.
    return np.maximum(np.ceil(exact - 1e-9).astype(np.int64), 1)


def _top(score: Float64, count: NDArray[np.int64]) -> Float64:
    """Uniform over the ``count`` best; those tied at the edge share what is left of it."""
    ordered = np.sort(score, axis=1)[:, ::-1]
    edge = np.take_along_axis(ordered, (count - 1)[:, None], axis=1)
    above, at = score > edge, score == edge
    left = count[:, None] - above.sum(axis=1, keepdims=True)
    return np.asarray((above + at * left / at.sum(axis=1, keepdims=True)) / count[:, None])
