"""Sample-ratio mismatch: did the split come out as planned?

A mismatch voids an experiment (Fabijan et al., KDD 2019). At the end the test is exact for two
arms (binomial) and Pearson's chi-square for more; while users still come in it is a sequential one
that may be looked at as often as one likes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy import special, stats

from reports.statistics.errors import StatisticsError
from reports.statistics.moments import Float


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


def sequential_sample_ratio(
    counts: ArrayLike, planned: Sequence[float], *, concentration: float = 10_000.0
) -> Float:
    """Always-valid p value of the split at every look.

    The evidence is the Bayes factor of shares from a Dirichlet distribution around the planned
    ones against just these, ``B = Gamma(c) / Gamma(c + n) prod_i Gamma(c s_i + n_i) /
    (Gamma(c s_i) s_i^(n_i))``. If users are assigned as planned it ever reaches 1 / alpha with
    probability at most alpha, so p is 1 over the largest so far (Lindon & Malek, NeurIPS 2022).

    Args:
        counts: int[looks, arms], users per arm until each look; they never fall.
        planned: Planned shares s; scaled to sum to one.
        concentration: c: the prior shares differ from the planned ones by about 1 / sqrt(c) of
            themselves (10,000: one per cent); mismatches of that size are found soonest.

    Returns:
        float64[looks], never rising.

    Raises:
        StatisticsError: counts that fall, or a share or concentration that is not positive.
    """
    seen = np.atleast_2d(np.asarray(counts, dtype=np.float64))
    shares = np.asarray(planned, dtype=np.float64)
    if shares.shape != seen.shape[1:] or not (shares > 0.0).all() or not concentration > 0.0:
        raise StatisticsError(
            "the split cannot be checked.",
            f"{seen.shape[1]} arms, planned: {list(planned)}, concentration: {concentration:g}.",
        )
    if (np.diff(seen, axis=0, prepend=0.0) < 0.0).any():
        raise StatisticsError(
            "the counts fall.",
            "There are fewer users at some look than before.",
            "Give the users until each look, in the order of the looks.",
        )
    shares = shares / shares.sum()
    prior = concentration * shares
    # Cancellation costs 1e-16 of a log gamma: 1e-7 for a hundred million users.
    evidence = (
        special.gammaln(concentration)
        - special.gammaln(concentration + seen.sum(axis=1))
        + (special.gammaln(prior + seen) - special.gammaln(prior) - seen * np.log(shares)).sum(
            axis=1
        )
    )
    return np.asarray(np.exp(-np.maximum(np.maximum.accumulate(evidence), 0.0)))
