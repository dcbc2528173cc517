"""Split one table of users at random many times and test every split.

Every alarm is false, so the share of p values below alpha must be alpha and the p values uniform.
A split is a 0/1 row per replicate; multiplied with per-user columns and their products it gives the
moments of a whole block of replicates at once, and from them the same Welch test on the same
covariate-adjusted estimates as ``estimates.estimate_arms`` and ``lift.compare``.

What the rates are about: given the table, the splits are independent draws, so the binomial
interval and the Kolmogorov-Smirnov test are exact statements about re-randomising *these* users.
Over tables the replicates are dependent, as they share all users; nothing here speaks of users who
are not in the table. (Under randomisation alone the p values are uniform only up to terms that
vanish with the number of users: that approximation is what is being checked.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from reports.statistics.errors import StatisticsError
from reports.statistics.moments import Float, finite_table

CalibrationWord = Literal[
    "calibrated", "too many false alarms", "too few false alarms", "not uniform", "no data"
]

_USERS = 8192  # per block; a multiple of the 16 users that one step of Philox serves
BLOCK = 128
"""Splits that are multiplied together."""
_LEVELS = 65_536
_NOISE = 1e-12


class Calibration(NamedTuple):
    """How often one metric raises a false alarm.

    Attributes:
        replicates: Splits with a p value.
        refused: Splits without a p value (no variance or denominator in an arm).
        alarms: p values below alpha.
        rate: ``alarms / replicates``.
        low, high: Clopper & Pearson's exact binomial interval of the rate (Biometrika 26, 1934).
        confidence: Of that interval.
        distance: Kolmogorov-Smirnov distance of the p values from the uniform distribution.
        uniform_p: Its p value.
        word: The verdict.
    """

    replicates: int
    refused: int
    alarms: int
    rate: float
    low: float
    high: float
    confidence: float
    distance: float
    uniform_p: float
    word: CalibrationWord


def assignments(
    users: int,
    *,
    seed: int,
    first: int = 0,
    replicates: int = 1,
    share: float = 0.5,
    start: int = 0,
) -> NDArray[np.bool_]:
    """Who is in the second arm: each user alone, with probability ``share``.

    Counter-based (Philox: Salmon, Moraes, Dror & Shaw, SC 2011): a cell depends on the seed, the
    replicate and the user's place only.

    Args:
        users: Number of users.
        seed: Any integer.
        first: Number of the first replicate.
        replicates: How many.
        share: Of the second arm; kept to 1 / 65,536.
        start: Place of the first user; a multiple of 16.

    Returns:
        bool[replicates, users].
    """
    threshold = np.uint16(min(max(round(share * _LEVELS), 1), _LEVELS - 1))
    chosen = np.empty((replicates, users), dtype=np.bool_)
    for number in range(replicates):
        bits = np.random.Philox(key=seed % 2**64, counter=[start // 16, first + number, 0, 0])
        drawn = np.asarray(bits.random_raw((users + 3) // 4)).view(np.uint16)[:users]
        np.less(drawn, threshold, out=chosen[number])
    return chosen


def aa_p_values(
    metrics: Sequence[NDArray[np.float64]],
    *,
    replicates: int = 1_000,
    seed: int = 1,
    share: float = 0.5,
    by_score: Sequence[int] = (),
    begin: int = 0,
) -> Float:
    """The p value of every metric in every replicate.

    Args:
        metrics: float[users, k] each, columns (numerator, denominator, covariate, ...) as for
            ``estimate_arms``; the same users in the same order.
        replicates: Number of splits; replicate k is the same split whatever this number.
        seed: Of the splits.
        share: Of users in the second arm.
        by_score: Numbers of metrics that are 0 or one value per user and are compared by the score
            test with Miettinen and Nurminen's factor (see ``rates.compare_rates``).
        begin: Number of the first split; a multiple of `BLOCK` leaves every digit as it is where
            all splits are made at once.

    Returns:
        float64[replicates, metrics]; NaN where there is no test: fewer than two users or no
        denominator in an arm, no variance, or none that the covariates leave.

    Raises:
        StatisticsError: fewer than four users, tables that differ in users, missing values, or a
            share that leaves an arm empty.
    """
    tables = [_Columns(finite_table(columns)) for columns in metrics]
    users = {table.users for table in tables}
    if len(users) != 1 or min(users) < 4 or replicates < 1:
        raise StatisticsError(
            "there is nothing to split.",
            f"Users: {sorted(users)}; replicates: {replicates}.",
            "Give at least four users and one replicate.",
        )
    if not 0.0 < share < 1.0:
        raise StatisticsError("the split is not possible.", f"The share is {share:g}.")
    n = users.pop()
    if n * min(share, 1.0 - share) < 2.0:
        raise StatisticsError(
            "the split leaves an arm with fewer than two users.",
            f"The share is {share:g}, of {n:,} users.",
            "Choose a share closer to 0.5.",
        )
    widths = np.cumsum([0, *[table.width for table in tables]])
    sums = np.zeros((replicates, widths[-1]))
    counts = np.zeros(replicates)
    total = np.zeros(widths[-1])
    for start in range(0, n, _USERS):
        block = slice(start, min(start + _USERS, n))
        features = np.concatenate([table.features(block) for table in tables], axis=1)
        total += features.sum(axis=0)
        for first in range(0, replicates, BLOCK):
            part = slice(first, min(first + BLOCK, replicates))
            chosen = assignments(
                len(features),
                seed=seed,
                first=begin + first,
                replicates=part.stop - first,
                share=share,
                start=start,
            )
            counts[part] += chosen.sum(axis=1)
            sums[part] += chosen.astype(np.float64) @ features
    p_values = np.empty((replicates, len(tables)))
    for number, table in enumerate(tables):
        own = slice(widths[number], widths[number + 1])
        test = table.score_test if number in by_score else table.test
        p_values[:, number] = test(n - counts, total[own] - sums[:, own], counts, sums[:, own])
    return p_values


def calibration(
    p_values: Float,
    *,
    alpha: float = 0.05,
    confidence: float = 0.95,
    family: int = 1,
    discrete: bool = False,
) -> Calibration:
    """The false-positive rate of one metric and whether its p values are uniform.

    Args:
        p_values: float64[replicates]; NaN for refused splits.
        alpha: Level of the test.
        confidence: That all metrics of the family that are calibrated are called so.
        family: Metrics judged together; rate and uniformity of each are two looks (Bonferroni).
        discrete: Whether p values have few different values, as those of a few events: then only
            too many false alarms are a fault.
    """
    known = p_values[np.isfinite(p_values)]
    refused = len(p_values) - len(known)
    error = (1.0 - confidence) / (2.0 * max(family, 1))
    if len(known) == 0:
        return Calibration(0, refused, 0, 0.0, 0.0, 1.0, 1.0 - error, 1.0, 1.0, "no data")
    n, alarms = len(known), int((known < alpha).sum())
    low = float(stats.beta.ppf(error / 2.0, alarms, n - alarms + 1)) if alarms else 0.0
    high = float(stats.beta.isf(error / 2.0, alarms + 1, n - alarms)) if alarms < n else 1.0
    distance, uniform_p = (float(v) for v in stats.kstest(known, "uniform"))
    word: CalibrationWord = "calibrated"
    if low > alpha:
        word = "too many false alarms"
    elif discrete:
        word = "calibrated"
    elif high < alpha:
        word = "too few false alarms"
    elif uniform_p < error:
        word = "not uniform"
    return Calibration(
        n, refused, alarms, alarms / n, low, high, 1.0 - error, distance, uniform_p, word
    )


def any_alarm(p_values: Float, *, alpha: float = 0.05) -> NDArray[np.bool_]:
    """bool[replicates]: whether Holm's correction leaves an alarm in any metric of a family.

    Holm rejects something exactly when the smallest of m p values is at most alpha / m; refused
    metrics are not in the family.
    """
    known = np.isfinite(p_values)
    smallest = np.where(known, p_values, 1.0).min(axis=1)
    return np.asarray(smallest * known.sum(axis=1) < alpha)


class _Columns:
    """One metric's columns, scaled, and the test from sums over the users of each arm."""

    def __init__(self, columns: Float) -> None:
        self.users, self._k = columns.shape
        self._centre = columns.mean(axis=0)
        deviation = columns.std(axis=0)
        # A constant column has no moments of its own: a mean's denominator costs nothing.
        noise = 4.0 * float(np.finfo(np.float64).eps) * np.abs(self._centre)
        self._varying = np.flatnonzero(deviation > noise)
        self._scale = np.where(deviation > noise, deviation, 1.0)
        self._columns = columns
        self._pairs = np.triu_indices(len(self._varying))
        self.width = len(self._varying) + len(self._pairs[0])

    def features(self, block: slice) -> Float:
        """float64[users of the block, width]: scaled deviations and their products."""
        chosen = self._columns[block][:, self._varying]
        z = (chosen - self._centre[self._varying]) / self._scale[self._varying]
        return np.concatenate([z, z[:, self._pairs[0]] * z[:, self._pairs[1]]], axis=1)

    def test(self, n0: Float, sums0: Float, n1: Float, sums1: Float) -> Float:
        """float64[replicates] p values, from users and sums of features of both arms."""
        with np.errstate(divide="ignore", invalid="ignore"):
            arms = [self._moments(n, sums) for n, sums in ((n0, sums0), (n1, sums1))]
            theta = self._adjustment(arms)
            estimates, variances, raw = [], [], []
            for n, mean, cross, gradient in arms:
                x, y = self._means(mean)
                full = np.concatenate([gradient, -theta], axis=1)
                spread = np.einsum("ri,rij,rj->r", full, cross, full)
                variances.append(np.maximum(spread, 0.0) / (n - 1.0) / n)
                plain = np.einsum("ri,rij,rj->r", gradient, cross[:, :2, :2], gradient)
                raw.append(plain / (n - 1.0) / n)
                estimates.append(x / y - np.einsum("ri,ri->r", theta, mean[:, 2:]))
            variance = variances[0] + variances[1]
            freedom = variance**2 / (variances[0] ** 2 / (n0 - 1) + variances[1] ** 2 / (n1 - 1))
            statistic = (estimates[1] - estimates[0]) / np.sqrt(variance)
            p = 2.0 * special.stdtr(freedom, -np.abs(statistic))
        # What is left of a metric that its covariates determine is rounding noise.
        answered = (np.minimum(n0, n1) >= 2) & (variance > _NOISE * (raw[0] + raw[1]))
        for _, mean, _, _ in arms:
            # A sum of zeros comes back from the scaled columns with a rounding error.
            answered &= np.abs(self._means(mean)[1]) > _NOISE * np.abs(self._centre[1])
        return np.where(answered, p, np.nan)

    def score_test(self, n0: Float, sums0: Float, n1: Float, sums1: Float) -> Float:
        """As ``test``, of users who have an event or not: the variance is that of no effect."""
        unit, n = float(self._columns[:, 0].max()), n0 + n1
        with np.errstate(divide="ignore", invalid="ignore"):
            # Of a metric that does not vary there are no features.
            rates = [
                (self._centre[0] + self._scale[0] * sums[:, 0] / own) / unit
                for own, sums in ((n0, sums0), (n1, sums1))
            ]
            pooled = float(self._centre[0]) / unit
            variance = pooled * (1.0 - pooled) * (1.0 / n0 + 1.0 / n1) * n / (n - 1.0)
            statistic = (rates[1] - rates[0]) / np.sqrt(variance)
        answered = (np.minimum(n0, n1) >= 2) & (variance > 0.0)
        return np.where(answered, 2.0 * special.ndtr(-np.abs(statistic)), np.nan)

    def _moments(self, n: Float, sums: Float) -> tuple[Float, Float, Float, Float]:
        """Users, mean [r, k], cross [r, k, k] and gradient [r, 2], all of the scaled columns."""
        kept = len(self._varying)
        replicates = len(n)
        mean = np.zeros((replicates, self._k))
        mean[:, self._varying] = sums[:, :kept] / n[:, None]
        cross = np.zeros((replicates, self._k, self._k))
        rows, columns = (self._varying[index] for index in self._pairs)
        cross[:, rows, columns] = cross[:, columns, rows] = sums[:, kept:]
        cross -= np.einsum("ri,rj,r->rij", mean, mean, n)
        x, y = self._means(mean)
        gradient = np.stack([self._scale[0] / y, -self._scale[1] * x / y**2], axis=1)
        return n, mean, cross, gradient

    def _means(self, mean: Float) -> tuple[Float, Float]:
        """Numerator's and denominator's means in their own units."""
        x, y = (self._centre[i] + self._scale[i] * mean[:, i] for i in (0, 1))
        return x, y

    def _adjustment(self, arms: Sequence[tuple[Float, Float, Float, Float]]) -> Float:
        """Weights [r, covariates], as ``estimates.adjustment`` but of all replicates at once."""
        cc = sum(cross[:, 2:, 2:] for _, _, cross, _ in arms)
        cz = sum(np.einsum("rij,rj->ri", cross[:, 2:, :2], g) for _, _, cross, g in arms)
        assert isinstance(cc, np.ndarray)
        if cc.shape[1] == 0:
            return np.zeros((len(cc), 0))
        scale = np.sqrt(np.diagonal(cc, axis1=1, axis2=2))
        scale = np.where(scale > 0.0, scale, 1.0)
        correlation = cc / (scale[:, :, None] * scale[:, None, :])
        usable = np.isfinite(correlation).all(axis=(1, 2)) & np.isfinite(cz).all(axis=1)
        correlation[~usable] = 0.0
        inverse = np.linalg.pinv(correlation, rcond=1e-10, hermitian=True)
        return np.asarray(np.einsum("rij,rj->ri", inverse, cz / scale) / scale)
