"""Simulate experiments for the certificate: distributions of values, one trial per estimator.

A trial draws every user of both arms, calls the module as a report would, and says whether the
interval holds the true effect and whether the module warned of heavy tails.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from reports.analysis.rates import Rates
from reports.statistics.checks.tails import linearised, tail_risk
from reports.statistics.distributions.bootstrap import bootstrap, mean_difference
from reports.statistics.distributions.capping import cap_pooled, capped_estimates
from reports.statistics.distributions.poisson_weights import resample
from reports.statistics.distributions.quantiles import compare_quantiles, quantile_estimate
from reports.statistics.estimates import estimate_arms
from reports.statistics.lift import Comparison, Interval, compare
from reports.statistics.margins import non_inferiority
from reports.statistics.moments import Moments
from reports.statistics.novelty import daily_moments, effect_trend
from reports.statistics.random_effects import random_effects
from reports.statistics.rates import Rate, compare_rates
from reports.statistics.relative import log_lift
from reports.statistics.two_part import two_part, two_part_moments

Float = NDArray[np.float64]
Random = np.random.Generator
Draw = Callable[[Random, int], Float]

# Comment watch time: nothing for 40 % of people, log-normal for the others.
SHARE, MU, SIGMA = 0.6, 3.0, 1.2
RATE, RARE = 0.01, 0.001
EVENT_SPREAD = np.hypot(0.6, 0.8)


class Outcome(NamedTuple):
    """Of one trial.

    Attributes:
        absolute: Whether the interval of the difference holds the true one.
        relative: Likewise of the lift; None if there is none.
        warned: Whether the heavy-tail rule warned; None if it does not apply.
    """

    absolute: bool
    relative: bool | None
    warned: bool | None


Trial = Callable[[Random, int, int, float], Outcome]


class Law(NamedTuple):
    """Of one user's value.

    Attributes:
        draw: float[n] of n users.
        mean: Expectation.
    """

    draw: Draw
    mean: float


def watch_time(rng: Random, users: int) -> Float:
    """Zero-inflated log-normal."""
    value = rng.standard_normal(users)
    value *= SIGMA
    value += MU
    np.exp(value, out=value)
    value *= rng.random(users) < SHARE
    return value


NORMAL = Law(lambda rng, n: rng.normal(10.0, 4.0, n), 10.0)
PROPORTION = Law(lambda rng, n: (rng.random(n) < RATE).astype(np.float64), RATE)
WATCH_TIME = Law(watch_time, float(SHARE * np.exp(MU + 0.5 * SIGMA**2)))


def mean_trial(law: Law) -> Trial:
    """Mean of one value per user; a lift multiplies every user's value."""

    def trial(rng: Random, n: int, m: int, lift: float) -> Outcome:
        arms = [law.draw(rng, n), law.draw(rng, m) * (1.0 + lift)]
        return judged([with_ones(x) for x in arms], lift * law.mean, lift)

    return trial


def proportion_trial(rng: Random, n: int, m: int, lift: float) -> Outcome:
    """Share of users; a lift multiplies the share."""
    arms = [rng.random(n) < RATE, rng.random(m) < RATE * (1.0 + lift)]
    return judged([with_ones(x.astype(np.float64)) for x in arms], lift * RATE, lift)


def rare_rate_trial(rng: Random, n: int, m: int, lift: float) -> Outcome:
    """Share of users of 0.1 %, compared as a report does: by the score method where it is rare."""
    arms = [Rate(int(rng.binomial(n, RARE)), n), Rate(int(rng.binomial(m, RARE * (1 + lift))), m)]
    if Rates(arms[0], arms[1], 1.0, small_sample=True).rare:
        result = compare_rates(arms[0], arms[1])
    else:
        users = [np.arange(arm.users) < arm.events for arm in arms]
        moments = [Moments.of(with_ones(own.astype(np.float64))) for own in users]
        control, treatment = estimate_arms(moments)
        result = compare(control, treatment)
    return Outcome(
        holds(result.absolute, lift * RARE),
        relative_holds(result, lift),
        None,
    )


def click_rate_trial(rng: Random, n: int, m: int, lift: float) -> Outcome:
    """Clicks over impressions, clustered by users of different rates."""
    arms = []
    for users, rate in ((n, 0.25), (m, 0.25 * (1.0 + lift))):
        views = rng.poisson(rng.gamma(2.0, 20.0, users)) + 1
        own = rng.beta(20.0 * rate, 20.0 * (1.0 - rate), users)
        arms.append(np.column_stack([rng.binomial(views, own), views]).astype(np.float64))
    return judged(arms, 0.25 * lift, lift)


def stay_trial(rng: Random, n: int, m: int, lift: float) -> Outcome:
    """Time per opened section: many users open none, and people differ log-normally."""
    arms = []
    for users, factor in ((n, 1.0), (m, 1.0 + lift)):
        opens = rng.poisson(rng.gamma(0.5, 6.0, users)).astype(np.float64)
        stay = factor * np.exp(rng.normal(2.0, 0.8, users))
        arms.append(np.column_stack([opens * stay, opens]))
    return judged(arms, lift * float(np.exp(2.0 + 0.32)), lift)


def cuped_trial(rng: Random, n: int, m: int, lift: float) -> Outcome:
    """Mean of a watch time that goes on from the time before the experiment."""
    arms = []
    for users, factor in ((n, 1.0), (m, 1.0 + lift)):
        before = watch_time(rng, users)
        after = factor * (0.7 * before + watch_time(rng, users))
        arms.append(np.column_stack([after, np.ones(users), before]))
    return judged(arms, lift * 1.7 * WATCH_TIME.mean, lift)


def cuped_ratio_trial(rng: Random, n: int, m: int, lift: float) -> Outcome:
    """Ratio with the ratio's own columns before the experiment as covariates."""
    arms = []
    for users, factor in ((n, 1.0), (m, 1.0 + lift)):
        own = np.exp(rng.normal(2.0, 0.6, users))
        opens = rng.poisson(rng.gamma(1.0, 6.0, (2, users))).astype(np.float64)
        stay = own * rng.gamma(4.0, 0.25, (2, users))
        columns = [factor * opens[1] * stay[1], opens[1], opens[0] * stay[0], opens[0]]
        arms.append(np.column_stack(columns))
    return judged(arms, lift * float(np.exp(2.0 + 0.18)), lift)


def capped_trial(rng: Random, n: int, m: int, lift: float) -> Outcome:
    """Watch time capped at the 99 % quantile of all users; the true cap is the population's."""
    factor = 1.0 + lift
    capped = cap_pooled([watch_time(rng, n), factor * watch_time(rng, m)])
    found = capped_estimates(capped)
    a, b = _capped_means(n / (n + m), factor)
    result = compare(*found.arms, covariance=float(found.covariance[0, 1]))
    lift_there = b / a - 1.0
    risk = tail_risk(*linearised(capped.columns), lift=lift_there)
    return Outcome(holds(result.absolute, b - a), relative_holds(result, lift_there), risk.warns)


def quantile_trial(quantile: float) -> Trial:
    """Quantile of one value per user."""

    def trial(rng: Random, n: int, m: int, lift: float) -> Outcome:
        arms = [watch_time(rng, n), (1.0 + lift) * watch_time(rng, m)]
        result = compare_quantiles(*(quantile_estimate(x, quantile) for x in arms))
        at = float(special.ndtri((quantile - (1.0 - SHARE)) / SHARE))
        truth = float(np.exp(MU + SIGMA * at))
        return Outcome(holds(result.absolute, lift * truth), relative_holds(result, lift), None)

    return trial


def event_quantile_trial(quantile: float) -> Trial:
    """Quantile of events, several and similar ones per user."""

    def trial(rng: Random, n: int, m: int, lift: float) -> Outcome:
        found = []
        for users, factor in ((n, 1.0), (m, 1.0 + lift)):
            events = rng.poisson(rng.gamma(1.0, 5.0, users)) + 1
            owner = np.repeat(np.arange(users), events)
            own = rng.normal(0.0, 0.6, users)[owner]
            times = factor * np.exp(2.0 + own + rng.normal(0.0, 0.8, len(owner)))
            found.append(quantile_estimate(times, quantile, users=owner))
        result = compare_quantiles(*found)
        truth = float(np.exp(2.0 + EVENT_SPREAD * special.ndtri(quantile)))
        return Outcome(holds(result.absolute, lift * truth), relative_holds(result, lift), None)

    return trial


def log_lift_trial(rng: Random, n: int, m: int, lift: float) -> Outcome:
    """Lift on the log scale."""
    arms = [with_ones(watch_time(rng, n)), with_ones((1.0 + lift) * watch_time(rng, m))]
    found = log_lift(*estimate_arms([Moments.of(x) for x in arms]))
    warned = tail_risk(*linearised(arms), lift=lift).warns
    return Outcome(holds(found.log, float(np.log1p(lift))), holds(found.lift, lift), warned)


def two_part_trial(rng: Random, n: int, m: int, lift: float) -> Outcome:
    """Time per reader, of a lift that is all in it."""
    x, y = watch_time(rng, n), (1.0 + lift) * watch_time(rng, m)
    found = two_part(two_part_moments(x), two_part_moments(y)).intensity
    truth = lift * WATCH_TIME.mean / SHARE
    columns = [np.column_stack([v, v > 0.0]) for v in (x, y)]
    warned = tail_risk(*linearised(columns), lift=lift).warns
    return Outcome(
        holds(found.comparison.absolute, truth), relative_holds(found.comparison, lift), warned
    )


def paired_trial(rng: Random, n: int, m: int, lift: float) -> Outcome:
    """Twin design: the same people twice, with luck in common."""
    del m
    own = watch_time(rng, n)
    x, y = own * rng.gamma(4.0, 0.25, n), (1.0 + lift) * own * rng.gamma(4.0, 0.25, n)
    arms = estimate_arms([Moments.of(with_ones(v)) for v in (x, y)])
    covariance = float(np.cov(x, y)[0, 1]) / n
    result = compare(*arms, covariance=covariance, paired=True)
    return Outcome(
        holds(result.absolute, lift * WATCH_TIME.mean),
        relative_holds(result, lift),
        None,
    )


def novelty_trial(rng: Random, n: int, m: int, lift: float) -> Outcome:
    """Slope of the lift over five days of the same people; a steady lift has none."""

    def days(users: int, factor: float) -> Moments:
        own = rng.gamma(2.0, 10.0, (users, 1))
        return daily_moments(factor * own * rng.gamma(1.0, 1.0, (users, 5)))

    trend = effect_trend(days(n, 1.0), days(m, 1.0 + lift), 5)
    return Outcome(holds(trend.slope, 0.0), None, None)


def bootstrap_trial(rng: Random, n: int, m: int, lift: float) -> Outcome:
    """Studentised bootstrap of the difference of means, 199 resamples."""
    seeds = rng.integers(0, 2**32, 2)
    values = [watch_time(rng, n), (1.0 + lift) * watch_time(rng, m)]
    arms = [
        resample([own], seed=int(seed), resamples=199)
        for own, seed in zip(values, seeds, strict=True)
    ]
    found = bootstrap(mean_difference, arms, method="studentised")
    # The heavy-tail rule speaks of t intervals: these are corrected for skewness.
    return Outcome(holds(found.interval, lift * WATCH_TIME.mean), None, None)


def summary_trial(rng: Random, n: int, m: int, lift: float) -> Outcome:
    """Mean effect of n runs that differ between each other by as much as by their errors."""
    del m
    variances = rng.uniform(1.0, 2.0, n) * 1e-4
    effects = lift + 0.012 * rng.normal(size=n) + np.sqrt(variances) * rng.normal(size=n)
    return Outcome(
        holds(random_effects(effects.tolist(), variances.tolist()).mean, lift), None, None
    )


def margin_trial(rng: Random, n: int, m: int, lift: float) -> Outcome:
    """One-sided bound of the lift: below the true one in all but 2.5 %."""
    arms = [with_ones(watch_time(rng, n)), with_ones((1.0 + lift) * watch_time(rng, m))]
    found = non_inferiority(*estimate_arms([Moments.of(x) for x in arms]), margin=0.02)
    return Outcome(found.bound < lift, None, None)


def judged(arms: list[Float], difference: float, lift: float) -> Outcome:
    """Compare two tables of columns (numerator, denominator, covariates)."""
    estimates = estimate_arms([Moments.of(arm) for arm in arms])
    result = compare(*estimates)
    control, treatment = (e.adjusted for e in estimates)
    found = treatment / control - 1.0 if control else 0.0
    risk = tail_risk(*linearised(arms), lift=found)
    absolute = holds(result.absolute, difference)
    return Outcome(absolute, relative_holds(result, lift), risk.warns)


def holds(interval: Interval, truth: float) -> bool:
    """Whether the truth is inside; a bound that does not exist excludes nothing."""
    return (interval.low is None or interval.low <= truth) and (
        interval.high is None or truth <= interval.high
    )


def relative_holds(result: Comparison, lift: float) -> bool | None:
    """Whether the lift is inside; None where the module gives no interval and says so."""
    if result.relative is None or result.control_too_noisy:
        return None
    return holds(result.relative, lift)


def with_ones(values: Float) -> Float:
    """A mean's columns."""
    return np.column_stack([values, np.ones(len(values))])


def _capped_means(share: float, factor: float) -> tuple[float, float]:
    """Expected capped values of control and treatment, the cap being that of both together."""

    def above(cap: float, scale: float) -> float:
        return float(SHARE * special.ndtr((MU + np.log(scale) - np.log(cap)) / SIGMA))

    def beyond(log_cap: float) -> float:
        cap = float(np.exp(log_cap))
        return share * above(cap, 1.0) + (1.0 - share) * above(cap, factor) - 0.01

    cap = float(np.exp(optimize.brentq(beyond, MU, MU + 6.0 * SIGMA)))

    def mean(scale: float) -> float:
        middle = MU + float(np.log(scale))
        inside = special.ndtr((np.log(cap) - middle - SIGMA**2) / SIGMA)
        return float(SHARE * np.exp(middle + 0.5 * SIGMA**2) * inside + cap * above(cap, scale))

    return mean(1.0), mean(factor)
