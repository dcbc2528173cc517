"""Off-policy estimators with intervals clustered by user.

Rows ``i`` belong to users ``g``; ``w`` are importance weights (target over logging probability) and
``y`` outcomes. All three estimators are ratios of sums over users, ``sum_g A_g / sum_g B_g``:

    IPS          A = sum w*y        B = number of rows      (Horvitz & Thompson, JASA 1952)
    SNIPS        A = sum w*y        B = sum w               (Swaminathan & Joachims, NeurIPS 2015)
    matching     A = sum match*y    B = matched rows        (Li et al., WSDM 2011, "replay")

so one linearisation serves them all: user ``g`` has influence ``(A_g - theta * B_g) / sum B``. The
normaliser's own noise is part of it; treating it as fixed gives wrong intervals. Each influence is
divided by ``1 - B_g / sum B``, which turns the sum of squares into the delete-one-user jackknife
(up to the factor (G-1)/G; MacKinnon & White, Journal of Econometrics 1985), honest with few users.
Differences of two policies on one log subtract influences user by user, so what both share cancels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

Float64 = NDArray[np.float64]

LEVEL = 0.95


@dataclass(frozen=True)
class Linear:
    """An estimate with the influence of every user.

    Attributes:
        value: The estimate.
        influence: float64[G]; the variance of ``value`` is the sum of squares.
        contributes: bool[G], users with any weight.
    """

    value: float
    influence: Float64
    contributes: NDArray[np.bool_]

    def __sub__(self, other: Linear) -> Linear:
        """The difference of two estimates on the same users."""
        return Linear(
            self.value - other.value,
            self.influence - other.influence,
            self.contributes | other.contributes,
        )

    def relative_to(self, other: Linear) -> Linear | None:
        """``self / other - 1`` by the delta method; None unless ``other`` is clearly above 0."""
        error = float(np.sqrt((other.influence**2).sum()))
        if other.value <= 0 or other.value < 3.0 * error:
            return None
        return Linear(
            self.value / other.value - 1.0,
            self.influence / other.value - other.influence * self.value / other.value**2,
            self.contributes | other.contributes,
        )


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval.

    Attributes:
        value: Point estimate.
        standard_error: Clustered by user.
        low, high: Student interval; degrees of freedom are the contributing users less one.
    """

    value: float
    standard_error: float
    low: float
    high: float

    @classmethod
    def of(cls, linear: Linear) -> Estimate | None:
        """The interval of a linearised estimate; None with fewer than two contributing users."""
        users = int(linear.contributes.sum())
        error = float(np.sqrt((linear.influence**2).sum()))
        if users < 2 or not np.isfinite(error):
            return None
        half = float(student.ppf(0.5 + LEVEL / 2, users - 1)) * error
        return cls(linear.value, error, linear.value - half, linear.value + half)


def ratio(
    numerator: Float64, denominator: Float64, user: NDArray[np.integer], n_users: int
) -> Linear | None:
    """Linearise ``sum(numerator) / sum(denominator)`` over users.

    Args:
        numerator: float64[N] per row.
        denominator: float64[N] per row, non-negative.
        user: int[N], 0 .. n_users - 1.
        n_users: Number of clusters.

    Returns:
        The estimate, or None when the denominator is 0 or one user holds all of it.
    """
    top = np.bincount(user, weights=numerator, minlength=n_users)
    bottom = np.bincount(user, weights=denominator, minlength=n_users)
    total = bottom.sum()
    if total <= 0 or (bottom >= total).any():
        return None
    value = top.sum() / total
    influence = (top - value * bottom) / total / (1.0 - bottom / total)
    return Linear(float(value), influence, (top != 0) | (bottom > 0))


def ips(
    weight: Float64, outcome: Float64, user: NDArray[np.integer], n_users: int
) -> Linear | None:
    """Inverse propensity scoring; None when no row has weight."""
    if not (weight > 0).any():
        return None
    linear = ratio(weight * outcome, np.ones_like(weight), user, n_users)
    if linear is None:
        return None
    matched = np.bincount(user, weights=weight, minlength=n_users) > 0
    return Linear(linear.value, linear.influence, matched)


def snips(
    weight: Float64, outcome: Float64, user: NDArray[np.integer], n_users: int
) -> Linear | None:
    """Self-normalised inverse propensity scoring; None when no row has weight."""
    return ratio(weight * outcome, weight, user, n_users)


def effective_sample_size(weight: Float64) -> float:
    """Kish's effective sample size ``(sum w)^2 / sum w^2`` (Survey Sampling, 1965)."""
    square = float((weight**2).sum())
    return float(weight.sum()) ** 2 / square if square > 0 else 0.0
