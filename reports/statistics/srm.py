"""Sample-ratio mismatch: did the split come out as planned?

Exact for two arms (binomial), Pearson's chi-square for more (Fabijan et al., KDD 2019, on why a
mismatch voids an experiment).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

from reports.statistics.errors import StatisticsError


def sample_ratio_p_value(counts: Sequence[int], planned: Sequence[float]) -> float:
    """P value of the observed split under the planned shares.

    Args:
        counts: Users per arm.
        planned: Planned shares; scaled to sum to one.

    Raises:
        StatisticsError: no users, or a share that is not positive.
    """
    shares = np.asarray(planned, dtype=np.float64)
    if sum(counts) == 0 or (shares <= 0).any() or len(counts) != len(shares):
        raise StatisticsError(
            "the split cannot be checked.", f"Users per arm: {list(counts)}, planned: {planned}."
        )
    shares = shares / shares.sum()
    if len(counts) == 2:
        return float(stats.binomtest(int(counts[0]), int(sum(counts)), float(shares[0])).pvalue)
    return float(stats.chisquare(counts, shares * sum(counts)).pvalue)
