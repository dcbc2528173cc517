"""Planning against statsmodels, textbook formulas and simulated experiments."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from scipy import stats
from statsmodels.stats.power import TTestIndPower, TTestPower, tt_ind_solve_power
from statsmodels.stats.proportion import power_proportions_2indep

from reports.statistics.errors import StatisticsError
from reports.statistics.estimates import estimate_arms
from reports.statistics.lift import Alternative, compare
from reports.statistics.moments import Moments
from reports.statistics.power import (
    Baseline,
    PlannedTest,
    _tail_by_spread,
    best_shares,
    detectable_lift,
    detectable_margin,
    power,
    sample_size,
    variance_over_days,
)

SIDES = {"two-sided": "two-sided", "greater": "larger", "less": "smaller"}


@pytest.mark.parametrize("alternative", ["two-sided", "greater", "less"])
@pytest.mark.parametrize(("users", "effect"), [(8, 1.0), (60, 0.5), (60, -0.4), (4_000, 0.05)])
def test_power_is_that_of_statsmodels(alternative: Alternative, users: int, effect: float) -> None:
    baseline = Baseline(10.0, 4.0)
    test = PlannedTest(alpha=0.05, alternative=alternative)
    expected = TTestIndPower().power(effect, users, 0.05, alternative=SIDES[alternative])
    assert power(baseline, effect * 2.0 / 10.0, [users, users], test) == pytest.approx(
        expected, abs=1e-9
    )


@pytest.mark.parametrize("target", [0.8, 0.95])
def test_sample_size_and_detectable_lift_are_those_of_statsmodels(target: float) -> None:
    baseline = Baseline(5.0, 9.0)
    expected = tt_ind_solve_power(effect_size=0.02 * 5.0 / 3.0, alpha=0.01, power=target)
    plan = sample_size(baseline, 0.02, PlannedTest(alpha=0.01), target=target)
    assert plan.users == (int(np.ceil(expected)),) * 2
    assert plan.power >= target
    effect = tt_ind_solve_power(nobs1=500, alpha=0.01, power=target)
    found = detectable_lift(baseline, [500, 500], PlannedTest(alpha=0.01), target=target)
    assert found.lift == pytest.approx(effect * 3.0 / 5.0, rel=1e-6)


def test_unequal_split_with_many_users_is_the_normal_formula() -> None:
    baseline = Baseline(2.0, 16.0)
    plan = sample_size(baseline, -0.03, PlannedTest(shares=(9, 1)), target=0.9)
    reach = stats.norm.isf(0.025) + stats.norm.isf(0.1)
    expected = reach**2 * 16.0 * (1 / 0.9 + 1 / 0.1) / 0.06**2
    assert plan.total == pytest.approx(expected, rel=1e-3)
    assert plan.users[0] / plan.total == pytest.approx(0.9, rel=1e-4)


def test_proportions_are_those_of_statsmodels() -> None:
    """Unpooled two-sample test of shares."""
    expected = power_proportions_2indep(
        0.01, 0.1, 8_000, ratio=1, alpha=0.05, value=0, return_results=False
    )
    found = power(Baseline.proportion(0.1), 0.1, [8_000, 8_000], PlannedTest())
    # statsmodels takes the pooled variance for the critical value; it differs in the third digit.
    assert found == pytest.approx(expected, abs=0.002)
    p, q = 0.1, 0.11
    error = np.sqrt((p * (1 - p) + q * (1 - q)) / 200_000)
    shift, critical = 0.01 / error, stats.norm.isf(0.025)
    closed = stats.norm.sf(critical - shift) + stats.norm.cdf(-critical - shift)
    assert power(Baseline.proportion(0.1), 0.1, [200_000] * 2, PlannedTest()) == pytest.approx(
        closed
    )


@given(
    value=st.floats(0.1, 100.0),
    deviation=st.floats(0.5, 3.0),
    lift=st.floats(0.002, 0.5),
    share=st.floats(0.1, 0.9),
    alternative=st.sampled_from(["two-sided", "greater", "less"]),
    treatments=st.integers(1, 4),
)
@settings(max_examples=60, deadline=None)
def test_the_three_questions_have_one_answer(
    value: float,
    deviation: float,
    lift: float,
    share: float,
    alternative: Alternative,
    treatments: int,
) -> None:
    baseline = Baseline(value, (deviation * value) ** 2)
    shares = (share, *[(1 - share) / treatments] * treatments)
    test = PlannedTest(0.05, alternative, 0.0, shares)
    signed = -lift if alternative == "less" else lift
    plan = sample_size(baseline, signed, test, target=0.8)
    assert plan.power >= 0.8 - 1e-9
    fewer = [max(n - 1, 2) for n in plan.users]
    if min(plan.users) > 3:
        assert power(baseline, signed, fewer, test) < 0.8
    back = detectable_lift(baseline, plan.users, test, target=plan.power)
    assert back.lift == pytest.approx(signed, rel=1e-6)


def test_several_treatments_divide_the_error_rate() -> None:
    shares = best_shares(4)
    assert shares == pytest.approx((2 / 6, 1 / 6, 1 / 6, 1 / 6, 1 / 6))
    test = PlannedTest(shares=shares)
    assert test.level == pytest.approx(0.0125)
    assert PlannedTest(shares=shares, correct=False).level == 0.05
    baseline = Baseline(1.0, 1.0)
    best = sample_size(baseline, 0.02, test)
    equal = sample_size(baseline, 0.02, PlannedTest(shares=[1] * 5))
    assert best.total < equal.total
    two = power(baseline, 0.02, [best.users[0], best.users[1]], PlannedTest(alpha=0.0125))
    assert best.power == pytest.approx(two)


def watch_time(rng: np.random.Generator, users: int, lift: float = 0.0) -> np.ndarray:
    """Numerator, denominator and a covariate: comment watch time per view, pre-period time."""
    habit = rng.gamma(2.0, 1.0, users)
    views = rng.poisson(10.0 + 5.0 * habit) + 1.0
    time = (1.0 + lift) * habit * views * rng.lognormal(0.0, 0.5, users)
    return np.column_stack([time, views, habit * rng.lognormal(0.0, 0.3, users)])


@pytest.mark.parametrize("adjusted", [False, True])
def test_power_of_a_ratio_with_and_without_covariate_by_simulation(adjusted: bool) -> None:
    rng = np.random.default_rng(51)
    columns = [0, 1, 2] if adjusted else [0, 1]
    baseline = Baseline.of(Moments.of(watch_time(rng, 200_000)), adjusted=adjusted)
    # Multiplicative lifts scale the deviation too.
    lift = 0.12
    baseline = baseline._replace(variance_ratio=(1 + lift) ** 2)
    test = PlannedTest(shares=(1, 3))
    plan = sample_size(baseline, lift, test, target=0.8)
    found = 0
    for _ in range(1_000):
        arms = [Moments.of(watch_time(rng, plan.users[i], lift * i)[:, columns]) for i in range(2)]
        found += compare(*estimate_arms(arms)).p_value < 0.05
    # Three standard errors are 3.8 points.
    assert abs(found / 1_000 - plan.power) < 0.038
    other = Baseline.of(Moments.of(watch_time(rng, 50_000)), adjusted=not adjusted)
    assert (other.variance > baseline.variance) == adjusted


def test_non_inferiority_by_simulation() -> None:
    rng = np.random.default_rng(52)
    baseline = Baseline(4.0, 9.0)
    test = PlannedTest.non_inferiority(0.05, alpha=0.05, shares=(1, 2))
    plan = sample_size(baseline, 0.0, test, target=0.9)
    control = rng.normal(4.0, 3.0, (1_500, plan.users[0]))
    treatment = rng.normal(4.0, 3.0, (1_500, plan.users[1]))
    shown = stats.ttest_ind(
        treatment, 0.95 * control, axis=1, equal_var=False, alternative="greater"
    ).pvalue
    # Three standard errors are 2.3 points.
    assert abs((shown < 0.05).mean() - 0.9) < 0.023
    assert plan.power == pytest.approx(0.9, abs=1e-3)
    assert detectable_margin(baseline, plan.users, test, target=plan.power) == pytest.approx(0.05)
    # A true loss of the whole margin is passed off as harmless in alpha of all experiments.
    assert power(baseline, -0.05, plan.users, test) == pytest.approx(0.05)


def test_margins_and_variance_ratios_enter_the_error() -> None:
    """b - (1 - 40 %) a, with a treatment that varies three times as much: the normal formula."""
    baseline = Baseline(4.0, 9.0, variance_ratio=3.0)
    error = np.sqrt(0.6**2 * 9.0 / 400_000 + 3.0 * 9.0 / 300_000)
    expected = stats.norm.sf(stats.norm.isf(0.05) - (-0.398 + 0.4) * 4.0 / error)
    found = power(baseline, -0.398, [400_000, 300_000], PlannedTest.non_inferiority(0.4))
    assert found == pytest.approx(expected, abs=1e-6)
    assert 0.2 < found < 0.9


@pytest.mark.parametrize("alternative", ["greater", "less"])
@pytest.mark.parametrize("lift", [-0.01, 0.0, 0.02])
def test_a_margin_leaves_room_for_the_lift_and_the_error(
    alternative: Alternative, lift: float
) -> None:
    """Of a difference, with so many users that all is normal; "less" is better where less is."""
    baseline, users = Baseline(10.0, 4.0), [400_000, 400_000]
    test = PlannedTest(alternative=alternative, absolute=True)
    reach = stats.norm.isf(0.05) + stats.norm.isf(0.1)
    worse = -lift if alternative == "greater" else lift
    expected = worse + reach * np.sqrt(2.0 * 4.0 / 400_000)
    found = detectable_margin(baseline, users, test, lift=lift, target=0.9)
    assert found == pytest.approx(expected, rel=1e-6)


def test_lifts_of_a_negative_metric() -> None:
    assert power(Baseline(-5.0, 4.0), 0.1, [200, 200], PlannedTest(alternative="greater")) == (
        power(Baseline(5.0, 4.0), 0.1, [200, 200], PlannedTest(alternative="greater"))
    )


def test_what_cannot_be_planned_is_refused() -> None:
    baseline = Baseline(1.0, 1.0)
    with pytest.raises(StatisticsError, match="cannot be planned"):
        power(Baseline(0.0, 1.0), 0.1, [10, 10], PlannedTest())
    with pytest.raises(StatisticsError, match="no number of users"):
        sample_size(baseline, 0.0, PlannedTest())
    with pytest.raises(StatisticsError, match="no number of users"):
        sample_size(baseline, -0.1, PlannedTest(alternative="greater"))
    with pytest.raises(StatisticsError, match="do not make"):
        power(baseline, 0.1, [10, 1], PlannedTest())
    with pytest.raises(StatisticsError, match="lift is not possible"):
        power(Baseline.proportion(0.6), 0.9, [10, 10], PlannedTest())
    with pytest.raises(StatisticsError, match="no possible lift"):
        detectable_lift(Baseline.proportion(0.9), [10, 10], PlannedTest())
    with pytest.raises(StatisticsError, match="one-sided"):
        detectable_margin(baseline, [10, 10], PlannedTest())
    with pytest.raises(StatisticsError, match="rate"):
        Baseline.proportion(1.0)


def test_twin_designs_are_the_paired_test() -> None:
    """Power of the one-sample t test of statsmodels, on the difference."""
    test = PlannedTest(paired=True)
    baseline = Baseline(10.0, 4.0)
    for users, lift in ((12, 0.15), (400, 0.02)):
        expected = TTestPower().power(lift * 10.0 / 2.0, users, 0.05, alternative="two-sided")
        assert power(baseline, lift, [users] * 2, test) == pytest.approx(expected, abs=1e-9)
    plan = sample_size(baseline, 0.02, test)
    expected = TTestPower().solve_power(0.1, alpha=0.05, power=0.8)
    assert (plan.users, plan.total) == ((int(np.ceil(expected)),) * 2, int(np.ceil(expected)))
    back = detectable_lift(baseline, plan.users, test, target=plan.power)
    assert back.lift == pytest.approx(0.02, rel=1e-6)
    with pytest.raises(StatisticsError, match="difference"):
        power(Baseline.proportion(0.1), 0.1, [10, 10], test)


@pytest.mark.parametrize("pairs", [2, 3, 5, 9])
@pytest.mark.parametrize("alpha", [0.05, 0.002])
def test_power_of_few_pairs_is_a_probability_however_large_the_lift(
    pairs: int, alpha: float
) -> None:
    """Held to the normal, given the estimated spread: scipy's series fails at some of these."""
    baseline = Baseline(10.0, 4.0)
    test = PlannedTest(paired=True, alpha=alpha)
    freedom = pairs - 1
    critical = stats.t.isf(alpha / 2.0, freedom)
    levels = (np.arange(100_000) + 0.5) / 100_000
    deviation = np.sqrt(stats.chi2.ppf(levels, freedom) / freedom)
    before = 0.0
    for shift in (0.5, 3.0, 6.0, 8.0, 9.0, 10.0, 13.5, 26.0, 50.0, 700.0, 1e5):
        found = power(baseline, shift * 2.0 / 10.0 / np.sqrt(pairs), [pairs] * 2, test)
        expected = sum(
            stats.norm.cdf(sign * shift - critical * deviation).mean() for sign in (1.0, -1.0)
        )
        assert found == pytest.approx(expected, abs=1e-5)
        assert before <= found + 1e-9 <= 1.0 + 2e-9
        before = found


def test_the_tail_of_the_noncentral_t_by_its_spread_is_that_of_scipy() -> None:
    for freedom, level in ((1.0, 0.025), (4.0, 0.05), (30.0, 1e-4)):
        critical = float(stats.t.isf(level, freedom))
        for shift in (0.0, 1.0, 0.7 * critical, 1.5 * critical):
            expected = stats.nct.sf(critical, freedom, shift)
            assert _tail_by_spread(shift, freedom, critical) == pytest.approx(expected, abs=1e-7)


def test_power_of_a_twin_design_by_simulation() -> None:
    rng = np.random.default_rng(53)
    habit = rng.gamma(2.0, 1.0, (2_000, 150, 1))
    arms = habit * rng.lognormal(0.0, 0.5, (2_000, 150, 2)) * [1.0, 1.15]
    # Exact moments: E habit^2 = 6, variance of a log-normal factor with its mean squared.
    mean = np.exp(0.125)
    spread = (np.exp(0.25) - 1.0) * np.exp(0.25)
    variance = 6.0 * (spread * (1.0 + 1.15**2) + (0.15 * mean) ** 2) - (0.15 * 2.0 * mean) ** 2
    planned = power(Baseline(2.0 * mean, variance), 0.15, [150, 150], PlannedTest(paired=True))
    found = stats.ttest_rel(arms[..., 1], arms[..., 0], axis=1).pvalue < 0.05
    # Three standard errors of 2,000 experiments are 3.4 points.
    assert 0.2 < planned < 0.95
    assert abs(found.mean() - planned) < 0.034


def test_power_of_a_rare_proportion_and_of_three_arms_by_simulation() -> None:
    """A tenth of the users in each treatment; alpha divided by two."""
    rng = np.random.default_rng(54)
    test = PlannedTest(shares=(0.8, 0.1, 0.1))
    plan = sample_size(Baseline.proportion(0.02), 0.3, test)
    control = rng.binomial(plan.users[0], 0.02, 4_000) / plan.users[0]
    treatment = rng.binomial(plan.users[1], 0.026, 4_000) / plan.users[1]
    error = np.sqrt(
        control * (1 - control) / plan.users[0] + treatment * (1 - treatment) / plan.users[1]
    )
    found = np.abs(treatment - control) / error > stats.norm.isf(0.0125)
    # Three standard errors are 1.9 points; the normal approximation costs up to another.
    assert abs(found.mean() - plan.power) < 0.03


def test_variance_over_days_by_simulation() -> None:
    rng = np.random.default_rng(55)
    habit = rng.normal(10.0, 2.0, (40_000, 1))
    daily = habit + rng.normal(0.0, 3.0, (40_000, 28))
    week = daily[:, :7]
    known = float(week.mean(axis=1).var(ddof=1))
    assert variance_over_days(known, week, 7) == known
    for days in (1, 3, 28):
        truth = 4.0 + 9.0 / days
        # Five standard errors of a variance of 40,000 users are 3.5 %.
        assert variance_over_days(known, week, days) == pytest.approx(truth, rel=0.035)
    with pytest.raises(StatisticsError, match="scatter between days"):
        variance_over_days(1.0, daily[:, :1], 7)
    # Days that differ by more than people do: never a negative variance between people.
    assert variance_over_days(0.1, rng.normal(0.0, 3.0, (100, 2)), 4) > 0.0
