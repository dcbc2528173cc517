"""Plan a test with a few looks: boundaries, power and futility.

A design rejects at look k if z_k passes b_k. The boundaries are exact for normal z with the
correlation sqrt(t_j / t_k) between looks, whatever the times of the looks, because each is solved
for so that just what the spending function allows is spent (Lan & DeMets, Biometrika 70, 1983).
Estimates with the information 1 / standard error^2 have that correlation (Scharfstein, Tsiatis &
Robins, JASA 92, 1997). Stopping for futility is not binding: it never changes the boundaries.

Early looks need nearly normal z far out in their tails. With heavy tails and unequal arms they are
not: watch times at 1,800:200 users err in 6 (O'Brien-Fleming, 5 looks) to 10 % (Pocock, 200 looks)
of tests at 5 %. ``group_inference.group_looks`` therefore takes the skewness out of z, and does not
read a look before the estimate's skewness is at most ``MOST_SKEWED``: such a look spends nothing,
what it could have spent is left to later ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from scipy import optimize, special

from reports.statistics.errors import StatisticsError
from reports.statistics.moments import Float
from reports.statistics.sequential.crossing import Walk, crossing_probabilities
from reports.statistics.sequential.spending import Spending, obrien_fleming

MOST_SKEWED = 0.3
"""Skewness of the estimate up to which an early look is read.

Half as much again as ``tails.TOLERATED`` allows without a correction; found by
``python -m benchmarks.inference.certificate --only "9:1 from"``.
"""

# What is spent below this is bounded by the look's own tail (conservative): integration over
# paths is not that exact, and no decision depends on it.
_NEGLIGIBLE = 1e-13
_SMALLEST = 1e-300


class Operating(NamedTuple):
    """How a design behaves under a true effect.

    Attributes:
        power: Probability of rejecting at any look.
        reject: float64[K], probability of first rejecting at each look.
        expected_fraction: Mean information fraction at which the experiment ends.
    """

    power: float
    reject: Float
    expected_fraction: float


class GroupSequential(NamedTuple):
    """A group sequential test.

    Attributes:
        spending: How the error rate is spent.
        alpha: Error rate, of both sides together if two-sided.
        sides: 2, or 1 for a test of a positive effect only.
    """

    spending: Spending = obrien_fleming
    alpha: float = 0.05
    sides: Literal[1, 2] = 2

    def boundaries(
        self, fractions: Sequence[float], *, last: bool = False, first: int = 0
    ) -> Float:
        """Z values beyond which each look rejects.

        Args:
            fractions: Information fractions of the looks so far, rising; above 1 if there is
                more information than planned.
            last: The final one is the last look at all; it spends everything that is left.
            first: Index of the first look that is read; those before spend nothing.

        Returns:
            float64[K]; infinite where nothing may be spent.

        Raises:
            StatisticsError: an impossible error rate, or looks that do not rise.
        """
        if not 0.0 < self.alpha < 1.0:
            raise StatisticsError(
                "the error rate is not possible.", f"It is {self.alpha}, not in (0, 1)."
            )
        if first >= len(fractions):
            return np.full(len(fractions), np.inf)
        walk = Walk(fractions[first:])
        side = self.alpha / self.sides
        spent = np.array(self.spending(np.asarray(fractions, dtype=np.float64), side))
        if last:
            spent[-1] = side
        result = np.full(len(spent), np.inf)
        for look, increment in enumerate(np.diff(spent[first:], prepend=0.0), first):
            result[look] = _solve(walk, float(increment))
            if look + 1 < len(spent):
                walk.advance(self.lower(result[look]), float(result[look]))
        return result

    def first_read(self, skewness: Sequence[float], *, last: bool = False) -> int:
        """Index of the first look that may be read, given the skewness of each look's estimate.

        The first that is not beyond ``MOST_SKEWED``; from it on all are read. If there is none,
        the last look at all, or the number of looks: none yet.
        """
        for look, rho in enumerate(skewness):
            if abs(rho) <= MOST_SKEWED:
                return look
        return len(skewness) - last

    def lower(self, boundary: float) -> float:
        """The lower boundary that belongs to an upper one."""
        return -float(boundary) if self.sides == 2 else -np.inf

    def operating(self, fractions: Sequence[float], drift: float) -> Operating:
        """Power and expected duration if the experiment runs to its last look at most.

        Args:
            fractions: Planned information fractions.
            drift: True effect over its planned standard error at fraction 1.
        """
        upper = self.boundaries(fractions, last=True)
        lower = [self.lower(b) for b in upper]
        crossing = crossing_probabilities(fractions, lower, upper.tolist(), drift=drift)
        reject = crossing.upper + crossing.lower
        running = 1.0 - np.concatenate([[0.0], np.cumsum(reject)[:-1]])
        steps = np.diff(np.asarray(fractions, dtype=np.float64), prepend=0.0)
        return Operating(float(reject.sum()), reject, float(running @ steps))

    def drift(self, fractions: Sequence[float], power: float) -> float:
        """The drift found with this power; its square over that of one look is the inflation.

        Raises:
            StatisticsError: a power not above the error rate.
        """
        if not self.alpha < power < 1.0:
            raise StatisticsError(
                "the power is not possible.", f"It is {power}, not in ({self.alpha}, 1)."
            )
        return float(
            optimize.brentq(
                lambda drift: self.operating(fractions, drift).power - power, 0.0, 20.0, xtol=1e-10
            )
        )

    def conditional_power(
        self, fractions: Sequence[float], look: int, z: float, drift: float | None = None
    ) -> float:
        """Probability of still rejecting, given z at this look (Lan, Simon & Halperin 1982).

        Low values (20 % under the planned effect, say) are a reason to stop for futility.

        Args:
            fractions: Planned information fractions of all looks.
            look: Index of the present one; the experiment goes on after it.
            z: The statistic there.
            drift: Assumed true effect over its planned standard error at fraction 1; the trend
                so far if None.

        Raises:
            StatisticsError: there is no later look.
        """
        if not 0 <= look < len(fractions) - 1:
            raise StatisticsError(
                "no look remains.", f"Look {look + 1} of {len(fractions)}.", "The test is done."
            )
        upper = self.boundaries(fractions, last=True)[look + 1 :]
        lower = [self.lower(b) for b in upper]
        now = float(fractions[look])
        trend = z / np.sqrt(now) if drift is None else drift
        crossing = crossing_probabilities(
            fractions[look + 1 :],
            lower,
            upper.tolist(),
            drift=float(trend),
            start=(now, float(z * np.sqrt(now))),
        )
        return float(crossing.upper.sum() + crossing.lower.sum())


def _solve(walk: Walk, increment: float) -> float:
    """The z above which the coming look has this probability."""
    if increment <= 0.0:
        return np.inf
    if increment < _NEGLIGIBLE:
        return -float(special.ndtri(increment))
    target = np.log(increment)
    top = -float(special.ndtri(increment))

    def gap(z: float) -> float:
        # Far out, between two looks close together, the probability is no longer a number above 0.
        return float(np.log(max(walk.above(z), _SMALLEST)) - target)

    # No single look has a larger tail than z itself, so the root is below.
    return float(optimize.brentq(gap, -12.0, top + 1e-9))
