"""Stop a running test for futility by beta spending.

The type II error beta is spent over the looks like alpha: at look k the lower boundary a_k is where
a walk with the planned effect would, having stopped nowhere before, fall below it with just the
probability that the spending function allows (Pampallona, Tsiatis & Kim, Drug Information Journal
35, 2001). It is not binding: the efficacy boundaries are those of ``GroupSequential`` without it,
so ignoring it never costs error rate. The looks are planned for power 1 - beta with the stopping
taken into account: ``drift`` is the planned effect over the planned standard error at which the two
boundaries meet at the last look.

One side only: futility of showing a positive effect. For a metric that should fall turn its sign.
Conditional power (``GroupSequential.conditional_power``) asks the same of one look at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import optimize

from reports.statistics.errors import StatisticsError
from reports.statistics.moments import Float
from reports.statistics.sequential.crossing import Walk, crossing_probabilities
from reports.statistics.sequential.group_sequential import GroupSequential
from reports.statistics.sequential.spending import Spending, obrien_fleming

_HIGHEST_DRIFT = 20.0


class FutilityPlan(NamedTuple):
    """Both boundaries of a planned test.

    Attributes:
        fractions: float[K], of information.
        efficacy: float[K], z above which a look rejects.
        futility: float[K], z below which it may stop; -inf where nothing may be spent. Equal to
            the efficacy boundary at the last look.
        drift: Effect, over its standard error at fraction 1, that is found with the power planned
            if the experiment stops for futility whenever it may.
        stops_without_effect: float[K], probability of stopping for futility at each look if there
            is no effect.
        expected_fraction: Mean information used if there is no effect.
    """

    fractions: Float
    efficacy: Float
    futility: Float
    drift: float
    stops_without_effect: Float
    expected_fraction: float

    def futile(self, look: int, z: float) -> bool:
        """Whether the statistic of this look is below the boundary."""
        return z < float(self.futility[look])


def plan_futility(
    design: GroupSequential,
    fractions: Sequence[float],
    *,
    power: float = 0.8,
    spending: Spending = obrien_fleming,
) -> FutilityPlan:
    """Find the boundaries and the drift they need.

    Args:
        design: One-sided, or two-sided with its upper side looked at.
        fractions: Planned information fractions, rising to 1.
        power: 1 - beta.
        spending: Of beta.

    Raises:
        StatisticsError: a power not above the error rate, or looks that do not end at 1.
    """
    t = np.asarray(fractions, dtype=np.float64)
    side = design.alpha / design.sides
    if not side < power < 1.0:
        raise StatisticsError(
            "the power is not possible.",
            f"It is {power:g}, not in ({side:g}, 1).",
            "Usual values are 0.8 and 0.9.",
        )
    if len(t) == 0 or abs(float(t[-1]) - 1.0) > 1e-9:
        raise StatisticsError(
            "the looks do not end with all information.",
            f"Information fractions: {list(map(float, fractions))}.",
            "Give the planned looks up to 1.",
        )
    beta = 1.0 - power
    efficacy = design.boundaries(fractions, last=True)
    spent = np.diff(spending(t, beta), prepend=0.0)

    def at_the_end(drift: float) -> float:
        """How far the lower boundary would be above the upper one at the last look."""
        lower = _lower(t, efficacy, spent, drift)
        return float(lower[-1] - efficacy[-1])

    # Without drift only a few paths are high: the share beta ends far below the upper boundary.
    drift = float(optimize.brentq(at_the_end, 1e-6, _HIGHEST_DRIFT, xtol=1e-10))
    futility = np.minimum(_lower(t, efficacy, spent, drift), efficacy)
    futility[-1] = efficacy[-1]
    none = crossing_probabilities(fractions, futility.tolist(), efficacy.tolist())
    stopped = none.upper + none.lower
    running = 1.0 - np.concatenate([[0.0], np.cumsum(stopped)[:-1]])
    return FutilityPlan(
        t, efficacy, futility, drift, none.lower, float(running @ np.diff(t, prepend=0.0))
    )


def _lower(t: Float, efficacy: Float, spent: Float, drift: float) -> Float:
    """Boundaries below which the planned effect falls with just the probabilities spent."""
    walk = Walk(t.tolist(), drift)
    result = np.empty(len(t))
    for look, increment in enumerate(spent):
        result[look] = _solve(walk, float(increment), drift)
        if look + 1 < len(t):
            # A lower boundary above the upper one would end the test here: no path is left.
            walk.advance(float(min(result[look], efficacy[look])), float(efficacy[look]))
    return result


def _solve(walk: Walk, increment: float, drift: float) -> float:
    low, high = -12.0, drift + 12.0
    if increment <= walk.below(low):
        return -np.inf
    if walk.below(high) <= increment:
        return high
    return float(optimize.brentq(lambda z: walk.below(z) - increment, low, high, xtol=1e-12))
