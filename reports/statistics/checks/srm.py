"""Test the split of users for a sample ratio mismatch.

A mismatch voids an experiment (Fabijan et al., KDD 2019). At the end the test is exact for two
arms (binomial). For more it is Pearson's chi-square if every arm expects five users (Cochran,
Biometrics 10, 1954), else exact: the multinomial probability of all splits no likelier than the one
seen; and if there are too many splits to list, each arm against the others, exact and corrected
(Bonferroni). While users still come in it is a sequential one that may be looked at as often as one
likes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

from reports.statistics.errors import StatisticsError
from reports.statistics.moments import Float

_MOST_SPLITS = 500_000
_ENOUGH = 5.0


def sample_ratio_p_value(counts: Sequence[int], planned: Sequence[float]) -> float:
    """P value of the observed split under the planned shares.

    Args:
        counts: Users per arm.
        planned: Planned shares; scaled to sum to one.

    Raises:
        StatisticsError: fewer than two arms, no users, counts that are no counts, or a share that
            is not positive.
    """
    shares = np.asarray(planned, dtype=np.float64)
    seen = np.asarray(counts, dtype=np.float64)
    usable = (
        len(seen) >= 2
        and seen.shape == shares.shape
        and bool(np.isfinite(shares).all() and (shares > 0.0).all())
        and bool(np.isfinite(seen).all() and (seen >= 0.0).all() and (seen % 1.0 == 0.0).all())
        and seen.sum() > 0.0
    )
    if not usable:
        raise StatisticsError(
            "the split cannot be checked.",
            f"Users per arm: {list(counts)}, planned: {list(planned)}.",
            "Give whole numbers of users and a positive share for each of at least two arms.",
        )
    shares = shares / shares.sum()
    users = int(seen.sum())
    if len(seen) == 2:
        return float(stats.binomtest(int(seen[0]), users, float(shares[0])).pvalue)
    if users * shares.min() >= _ENOUGH:
        return float(stats.chisquare(seen, shares * users).pvalue)
    if special.comb(users + len(seen) - 1, len(seen) - 1) <= _MOST_SPLITS:
        return _multinomial(seen, shares)
    each = [
        float(stats.binomtest(int(n), users, float(share)).pvalue)
        for n, share in zip(seen, shares, strict=True)
    ]
    return min(1.0, len(each) * min(each))


def _multinomial(seen: Float, shares: Float) -> float:
    """Probability of all splits that are no likelier than this one."""
    users = int(seen.sum())
    law = stats.multinomial(users, shares)
    splits = _splits(users, len(seen))
    logs = law.logpmf(splits)
    # Splits that are just as likely may differ in the last digits.
    limit = float(law.logpmf(seen.astype(np.int64))) + 1e-9
    return float(min(1.0, np.exp(logs[logs <= limit]).sum()))


def _splits(users: int, arms: int) -> NDArray[np.int64]:
    """int64[S, arms]: all ways to split users among arms."""
    rows = np.zeros((1, 0), dtype=np.int64)
    left = np.array([users])
    for _ in range(arms - 1):
        repeats = left + 1
        starts = np.repeat(np.cumsum(repeats) - repeats, repeats)
        taken = np.arange(repeats.sum()) - starts
        rows = np.column_stack([np.repeat(rows, repeats, axis=0), taken])
        left = np.repeat(left, repeats) - taken
    return np.column_stack([rows, left])


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
            "Give the users of each arm, and a positive share for each.",
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
