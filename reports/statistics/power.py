"""Plan a test: users needed, detectable effect and power.

The test is Welch's on treatment minus (1 + null) times control, by the metric's own variance per
user: of the mean, of the linearised ratio (delta method), and after covariate adjustment if the
moments carry covariates. Its power is the noncentral t distribution's (Satterthwaite's degrees of
freedom), so small experiments are not flattered; with two arms of equal size and variance this is
the textbook two-sample t test.

Assumptions: means are nearly normal; the treatment's variance is the control's, unless said
otherwise (a proportion's follows from its rate).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy import integrate, optimize, special, stats

from reports.statistics.errors import StatisticsError
from reports.statistics.estimates import estimate_arms
from reports.statistics.lift import Alternative
from reports.statistics.moments import Float, Moments

# Beyond this the noncentral t is the normal to six digits, and slow or inexact to compute.
_NORMAL_FREEDOM = 1e5
_MOST_USERS = 1e13


class Baseline(NamedTuple):
    """What is known of a metric before the experiment.

    Attributes:
        value: Of the metric; not zero where lifts are relative to it.
        variance: Of one user's (linearised, adjusted) value.
        is_proportion: The variance follows from the value: p (1 - p).
        variance_ratio: Treatment's over control's variance; only if not a proportion.
    """

    value: float
    variance: float
    is_proportion: bool = False
    variance_ratio: float = 1.0

    @classmethod
    def of(cls, moments: Moments, *, adjusted: bool = True) -> Baseline:
        """From data before the experiment.

        Args:
            moments: Columns (numerator, denominator, covariate, ...), as for ``estimate_arms``.
            adjusted: Whether the covariates will be used (CUPED); if not they are ignored.
        """
        arm = estimate_arms([moments])[0]
        variance = arm.variance if adjusted else arm.raw_variance
        return cls(arm.value, variance * moments.users)

    @classmethod
    def proportion(cls, rate: float) -> Baseline:
        """A share of users.

        Raises:
            StatisticsError: a rate not between 0 and 1.
        """
        if not 0.0 < rate < 1.0:
            raise StatisticsError("the rate is not possible.", f"It is {rate}, not in (0, 1).")
        return cls(rate, rate * (1.0 - rate), is_proportion=True)


class PlannedTest(NamedTuple):
    """What will be tested.

    Attributes:
        alpha: Error rate of the whole experiment.
        alternative: Two-sided, or one direction of the lift.
        null: Lift under the null hypothesis; ``-margin`` with "greater" is non-inferiority,
            ``margin`` with "less" the same for a metric that should not rise.
        shares: Of users, the control first and then every treatment.
        correct: Divide alpha among the treatments (Bonferroni; Holm never needs more users).
        paired: Every user is in every arm (twin design): the baseline's variance is that of one
            user's difference, and shares only give the number of arms. A margin shifts the
            difference but is taken not to change its variance.
        absolute: Lifts, the null and margins are differences in the metric's unit.
        looks: Other tests that share alpha with this one, itself included (Bonferroni).
    """

    alpha: float = 0.05
    alternative: Alternative = "two-sided"
    null: float = 0.0
    shares: Sequence[float] = (0.5, 0.5)
    correct: bool = True
    paired: bool = False
    absolute: bool = False
    looks: int = 1

    @classmethod
    def non_inferiority(
        cls, margin: float, *, alpha: float = 0.05, shares: Sequence[float] = (0.5, 0.5)
    ) -> PlannedTest:
        """That a metric which should be high falls by less than the margin (a positive lift)."""
        return cls(alpha, "greater", -abs(margin), shares)

    @property
    def level(self) -> float:
        """Error rate of one comparison."""
        treatments = max(len(self.shares) - 1, 1) if self.correct else 1
        return self.alpha / (treatments * self.looks)

    def size_of(self, baseline: Baseline) -> float:
        """What a lift of 1 is in the metric's unit."""
        return 1.0 if self.absolute else abs(baseline.value)


class Plan(NamedTuple):
    """An experiment that finds a lift.

    Attributes:
        users: Per arm, the control first.
        lift: True lift of the smallest treatment arm, relative to the control.
        power: Probability that this comparison is significant.
        paired: Every user is in every arm.
    """

    users: tuple[int, ...]
    lift: float
    power: float
    paired: bool = False

    @property
    def total(self) -> int:
        """Different users in all arms together."""
        return max(self.users) if self.paired else sum(self.users)


def power(baseline: Baseline, lift: float, users: Sequence[float], test: PlannedTest) -> float:
    """Probability of a significant comparison of the smallest treatment with the control.

    Args:
        baseline: The metric.
        lift: True relative lift.
        users: Per arm, the control first; ``test.shares`` then only give the number of arms.
        test: What is tested.

    Raises:
        StatisticsError: a baseline of zero or without variance, a lift that is impossible, or
            arms with fewer than two users.
    """
    _check(baseline, test)
    if len(users) != len(test.shares) or min(users) < 2:
        raise StatisticsError(
            "the arms do not make an experiment.",
            f"Users per arm: {list(users)}; the test has {len(test.shares)} arms.",
            "Every arm needs two users.",
        )
    control, treatment = float(users[0]), float(min(users[1:]))
    if test.paired:
        error, freedom = float(np.sqrt(baseline.variance / control)), control - 1.0
    else:
        factor = 1.0 if test.absolute else 1.0 + test.null
        low = factor**2 * baseline.variance / control
        high = _treatment_variance(baseline, lift, test) / treatment
        error = float(np.sqrt(low + high))
        # Of shares of the variance: squares of the variances themselves may vanish.
        own = low / (low + high)
        freedom = 1.0 / (own**2 / (control - 1.0) + (1.0 - own) ** 2 / (treatment - 1.0))
    # Lifts of a negative metric are tested as lifts: 'greater' means a more extreme one.
    shift = float((lift - test.null) * test.size_of(baseline) / error)
    if test.alternative == "two-sided":
        return _tail(shift, freedom, test.level / 2.0) + _tail(-shift, freedom, test.level / 2.0)
    return _tail(shift if test.alternative == "greater" else -shift, freedom, test.level)


def sample_size(baseline: Baseline, lift: float, test: PlannedTest, *, target: float = 0.8) -> Plan:
    """Fewest users, split by ``test.shares``, that find this lift.

    Raises:
        StatisticsError: no number of users finds it.
    """
    shares = _check(baseline, test)
    smallest = 2.0 / shares.min()

    def gap(log_users: float) -> float:
        return power(baseline, lift, (np.exp(log_users) * shares).tolist(), test) - target

    direction = {"greater": 1.0, "less": -1.0, "two-sided": 0.0}[test.alternative]
    wrong_way = direction * (lift - test.null) < 0.0
    if lift == test.null or wrong_way or gap(float(np.log(_MOST_USERS))) < 0.0:
        raise StatisticsError(
            "no number of users finds this lift.",
            f"The lift is {_shown(lift, test)}, the null hypothesis {_shown(test.null, test)} "
            f"({test.alternative}).",
            "Plan for a lift further from the null hypothesis.",
        )
    low = np.log(smallest * (1.0 + 1e-12))
    log_users = low if gap(low) >= 0.0 else _root(gap, low, float(np.log(_MOST_USERS)))
    users = tuple(int(n) for n in np.ceil(np.exp(log_users) * shares - 1e-9))
    return Plan(users, lift, power(baseline, lift, users, test), test.paired)


def detectable_lift(
    baseline: Baseline, users: Sequence[int], test: PlannedTest, *, target: float = 0.8
) -> Plan:
    """Smallest lift beyond the null hypothesis that is found, in the direction tested.

    Two-sided tests give the positive one. For a non-inferiority test see ``detectable_margin``.

    Raises:
        StatisticsError: even the largest possible lift is not found.
    """
    _check(baseline, test)
    sign = -1.0 if test.alternative == "less" else 1.0
    far = _farthest(baseline, sign, test) - test.null

    def gap(size: float) -> float:
        return power(baseline, test.null + size, users, test) - target

    reach = sign * np.sqrt(baseline.variance / min(users)) / test.size_of(baseline)
    while gap(reach) < 0.0:
        if abs(reach) >= abs(far):
            raise StatisticsError(
                "no possible lift is found.",
                f"Users per arm: {list(users)}.",
                "Use more users, or a metric that varies less.",
            )
        reach = 2.0 * reach if abs(2.0 * reach) < abs(far) else far
    lift = test.null + _root(gap, 0.0, reach)
    found = power(baseline, lift, users, test)
    return Plan(tuple(int(n) for n in users), lift, found, test.paired)


def detectable_margin(
    baseline: Baseline,
    users: Sequence[int],
    test: PlannedTest,
    *,
    lift: float = 0.0,
    target: float = 0.8,
) -> float:
    """Smallest non-inferiority margin that is shown when the true lift is ``lift``.

    Args:
        baseline: The metric.
        users: Per arm, the control first.
        test: One-sided; its null is ignored.
        lift: True lift.
        target: Power.

    Raises:
        StatisticsError: a two-sided test, or no margin below 100 % (of a difference: no margin that
            is possible) is shown.
    """
    if test.alternative == "two-sided":
        raise StatisticsError(
            "a margin needs a one-sided test.", hint="Use alternative='greater' or 'less'."
        )
    sign = 1.0 if test.alternative == "greater" else -1.0

    def gap(margin: float) -> float:
        return power(baseline, lift, users, test._replace(null=-sign * margin)) - target

    start = -sign * lift
    most = abs(_farthest(baseline, -sign, test)) if test.absolute else 1.0
    if gap(most) < 0.0:
        raise StatisticsError(
            "no margin below 100 % can be shown.", f"Users per arm: {list(users)}.", "Use more."
        )
    return _root(gap, start, most)


def variance_over_days(variance: float, daily: Float, days: int) -> float:
    """Variance of a user's mean over another number of days.

    A user's mean varies by what differs between users, and by the scatter of the user's days
    divided by their number (one-way random effects: Searle, Casella & McCulloch, "Variance
    Components", 1992, chapter 3). Assumes that days are exchangeable: neither the trend nor the
    correlation of neighbouring days is modelled, and nobody leaves.

    Args:
        variance: Of a user's mean over the days observed, after adjustment if there is any.
        daily: float64[users, observed days], the user's (linearised) value of each day.
        days: Of the experiment that is planned.

    Raises:
        StatisticsError: other days wanted, but only one observed.
    """
    observed = daily.shape[1]
    if days == observed:
        return variance
    if observed < 2 or days < 1:
        raise StatisticsError(
            "the scatter between days is not known.",
            f"There is {observed} day; {days} are planned.",
            f"Plan for {observed}, or give a table with at least two days.",
        )
    within = float(daily.var(axis=1, ddof=1).mean())
    between = max(variance - within / observed, 0.0)
    return float(between + within / days)


def best_shares(treatments: int) -> tuple[float, ...]:
    """Shares with the smallest variance of all comparisons: sqrt(k) : 1 : ... : 1.

    Dunnett, JASA 50, 1955.
    """
    root = float(np.sqrt(treatments))
    total = root + treatments
    return (root / total, *[1.0 / total] * treatments)


def _check(baseline: Baseline, test: PlannedTest) -> Float:
    if (baseline.value == 0.0 and not test.absolute) or not baseline.variance > 0.0:
        raise StatisticsError(
            "the metric cannot be planned for.",
            f"Its value is {baseline.value:g}, its variance {baseline.variance:g}.",
            "Both must differ from zero.",
        )
    shares = np.asarray(test.shares, dtype=np.float64)
    if len(shares) < 2 or not (shares > 0.0).all() or not 0.0 < test.alpha < 1.0:
        raise StatisticsError(
            "the test is not possible.", f"Shares {list(test.shares)}, alpha {test.alpha}."
        )
    if test.paired and baseline.is_proportion:
        raise StatisticsError(
            "a paired test needs the variance of a user's difference.",
            "A rate alone does not give it.",
        )
    return np.ones(len(shares)) if test.paired else np.asarray(shares / shares.sum())


def _treatment_variance(baseline: Baseline, lift: float, test: PlannedTest) -> float:
    if not baseline.is_proportion:
        return baseline.variance * baseline.variance_ratio
    rate = baseline.value + lift * test.size_of(baseline)
    if not -1e-12 <= rate <= 1.0 + 1e-12:
        raise StatisticsError(
            "the lift is not possible.", f"It takes the rate from {baseline.value:g} to {rate:g}."
        )
    return max(rate * (1.0 - rate), 0.0)


def _farthest(baseline: Baseline, sign: float, test: PlannedTest) -> float:
    """The largest lift that is possible in a direction."""
    if not baseline.is_proportion:
        return sign * 1e6 * (np.sqrt(baseline.variance) if test.absolute else 1.0)
    reach = 1.0 - baseline.value if sign > 0.0 else -baseline.value
    return reach / test.size_of(baseline)


def _shown(lift: float, test: PlannedTest) -> str:
    return f"{lift:+.4g}" if test.absolute else f"{lift:+.3%}"


def _tail(shift: float, freedom: float, level: float) -> float:
    """Probability that a t statistic with this noncentrality exceeds its critical value."""
    if freedom > _NORMAL_FREEDOM:
        return float(special.ndtr(shift + special.ndtri(level)))
    critical = stats.t.isf(level, freedom)
    found = float(1.0 - special.nctdtr(freedom, shift, critical))
    return found if np.isfinite(found) else _tail_by_spread(shift, freedom, critical)


def _tail_by_spread(shift: float, freedom: float, critical: float) -> float:
    """The same where the series of the noncentral t does not converge.

    A mean of normal probabilities over the quantiles of the estimated standard deviation.
    """

    def normal(level: float) -> float:
        deviation = np.sqrt(2.0 * special.gammaincinv(freedom / 2.0, level) / freedom)
        return float(special.ndtr(shift - critical * deviation))

    # Where the integrand falls from one to zero; below it may be all there is.
    fall = max(shift, 1.0) / max(critical, 1e-9)
    level = float(special.gammainc(freedom / 2.0, freedom * fall**2 / 2.0))
    return float(
        sum(integrate.quad(normal, *ends, limit=200)[0] for ends in ((0, level), (level, 1)))
    )


def _root(gap: Callable[[float], float], low: float, high: float) -> float:
    return float(optimize.brentq(gap, low, high, xtol=1e-14, rtol=1e-13, maxiter=500))
