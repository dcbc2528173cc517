"""Estimate quantiles of values or clustered events, with closed-form intervals.

``x`` is the quantile q if a share q of the values lies at or below it. So the interval needs no
density: it holds every ``x`` whose share of values is not significantly different from q, and its
bounds are two of the values (the "outer" interval of Deng, Knoblich & Lu, "Applying the delta
method in metric analytics", KDD 2018, section 4).

One value per user: the number of values at or below x is binomial; the interval is exact for any
distribution (conservative by less than one rank; David & Nagaraja, Order Statistics, 2003, 7.1).
Several values per user: the share is a ratio of sums over users, ``sum_i Y_i / sum_i N_i`` with
Y_i of the N_i values of user i at or below x, and its standard error s is the delta method's,

    s^2 = sum_i (Y_i - p N_i)^2 / (m (m - 1) mean(N)^2),    p = sum Y / sum N,

for m users, taken at the estimated quantile. Assumption: users enough for the share to be normal.

Two arms: the standard error of a quantile is half the distance of the quantiles q ± 1.96 s, over
1.96; difference and ratio then follow ``compare`` (Welch and Fieller), so they share one p value.
Between two values these quantiles are interpolated: whole ranks would be too far apart, by up to
one rank a side. The bend of a tail still makes the error a little large: at q = 0.9 of 500:500
watch times intervals cover 96.2 % (96.7 with whole ranks), at 4,500:500 94.7, at 5,000:5,000 95.
Closer quantiles bend less but are noisier: at 1.4 s it would be 94.1 % at 4,500:500.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

from reports.statistics.errors import StatisticsError
from reports.statistics.estimates import ArmEstimate
from reports.statistics.lift import Comparison, Interval, compare
from reports.statistics.moments import Float

# Fixed, so that a p value does not depend on the confidence asked for.
_REACH = 1.96


class QuantileEstimate(NamedTuple):
    """A quantile in one arm.

    Attributes:
        quantile: q.
        users: With at least one value.
        values: Number of values.
        interval: The ceil(n q)-th smallest value and bounds; None where there are too few values
            for one.
        standard_error: Of the quantile; 0 if a tie holds the whole interval, None if there are
            too few values.
        proportion_error: s, standard error of the share of values at or below the quantile.
        design_effect: s^2 over the variance of as many independent values; 1 for one per user.
        confidence: Of the interval.
    """

    quantile: float
    users: int
    values: int
    interval: Interval
    standard_error: float | None
    proportion_error: float
    design_effect: float
    confidence: float

    def arm(self) -> ArmEstimate:
        """As an arm of a comparison.

        Raises:
            StatisticsError: no standard error.
        """
        if self.standard_error is None:
            raise StatisticsError(
                f"the quantile {self.quantile:g} has no standard error.",
                f"{self.values:,} values of {self.users:,} users are too few.",
                "Choose a quantile nearer to the median.",
            )
        if self.standard_error == 0.0:
            raise StatisticsError(
                f"the quantile {self.quantile:g} has no standard error.",
                f"Too many values equal {self.interval.value:g}.",
                "Compare the shares of users above and below this value.",
            )
        value, variance = self.interval.value, self.standard_error**2
        return ArmEstimate(self.users, value, value, variance, variance)


def quantile_estimate(
    values: ArrayLike, quantile: float, *, users: ArrayLike | None = None, confidence: float = 0.95
) -> QuantileEstimate:
    """Quantile of one arm and its interval.

    Args:
        values: float[n].
        quantile: q, between 0 and 1.
        users: [n], whose value it is; None if each is of another user. Fastest if sorted.
        confidence: Of the interval.

    Raises:
        StatisticsError: fewer than two users, missing values, or a quantile outside (0, 1).
    """
    x = _checked(values, quantile, users)
    owners = None if users is None else np.asarray(users)
    ordered = x.copy()

    def at(ranks: Sequence[int]) -> list[float]:
        ordered.partition(sorted({rank - 1 for rank in ranks}))
        return [float(ordered[rank - 1]) for rank in ranks]

    def share_error(value: float) -> tuple[int, float]:
        assert owners is not None
        return _proportion_error(x <= value, owners)

    return quantile_of_ranks(
        len(x), quantile, at, None if owners is None else share_error, confidence=confidence
    )


def quantile_of_ranks(
    n: int,
    quantile: float,
    at: Callable[[Sequence[int]], list[float]],
    share_error: Callable[[float], tuple[int, float]] | None = None,
    *,
    confidence: float = 0.95,
) -> QuantileEstimate:
    """Quantile and interval of values that are not in memory.

    Args:
        n: Number of values.
        quantile: q.
        at: Values at some ranks, from 1 to n; called once, or twice if clustered.
        share_error: Of a value x: number of users and s, the standard error of the share of values
            at or below x, clustered by user; None if each value is of another user.
        confidence: Of the interval.

    Raises:
        StatisticsError: fewer than two values, or a quantile outside (0, 1).
    """
    check_quantile(n, quantile)
    middle = middle_rank(n, quantile)
    independent = float(np.sqrt(quantile * (1.0 - quantile) / n))
    known: dict[int, float] = {}
    shares = None
    if share_error is not None:
        known[middle] = at([middle])[0]
        shares = share_error(known[middle])
    clusters, error = shares or (n, independent)
    low, high = _bounds(n, quantile, shares, confidence)
    places, around = _around(n, quantile, error)
    wanted = [r for r in needed_ranks(n, quantile, shares, confidence=confidence) if r not in known]
    if wanted:
        known |= zip(wanted, at(wanted), strict=True)
    width = _width([known.get(rank) for rank in around], places, n)
    return QuantileEstimate(
        quantile,
        clusters,
        n,
        Interval(known[middle], known.get(low), known.get(high)),
        None if width is None else width / (2.0 * _REACH),
        error,
        (error / independent) ** 2,
        confidence,
    )


def needed_ranks(
    n: int, quantile: float, shares: tuple[int, float] | None = None, *, confidence: float = 0.95
) -> list[int]:
    """Ranks that ``quantile_of_ranks`` asks for.

    Args:
        n: Number of values.
        quantile: q.
        shares: Users, and the standard error of the share of values at or below the quantile; None
            if each value is of another user.
        confidence: Of the interval.

    Raises:
        StatisticsError: fewer than two values, or a quantile outside (0, 1).
    """
    check_quantile(n, quantile)
    error = float(np.sqrt(quantile * (1.0 - quantile) / n)) if shares is None else shares[1]
    _, around = _around(n, quantile, error)
    bounds = _bounds(n, quantile, shares, confidence)
    return sorted({r for r in (middle_rank(n, quantile), *bounds, *around) if 1 <= r <= n})


def quantile_p_value(
    values: ArrayLike, quantile: float, null: float, *, users: ArrayLike | None = None
) -> float:
    """Two-sided p value of a quantile being ``null``.

    Below alpha exactly if the interval of ``quantile_estimate`` at 1 - alpha excludes it.

    Args:
        values: float[n].
        quantile: q.
        null: Value tested.
        users: As for ``quantile_estimate``.

    Raises:
        StatisticsError: as for ``quantile_estimate``.
    """
    x = _checked(values, quantile, users)
    n = len(x)
    below, at_most = int((x < null).sum()), int((x <= null).sum())
    if users is None:
        too_low = float(stats.binom.cdf(at_most, n, quantile))
        too_high = float(stats.binom.sf(below - 1, n, quantile))
    else:
        middle = middle_rank(n, quantile)
        value = np.partition(x, middle - 1)[middle - 1]
        clusters, error = _proportion_error(x <= value, np.asarray(users))
        too_low = float(special.stdtr(clusters - 1, (at_most / n - quantile) / error))
        too_high = float(special.stdtr(clusters - 1, (quantile - below / n) / error))
    return min(1.0, 2.0 * too_low, 2.0 * too_high)


def compare_quantiles(
    control: QuantileEstimate, treatment: QuantileEstimate, *, confidence: float = 0.95
) -> Comparison:
    """Difference of two arms' quantiles and their ratio less one, with one p value.

    Raises:
        StatisticsError: too few values or too many ties around a quantile.
    """
    return compare(control.arm(), treatment.arm(), confidence=confidence)


def check_quantile(n: int, quantile: float) -> None:
    """Refuse what has no quantile.

    Raises:
        StatisticsError: fewer than two values, or a quantile outside (0, 1).
    """
    if not 0.0 < quantile < 1.0:
        raise StatisticsError("there is no such quantile.", f"{quantile:g} is not in (0, 1).")
    if n < 2:
        raise StatisticsError("a quantile needs at least two users.", f"There are {n} values.")


def _checked(values: ArrayLike, quantile: float, users: ArrayLike | None) -> Float:
    x = np.asarray(values, dtype=np.float64)
    if users is not None and np.shape(users) != x.shape:
        raise StatisticsError(
            "values and users differ in number.", f"{x.shape} and {np.shape(users)}."
        )
    check_quantile(len(x), quantile)
    # A sum is finite only if all its terms are; it spares a pass over the data.
    if not np.isfinite(x.sum()) and not np.isfinite(x).all():
        raise StatisticsError(
            "a metric has missing or infinite values.",
            f"{int((~np.isfinite(x)).sum()):,} of {x.size:,}.",
            "Drop these rows, or give them a value.",
        )
    return x


def middle_rank(n: int, quantile: float) -> int:
    """Rank of the estimate: the smallest with at least a share q at or below."""
    # n q may come out of rounding just above a whole number.
    return min(max(int(np.ceil(n * quantile - 1e-9 * n * quantile)), 1), n)


def _bounds(
    n: int, quantile: float, shares: tuple[int, float] | None, confidence: float
) -> tuple[int, int]:
    """Ranks of the interval's ends; beyond 1 or n where there are too few values."""
    alpha = 1.0 - confidence
    if shares is None:
        # Smallest counts whose tail is not below alpha / 2.
        low = int(stats.binom.ppf(alpha / 2.0, n, quantile))
        return low, n - int(stats.binom.ppf(alpha / 2.0, n, 1.0 - quantile)) + 1
    clusters, error = shares
    reach = float(stats.t.isf(alpha / 2.0, clusters - 1)) * error
    # Of the smallest and largest value whose share is within reach of q.
    return int(np.ceil(n * (quantile - reach))), int(np.floor(n * (quantile + reach))) + 1


def _around(n: int, quantile: float, error: float) -> tuple[list[float], list[int]]:
    """Places of the two quantiles 1.96 errors away, and the ranks on both sides of each."""
    places = [n * (quantile + side * _REACH * error) + 0.5 for side in (-1.0, 1.0)]
    return places, [rank for place in places for rank in (int(place), min(int(place) + 1, n))]


def _width(around: list[float | None], places: list[float], n: int) -> float | None:
    """Distance of two interpolated values, each between two ranks; None beyond the ends."""
    if places[0] < 1.0 or places[1] > n:
        return None
    near, after_near, far, after_far = (float(value or 0.0) for value in around)
    low = near + (places[0] % 1.0) * (after_near - near)
    high = far + (places[1] % 1.0) * (after_far - far)
    return high - low


def _proportion_error(flags: NDArray[np.bool_], users: NDArray[Any]) -> tuple[int, float]:
    """Number of users, and standard error of the share of flagged values, clustered by user."""
    sizes, flagged = _per_user(flags, users)
    m = len(sizes)
    if m < 2:
        raise StatisticsError("a quantile needs at least two users.", f"There are {m}.")
    residual = flagged - flagged.sum() / sizes.sum() * sizes
    error = float(np.sqrt(residual @ residual / (m * (m - 1.0))) / sizes.mean())
    if not error > 0.0:
        raise same_shares(m)
    return m, error


def same_shares(users: int) -> StatisticsError:
    """The error of a quantile that every user has the same share of values below."""
    return StatisticsError(
        "the quantile has no interval.",
        f"All {users:,} users have the same share of values at or below it.",
        "Use more users.",
    )


def _per_user(flags: NDArray[np.bool_], users: NDArray[Any]) -> tuple[Float, Float]:
    """Values and flagged values of each user."""
    new = users[1:] != users[:-1]
    if (users[1:] >= users[:-1]).all():
        starts = np.concatenate([[0], np.flatnonzero(new) + 1])
        sizes = np.diff(starts, append=len(users))
        flagged = np.add.reduceat(flags, starts, dtype=np.int64)
        return sizes.astype(np.float64), flagged.astype(np.float64)
    codes = _codes(users)
    sizes = np.bincount(codes)
    flagged = np.bincount(codes[flags], minlength=len(sizes))
    seen = sizes > 0
    return sizes[seen].astype(np.float64), flagged[seen].astype(np.float64)


def _codes(users: NDArray[Any]) -> NDArray[np.int64]:
    """Small whole numbers for users; some may stand for nobody."""
    if np.issubdtype(users.dtype, np.integer):
        ids = users.astype(np.int64)
        low = int(ids.min())
        if int(ids.max()) - low <= 4 * len(ids) + 1_000:
            return np.asarray(ids - low)
    # Sorting is the slow way, and the only one for scattered ids and names.
    return np.asarray(np.unique(users, return_inverse=True)[1], dtype=np.int64)
