"""Measure how well scores order comments by the time people spend on them: dwell_r.

dwell_r is the correlation of a score and of log dwell among comments that were seen, both measured
from their mean within the visit. Dwell within a visit does not depend on where a comment stood, so
that no correction for position is needed. The standard error comes from each person's influence on
the correlation (delta method; people are independent, their visits are not).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from policies.evaluation.run_sums import run_sums

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

Z_95 = 1.959963984540054


@dataclass(frozen=True)
class DwellCorrelation:
    """A within-visit correlation with the influence of every person.

    Attributes:
        r: The correlation; 0 where nothing varies.
        influence: float64[U], each person's part of its error; `r` plus their sum has the sampling
            distribution of the correlation to first order.
    """

    r: float
    influence: Float64

    @property
    def error(self) -> float:
        """Standard error over people."""
        n = max(int((self.influence != 0.0).sum()), 2)
        return float(np.sqrt((self.influence**2).sum() * n / (n - 1)))

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval."""
        return self.r - Z_95 * self.error, self.r + Z_95 * self.error

    def per_person(self) -> Float64:
        """float64[U]: values whose mean is the correlation and whose spread is its uncertainty.

        Jackknife's pseudo-values to first order (Efron, Ann. Statist. 7, 1979).
        """
        return np.asarray(self.r + len(self.influence) * self.influence)

    def minus(self, other: DwellCorrelation) -> DwellCorrelation:
        """The difference from another score's correlation for the same people."""
        return DwellCorrelation(self.r - other.r, self.influence - other.influence)


def dwell_r(
    score: NDArray[np.floating], dwell_ms: NDArray[np.integer], visit: Int64, user: Int64
) -> DwellCorrelation:
    """Correlation of a score with log dwell, within visits.

    Args:
        score: float[n].
        dwell_ms: int[n].
        visit: int64[n], ascending; equal numbers are one visit.
        user: int64[n], from 0.
    """
    x = from_visit_mean(score.astype(np.float64), visit)
    y = from_visit_mean(log_dwell(dwell_ms), visit)
    n_users = int(user.max(initial=-1)) + 1
    sums = [np.bincount(user, weights=v, minlength=n_users) for v in (x * y, x * x, y * y)]
    xy, xx, yy = (float(s.sum()) for s in sums)
    if xx <= 1e-12 * max(len(x), 1) or yy <= 0.0:
        return DwellCorrelation(0.0, np.zeros(n_users))
    scale = np.sqrt(xx * yy)
    r = xy / scale
    influence = sums[0] / scale - 0.5 * r * (sums[1] / xx + sums[2] / yy)
    return DwellCorrelation(r, influence)


def log_dwell(dwell_ms: NDArray[np.integer]) -> Float64:
    """float64[n]: logarithm of seconds; a comment that was passed in no time counts 1 ms."""
    return np.asarray(np.log(np.maximum(dwell_ms, 1) / 1_000.0))


def from_visit_mean(values: Float64, visit: Int64) -> Float64:
    """Values float64[n] or [n, k], less their mean within each visit; ``visit`` is ascending."""
    if len(values) == 0:
        return values
    first = np.flatnonzero(np.append(True, visit[1:] != visit[:-1]))
    count = np.diff(np.append(first, len(visit)))
    columns = values if values.ndim == 2 else values[:, None]
    mean = run_sums(columns, first) / count[:, None].astype(values.dtype)
    return np.asarray((columns - np.repeat(mean, count, axis=0)).reshape(values.shape))
