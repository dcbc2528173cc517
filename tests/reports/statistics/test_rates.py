"""Score intervals against published tables, brute force, closed forms and statsmodels."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats
from statsmodels.stats.proportion import (
    confint_proportions_2indep,
    proportions_ztest,
)
from statsmodels.stats.proportion import (
    test_proportions_2indep as statsmodels_score,
)

from reports.statistics.errors import StatisticsError
from reports.statistics.rates import (
    Rate,
    compare_rates,
    difference_score,
    rate_harm,
    ratio_score,
)

# Newcombe, Statistics in Medicine 17, 1998, table II: treatment, control, Mee's interval (without
# the small-sample factor) and Miettinen and Nurminen's.
NEWCOMBE = [
    ((56, 70), (48, 80), (0.0533, 0.3377), (0.0528, 0.3382)),
    ((9, 10), (3, 10), (0.1821, 0.8370), (0.1700, 0.8406)),
    ((5, 56), (0, 29), (-0.0313, 0.1926), (-0.0326, 0.1933)),
    ((10, 10), (0, 20), (0.7225, 1.0), (0.7156, 1.0)),
]


@pytest.mark.parametrize(("treatment", "control", "mee", "miettinen"), NEWCOMBE)
def test_differences_are_those_of_the_published_table(
    treatment: tuple[int, int],
    control: tuple[int, int],
    mee: tuple[float, float],
    miettinen: tuple[float, float],
) -> None:
    for small_sample, expected in ((False, mee), (True, miettinen)):
        found = compare_rates(Rate(*control), Rate(*treatment), small_sample=small_sample)
        assert found.absolute[1:] == pytest.approx(expected, abs=5e-5)


@pytest.mark.parametrize(
    ("control", "treatment"),
    [((20, 1000), (0, 1000)), ((240, 10_000), (300, 10_000)), ((1, 500), (7, 400)),
     ((12, 100_000), (25, 90_000)), ((490, 500), (395, 400))],
)  # fmt: skip
def test_ratios_and_p_values_are_those_of_statsmodels(
    control: tuple[int, int], treatment: tuple[int, int]
) -> None:
    found = compare_rates(Rate(*control), Rate(*treatment))
    low, high = confint_proportions_2indep(
        *treatment, *control, compare="ratio", method="score", correction=True
    )
    assert found.relative is not None
    assert found.relative[1:] == pytest.approx((low - 1.0, high - 1.0), abs=1e-6)
    score = statsmodels_score(*treatment, *control, compare="diff", method="score", correction=True)
    assert found.p_value == pytest.approx(score.pvalue, rel=1e-6)
    plain = compare_rates(Rate(*control), Rate(*treatment), small_sample=False)
    _, pooled = proportions_ztest([treatment[0], control[0]], [treatment[1], control[1]])
    assert plain.p_value == pytest.approx(pooled, rel=1e-9)


counts = (
    st.integers(1, 400)
    .flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
    .map(lambda pair: Rate(*pair))
)


def log_likelihood(control: Rate, treatment: Rate, low: float, high: float) -> float:
    found = 0.0
    for rate, q in ((control, low), (treatment, high)):
        found += stats.binom.logpmf(rate.events, rate.users, min(max(q, 0.0), 1.0))
    return found


@settings(deadline=None, max_examples=60)
@given(control=counts, treatment=counts, difference=st.floats(-0.95, 0.95))
def test_the_variance_is_at_the_most_likely_rates_by_brute_force(
    control: Rate, treatment: Rate, difference: float
) -> None:
    lowest, highest = max(0.0, -difference), min(1.0, 1.0 - difference)
    best = optimize.minimize_scalar(
        lambda q: -log_likelihood(control, treatment, q, q + difference),
        bounds=(lowest, highest),
        method="bounded",
        options={"xatol": 1e-12},
    ).x
    high = min(max(best + difference, 0.0), 1.0)
    users = control.users + treatment.users
    variance = high * (1 - high) / treatment.users + best * (1 - best) / control.users
    distance = treatment.value - control.value - difference
    if variance < 1e-9 or 0.0 < abs(difference) < 1e-9:
        # Brute force has no digits left there.
        return
    expected = distance / math.sqrt(variance * users / (users - 1))
    assert difference_score(control, treatment, difference) == pytest.approx(
        expected, rel=1e-3, abs=1e-3
    )


@settings(deadline=None, max_examples=60)
@given(control=counts, treatment=counts, confidence=st.floats(0.8, 0.999))
def test_both_intervals_exclude_no_effect_exactly_when_p_is_small(
    control: Rate, treatment: Rate, confidence: float
) -> None:
    events = control.events + treatment.events
    if events in (0, control.users + treatment.users):
        return
    found = compare_rates(control, treatment, confidence=confidence)
    if abs(found.p_value - (1.0 - confidence)) < 1e-9:
        return
    significant = found.p_value < 1.0 - confidence
    low, high = found.absolute.low, found.absolute.high
    assert low is not None and high is not None
    assert (low > 0.0 or high < 0.0) == significant
    assert low <= found.absolute.value <= high
    if found.relative is not None:
        low, high = found.relative.low, found.relative.high
        assert low is not None and high is not None
        assert (low > 0.0 or high < 0.0) == significant
        assert -1.0 <= low <= found.relative.value <= high


def test_bounds_are_where_the_score_is_critical() -> None:
    control, treatment = Rate(7, 900), Rate(19, 1_100)
    found = compare_rates(control, treatment, confidence=0.9)
    z = stats.norm.isf(0.05)
    absolute, relative = found.absolute, found.relative
    assert relative is not None
    assert difference_score(control, treatment, absolute.low or 0.0) == pytest.approx(z)
    assert difference_score(control, treatment, absolute.high or 0.0) == pytest.approx(-z)
    assert ratio_score(control, treatment, 1.0 + (relative.low or 0.0)) == pytest.approx(z)
    assert ratio_score(control, treatment, 1.0 + (relative.high or 0.0)) == pytest.approx(-z)


def test_no_event_in_the_treatment_and_none_in_the_control() -> None:
    """The field's case: 20 of 1,000 against none; and the other way round."""
    found = compare_rates(Rate(20, 1_000), Rate(0, 1_000))
    assert found.relative is not None
    assert found.relative[:2] == (-1.0, -1.0)
    assert found.relative.high == pytest.approx(-0.808, abs=5e-4)
    other = compare_rates(Rate(0, 1_000), Rate(20, 1_000))
    assert other.relative is None and other.control_too_noisy
    assert other.absolute.low == pytest.approx(-(found.absolute.high or 0.0), abs=1e-12)
    assert other.p_value == pytest.approx(found.p_value)


def test_coverage_of_rare_events_is_near_nominal_by_enumeration() -> None:
    """2 events expected per arm; every outcome of two binomials with its probability."""
    users, rate = 2_000, 0.001
    events = np.arange(0, 14)
    chance = stats.binom.pmf(events, users, rate)
    covered = known = 0.0
    for a, pa in zip(events, chance, strict=True):
        for b, pb in zip(events, chance, strict=True):
            known += pa * pb
            if a + b == 0:
                covered += pa * pb
                continue
            found = compare_rates(Rate(int(a), users), Rate(int(b), users)).absolute
            assert found.low is not None and found.high is not None
            covered += pa * pb * (found.low <= 0.0 <= found.high)
    assert known > 0.999999
    assert 0.94 < covered / known < 0.99


@pytest.mark.parametrize("direction", ["up", "down"])
@pytest.mark.parametrize(("scale", "margin"), [("relative", 0.3), ("absolute", 0.004)])
def test_margins_agree_with_the_interval(direction: str, scale: str, margin: float) -> None:
    control, treatment = Rate(30, 3_000), Rate(33, 2_900)
    found = rate_harm(
        control, treatment, margin=margin, direction=direction, scale=scale,  # type: ignore[arg-type]
    )  # fmt: skip
    for confidence in np.linspace(0.5, 0.999, 25):
        interval = compare_rates(control, treatment, confidence=float(confidence))
        bounds = interval.absolute if scale == "absolute" else interval.relative
        assert bounds is not None and bounds.low is not None and bounds.high is not None
        worst = bounds.low if direction == "up" else -bounds.high
        best = bounds.high if direction == "up" else -bounds.low
        alpha = (1.0 - confidence) / 2.0
        assert (found.within < alpha) == (worst > -margin)
        assert (found.broken < alpha) == (best < -margin)


@pytest.mark.parametrize("small_sample", [True, False])
def test_the_standard_error_is_that_of_the_test_without_effect(small_sample: bool) -> None:
    """The difference over its standard error is the z of the p value: of the pooled z test."""
    found = compare_rates(Rate(7, 900), Rate(19, 600), small_sample=small_sample)
    z, p = proportions_ztest([19, 7], [600, 900])
    factor = math.sqrt(1_499.0 / 1_500.0) if small_sample else 1.0
    assert found.absolute.value / found.standard_error == pytest.approx(z * factor, rel=1e-12)
    if not small_sample:
        assert found.p_value == pytest.approx(p, rel=1e-12)
    assert found.degrees_of_freedom == math.inf


def test_what_is_no_rate_is_refused() -> None:
    with pytest.raises(StatisticsError, match="does not vary"):
        compare_rates(Rate(0, 10), Rate(0, 20))
    with pytest.raises(StatisticsError, match="does not vary"):
        compare_rates(Rate(10, 10), Rate(20, 20))
    with pytest.raises(StatisticsError, match="not possible"):
        compare_rates(Rate(11, 10), Rate(0, 20))
    with pytest.raises(StatisticsError, match="no margin"):
        rate_harm(Rate(1, 10), Rate(2, 20), margin=0.0)
