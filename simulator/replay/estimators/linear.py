"""Linearise estimates over users, so that clustering and paired differences need no resampling.

Every estimator of this package is a smooth function of sums over users. Its first-order expansion
gives each user ``g`` an influence, and the variance of the estimate is the sum of their squares
(Huber, 1967; Liang & Zeger, Biometrika 1986). The normaliser of a ratio is one of those sums, so
its noise is part of the variance. Influences of two estimates on the same users are subtracted user
by user: what both share cancels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]
Users = NDArray[np.integer]


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

    @property
    def standard_error(self) -> float:
        """Square root of the summed squared influences."""
        return float(np.sqrt((self.influence**2).sum()))

    def covariance(self, other: Linear) -> float:
        """Covariance of two estimates on the same users."""
        return float((self.influence * other.influence).sum())

    def __add__(self, other: Linear) -> Linear:
        """The sum of two estimates on the same users."""
        return Linear(
            self.value + other.value,
            self.influence + other.influence,
            self.contributes | other.contributes,
        )

    def __sub__(self, other: Linear) -> Linear:
        """The difference of two estimates on the same users."""
        return Linear(
            self.value - other.value,
            self.influence - other.influence,
            self.contributes | other.contributes,
        )

    def __mul__(self, other: Linear) -> Linear:
        """The product of two estimates on the same users (delta method)."""
        return Linear(
            self.value * other.value,
            self.influence * other.value + other.influence * self.value,
            self.contributes | other.contributes,
        )

    def scaled(self, factor: float) -> Linear:
        """The estimate times a known number."""
        return Linear(self.value * factor, self.influence * factor, self.contributes)

    def relative_to(self, other: Linear) -> Linear | None:
        """``self / other - 1`` by the delta method; None where ``other`` is zero."""
        if other.value == 0.0:
            return None
        return Linear(
            self.value / other.value - 1.0,
            self.influence / other.value - other.influence * self.value / other.value**2,
            self.contributes | other.contributes,
        )


def ratio(numerator: Float64, denominator: Float64, user: Users, n_users: int) -> Linear | None:
    """Linearise ``sum(numerator) / sum(denominator)`` over users.

    User ``g`` has influence ``(A_g - theta * B_g) / sum B``, divided by ``1 - B_g / sum B``: the
    sum of squares is then the delete-one-user jackknife, up to the factor (G-1)/G (MacKinnon &
    White, Journal of Econometrics 1985), which is honest with few users.

    Args:
        numerator: float64[N] per row.
        denominator: float64[N] per row, non-negative.
        user: int[N], 0 .. n_users - 1, in any order.
        n_users: Number of clusters.

    Returns:
        The estimate, or None when the denominator is 0 or one user holds all of it.
    """
    return ratio_of_sums(user_sums(numerator, user, n_users), user_sums(denominator, user, n_users))


def ratio_of_sums(top: Float64, bottom: Float64) -> Linear | None:
    """`ratio` of sums that are known per user already, float64[G] each."""
    total = bottom.sum()
    if total <= 0 or (bottom >= total).any():
        return None
    value = top.sum() / total
    influence = (top - value * bottom) / total / (1.0 - bottom / total)
    return Linear(float(value), influence, (top != 0) | (bottom > 0))


def mean(values: Float64, user: Users, n_users: int) -> Linear | None:
    """Linearise the mean over rows; None with fewer than two users."""
    top = user_sums(values, user, n_users)
    counts = np.bincount(user, minlength=n_users).astype(np.float64)
    return ratio_of_sums(top, counts)


def user_sums(values: Float64, user: Users, n_users: int) -> Float64:
    """float64[G]: sum of a value per row over each user's rows."""
    return np.bincount(user, weights=values, minlength=n_users).astype(np.float64, copy=False)


def effective_sample_size(weight: Float64) -> float:
    """Kish's effective sample size ``(sum w)^2 / sum w^2`` (Survey Sampling, 1965)."""
    square = float((weight**2).sum())
    return float(weight.sum()) ** 2 / square if square > 0 else 0.0
