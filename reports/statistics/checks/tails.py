"""Predict how far skewness lowers the coverage of an interval.

Let D be the estimated effect, V its variance and

    rho = third central moment of D / V^(3/2),    D = b - a:  (k_b / n_b^2 - k_a / n_a^2) / V^(3/2),

k being the third central moment of a user's value. A t interval at critical value z misses, beyond
what it promises, on the two sides together (phi: normal density)

    z phi(z) (z^4 + 2 z^2 - 3) rho^2 / 9

and on one side more and on the other side less by ``phi(z) (2 z^2 + 1) rho / 6``: Hall, The
Bootstrap and Edgeworth Expansion, 1992, section 2.6, with ``skewness / sqrt(n)`` of one sample
replaced by the rho of two. The term of the kurtosis, left out, only adds coverage at 95 %. For one
sample the rule is that of Boos & Hughes-Oliver (The American Statistician 54, 2000).

What follows: with equal arms the skewness cancels, so an A/A test of 1:1 is never in danger,
however heavy the tail; at 1:9 the small arm decides. The same holds of a lift, whose D is
``b - (1 + lift) a``. A sample shows less skewness than there is, most of all a small one; so values
are standardised by arm and their skewness is taken from all arms together, as if the arms differed
in scale only.

The rule warns if the predicted coverage lacks a fifth of alpha: 94 % instead of 95 %, rho beyond
0.2. `python -m benchmarks.inference.certificate` shows that intervals cover 94 to 96 % where it
is silent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from reports.statistics.errors import StatisticsError
from reports.statistics.estimates import adjustment, ratio_gradient
from reports.statistics.lift import check_confidence
from reports.statistics.moments import Float, Moments, finite_table

TOLERATED = 0.2
"""Share of alpha by which the predicted coverage may fall short."""


class TailRisk(NamedTuple):
    """What skewness does to an interval.

    Attributes:
        skewness: Of a user's value, from all arms together.
        distortion: rho of the absolute difference or of the lift, whichever is further from 0.
        lopsided: By how much one tail errs more than its half of alpha, and the other less; what
            a one-sided test feels.
        smallest: Users in the smaller arm.
        predicted: Coverage to expect.
        confidence: Coverage promised.
        warns: Whether the difference is too large.
        paired: Whether ``smallest`` counts pairs.
    """

    skewness: float
    distortion: float
    lopsided: float
    smallest: int
    predicted: float
    confidence: float
    warns: bool
    paired: bool = False

    def sentence(self) -> str:
        """The warning; empty if there is none."""
        if not self.warns:
            return ""
        who = (
            f"{self.smallest:,} pairs"
            if self.paired
            else f"{self.smallest:,} users in the smaller arm"
        )
        more = "more users" if self.paired else "more users, more equal arms"
        # As many decimals as tell the two apart: the rule warns of a fifth of what is missing to 1.
        places = max(0, math.ceil(-math.log10(100 * TOLERATED * (1.0 - self.confidence)) - 1e-9))
        return (
            f"Heavy tail (skewness {self.skewness:.0f}) with {who}: the "
            f"{100 * self.confidence:.3g} % interval covers about "
            f"{100 * self.predicted:.{places}f} %. Use {more} or a capped metric."
        )


class Spread(NamedTuple):
    """Centred sums of one arm's linearised values, up to the third power; they merge.

    Attributes:
        users: n.
        mean: Of the values.
        squares: Sum of ``(z - mean)^2``.
        cubes: Sum of ``(z - mean)^3``.
    """

    users: int
    mean: float
    squares: float
    cubes: float

    @classmethod
    def of(cls, values: ArrayLike) -> Spread:
        """From float[n].

        Raises:
            StatisticsError: a value is missing or infinite.
        """
        x = finite_table(values)[:, 0]
        if len(x) == 0:
            return cls(0, 0.0, 0.0, 0.0)
        mean = float(x.mean())
        centred = x - mean
        square = centred * centred
        return cls(len(x), mean, float(square.sum()), float(square @ centred))

    def merge(self, other: Spread) -> Spread:
        """Of both sets of users (Pebay, Sandia report SAND2008-6212, 2008, equation 2.1)."""
        if self.users == 0 or other.users == 0:
            return other if self.users == 0 else self
        a, b = self.users, other.users
        n, gap = a + b, other.mean - self.mean
        cubes = self.cubes + other.cubes + gap**3 * (a / n) * (b / n) * (a - b)
        return Spread(
            n,
            self.mean + gap * (b / n),
            self.squares + other.squares + gap**2 * (a / n) * b,
            cubes + 3.0 * gap * ((a / n) * other.squares - (b / n) * self.squares),
        )


def tail_risk(
    control: ArrayLike | Spread,
    treatment: ArrayLike | Spread,
    *,
    lift: float = 0.0,
    confidence: float = 0.95,
) -> TailRisk:
    """Judge the comparison of two independent arms.

    Args:
        control: float[n], linearised values of the users (``linearised``); of a mean simply the
            values. Or their ``Spread``.
        treatment: float[m], likewise.
        lift: Estimated relative lift, if a lift is reported as well.
        confidence: Of the interval.

    Raises:
        StatisticsError: fewer than two users in an arm, missing values, or no variance.
    """
    check_confidence(confidence)
    users, deviations, skewness = _pooled_skewness(control, treatment)
    factors = (1.0, 1.0 + lift)
    distortion = max((_rho(users, deviations, skewness, f) for f in factors), key=abs)
    return _judged(skewness, distortion, min(users), confidence)


def third_cumulants(
    control: ArrayLike | Spread, treatment: ArrayLike | Spread
) -> tuple[float, float]:
    """Third cumulants of both estimates, ``skewness sd^3 / n^2``, for ``skewness.hall``.

    As for ``tail_risk``, the skewness is that of all arms together.

    Args:
        control: float[n], linearised values of the users (``linearised``); of a mean simply the
            values. Or their ``Spread``.
        treatment: float[m], likewise.

    Raises:
        StatisticsError: fewer than two users in an arm, missing values, or no variance.
    """
    users, deviations, skewness = _pooled_skewness(control, treatment)
    a, b = (skewness * d**3 / n**2 for n, d in zip(users, deviations, strict=True))
    return a, b


def _pooled_skewness(
    control: ArrayLike | Spread, treatment: ArrayLike | Spread
) -> tuple[list[int], list[float], float]:
    """Users and standard deviation per arm, and the skewness after standardising by arm."""
    users, deviations, cubes = [], [], 0.0
    for values in (control, treatment):
        spread = values if isinstance(values, Spread) else Spread.of(values)
        if spread.users < 2:
            raise StatisticsError(
                "a tail needs at least two users.",
                f"There are {spread.users}.",
                "Wait for more users.",
            )
        deviation = float(np.sqrt(spread.squares / spread.users))
        users.append(spread.users)
        deviations.append(deviation)
        if deviation > 0.0:
            cubes += spread.cubes / deviation**3
    if not max(deviations) > 0.0:
        raise StatisticsError(
            "the metric does not vary.", "Every user has the same value.", "No lift is computed."
        )
    varied = sum(n for n, deviation in zip(users, deviations, strict=True) if deviation > 0.0)
    return users, deviations, cubes / varied


def tail_risk_of_pairs(differences: ArrayLike | Spread, *, confidence: float = 0.95) -> TailRisk:
    """Judge a paired comparison: one sample, whose skewness nothing cancels.

    Args:
        differences: float[n], treatment minus control of each pair (linearised values); or their
            ``Spread``.
        confidence: Of the interval.

    Raises:
        StatisticsError: fewer than two pairs, missing values, or no variance.
    """
    check_confidence(confidence)
    spread = differences if isinstance(differences, Spread) else Spread.of(differences)
    if spread.users < 2:
        raise StatisticsError(
            "a tail needs at least two users.", f"There are {spread.users}.", "Wait for more users."
        )
    deviation = float(np.sqrt(spread.squares / spread.users))
    if not deviation > 0.0:
        raise StatisticsError(
            "the metric does not vary.", "Every pair differs alike.", "No lift is computed."
        )
    skewness = spread.cubes / deviation**3 / spread.users
    distortion = skewness / np.sqrt(spread.users)
    return _judged(skewness, distortion, spread.users, confidence)._replace(paired=True)


def _judged(skewness: float, distortion: float, smallest: int, confidence: float) -> TailRisk:
    short = shortfall(distortion, confidence)
    return TailRisk(
        skewness,
        distortion,
        _lopsided(distortion, confidence),
        smallest,
        max(confidence - short, 0.0),
        confidence,
        short > TOLERATED * (1.0 - confidence),
    )


def shortfall(distortion: float, confidence: float = 0.95) -> float:
    """By how much a t interval covers less than its confidence, to second order."""
    z = float(special.ndtri(0.5 + 0.5 * confidence))
    density = float(np.exp(-0.5 * z * z) / np.sqrt(2.0 * np.pi))
    # Below 95 % the polynomial may be negative: then skewness adds coverage.
    return max(z * density * (z**4 + 2.0 * z**2 - 3.0) * distortion**2 / 9.0, 0.0)


def _lopsided(distortion: float, confidence: float) -> float:
    z = float(special.ndtri(0.5 + 0.5 * confidence))
    density = float(np.exp(-0.5 * z * z) / np.sqrt(2.0 * np.pi))
    return density * (2.0 * z**2 + 1.0) * abs(distortion) / 6.0


def linearised(arms: Sequence[ArrayLike]) -> list[Float]:
    """Each user's part in an estimate of ``estimate_arms``, up to a constant per arm.

    Args:
        arms: float[n, 2 + k] per arm: numerator, denominator, covariates, as for ``Moments.of``.

    Returns:
        float64[n] per arm, ``(x - R y) / mean(y) - theta'(c - mean(c))``.

    Raises:
        StatisticsError: a denominator that sums to zero, or missing values.
    """
    tables = [finite_table(arm) for arm in arms]
    parts = linear_parts([Moments.of(table) for table in tables])
    return [part.of(table) for table, part in zip(tables, parts, strict=True)]


class LinearPart(NamedTuple):
    """What makes a user's columns of one arm the user's part in the estimate.

    Attributes:
        mean: float64[2 + k], of the arm.
        weights: float64[2 + k].
    """

    mean: Float
    weights: Float

    def of(self, columns: Float) -> Float:
        """float64[n] from float64[n, 2 + k]."""
        return np.asarray((columns - self.mean) @ self.weights)


def linear_parts(arms: Sequence[Moments]) -> list[LinearPart]:
    """As ``linearised``, for columns that are read in blocks.

    Args:
        arms: Moments of (numerator, denominator, covariates) per arm.

    Raises:
        StatisticsError: a denominator that sums to zero.
    """
    for part in arms:
        if part.users == 0 or part.mean[1] == 0.0:
            raise StatisticsError(
                "the ratio has no denominator.",
                "It sums to zero in at least one arm.",
                "Choose a metric whose denominator occurs.",
            )
    theta = adjustment(arms)
    return [
        LinearPart(part.mean, np.concatenate([ratio_gradient(part.mean), -theta])) for part in arms
    ]


def _rho(users: list[int], deviations: list[float], skewness: float, factor: float) -> float:
    """Skewness of ``b - factor a``."""
    scales = np.array([factor * deviations[0], deviations[1]])
    n = np.array(users, dtype=np.float64)
    variance = float((scales**2 / n).sum())
    if not variance > 0.0:
        return 0.0
    cubes = scales**3 / n**2
    return float(skewness * (cubes[1] - cubes[0]) / variance**1.5)
