"""Hold counts, means and centred cross-products of columns; they merge exactly.

They are computed stably and merge exactly, so a table can be streamed, sharded and joined again:
every estimator of this package needs nothing else.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reports.statistics.errors import StatisticsError

Float = NDArray[np.float64]


class Moments(NamedTuple):
    """Of k columns over n users.

    Attributes:
        users: n.
        mean: float64[k].
        cross: float64[k, k], sum over users of (x - mean)(x - mean)'.
    """

    users: int
    mean: Float
    cross: Float

    @classmethod
    def of(cls, columns: ArrayLike) -> Moments:
        """From float[n, k], by the two-pass formula.

        Raises:
            StatisticsError: a value is missing or infinite.
        """
        x = finite_table(columns)
        if len(x) == 0:
            k = x.shape[1]
            return cls(0, np.zeros(k), np.zeros((k, k)))
        mean = x.mean(axis=0)
        centred = x - mean
        # The second term removes what rounding of the mean left behind (corrected two-pass).
        shift = centred.sum(axis=0)
        return cls(len(x), mean, centred.T @ centred - np.outer(shift, shift) / len(x))

    def merge(self, other: Moments) -> Moments:
        """Of both sets of users together (Chan, Golub & LeVeque, 1983)."""
        n = self.users + other.users
        if self.users == 0 or other.users == 0:
            return other if self.users == 0 else self
        delta = other.mean - self.mean
        mean = self.mean + delta * (other.users / n)
        extra = np.outer(delta, delta) * (self.users * other.users / n)
        return Moments(n, mean, self.cross + other.cross + extra)

    def covariance(self) -> Float:
        """float64[k, k], unbiased.

        Raises:
            StatisticsError: fewer than two users.
        """
        if self.users < 2:
            raise StatisticsError(
                "a variance needs at least two users.", f"There are {self.users}."
            )
        return self.cross / (self.users - 1)

    def combine(self, weights: Float) -> Moments:
        """Of weighted sums of the columns: one scan serves every metric made of them.

        Args:
            weights: float64[j, k], a row per new column.
        """
        return Moments(self.users, weights @ self.mean, weights @ self.cross @ weights.T)

    def select(self, columns: list[int]) -> Moments:
        """Restricted to some columns, in this order."""
        return Moments(self.users, self.mean[columns], self.cross[np.ix_(columns, columns)])


def finite_table(columns: ArrayLike) -> Float:
    """float64[n, k] of values per user; one column may come as float[n].

    Raises:
        StatisticsError: a value is missing or infinite.
    """
    x = np.asarray(columns, dtype=np.float64)
    if x.ndim == 1:
        x = x[:, None]
    if not np.isfinite(x).all():
        raise StatisticsError(
            "a metric has missing or infinite values.",
            f"{int((~np.isfinite(x)).sum()):,} of {x.size:,} cells.",
            "Fill them (a silent user counts as 0) or drop the users from both arms.",
        )
    return x
