"""One-sided tests against scipy, statsmodels' TOST and the definition of a bound."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import assume, given
from scipy import stats
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

from reports.statistics.errors import StatisticsError
from reports.statistics.estimates import ArmEstimate, estimate_arms
from reports.statistics.lift import compare
from reports.statistics.margins import (
    Scale,
    Side,
    harm_test,
    margin_test,
    non_inferiority,
    superiority,
)
from reports.statistics.moments import Moments


def arm(value: float, variance: float, users: int = 1_000) -> ArmEstimate:
    return ArmEstimate(users, value, value, variance, variance)


def sample(seed: int) -> tuple[np.ndarray, np.ndarray, list[ArmEstimate]]:
    rng = np.random.default_rng(seed)
    x, y = rng.gamma(2.0, 3.0, 400), rng.gamma(2.0, 3.2, 300)
    arms = [Moments.of(np.column_stack([v, np.ones(len(v))])) for v in (x, y)]
    return x, y, estimate_arms(arms)


@pytest.mark.parametrize("side", ["greater", "less"])
def test_without_margin_it_is_welchs_one_sided_test(side: Side) -> None:
    x, y, arms = sample(1)
    expected = stats.ttest_ind(y, x, equal_var=False, alternative=side)
    bounds = expected.confidence_interval(0.9)
    found = margin_test(*arms, alternative=side, scale="absolute", confidence=0.9)
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-9)
    assert found.bound == pytest.approx(bounds[0 if side == "greater" else 1], rel=1e-9)
    assert found.degrees_of_freedom == pytest.approx(expected.df, rel=1e-9)
    # The relative test without margin is the same test.
    relative = margin_test(*arms, alternative=side, confidence=0.9)
    assert relative.p_value == pytest.approx(expected.pvalue, rel=1e-9)


def test_absolute_margins_are_statsmodels() -> None:
    x, y, arms = sample(2)
    pair = CompareMeans(DescrStatsW(y), DescrStatsW(x))
    lower = pair.ttest_ind("larger", usevar="unequal", value=-0.5)
    upper = pair.ttest_ind("smaller", usevar="unequal", value=1.5)
    low = margin_test(*arms, margin=-0.5, alternative="greater", scale="absolute")
    high = margin_test(*arms, margin=1.5, alternative="less", scale="absolute")
    assert low.p_value == pytest.approx(lower[1], rel=1e-9)
    assert high.p_value == pytest.approx(upper[1], rel=1e-9)
    normal = margin_test(*arms, margin=-0.5, scale="absolute", reference="normal")
    assert normal.p_value == pytest.approx(
        pair.ztest_ind("larger", usevar="unequal", value=-0.5)[1], rel=1e-9
    )


def test_relative_margin_is_the_one_sample_test_of_the_contrast() -> None:
    """Paired: ``y - (1 + m) x`` has a mean above zero."""
    rng = np.random.default_rng(3)
    x = rng.gamma(4.0, 1.0, 200)
    y = x * rng.gamma(20.0, 0.055, 200)
    arms = estimate_arms([Moments.of(np.column_stack([v, np.ones(200)])) for v in (x, y)])
    covariance = float(np.cov(x, y)[0, 1]) / 200
    found = margin_test(*arms, margin=0.03, covariance=covariance, paired=True)
    expected = stats.ttest_1samp(y - 1.03 * x, 0.0, alternative="greater")
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-9)


def test_both_bounds_are_those_of_the_two_sided_interval() -> None:
    _, _, arms = sample(4)
    both = compare(*arms)
    assert both.relative is not None
    for scale, interval in (("relative", both.relative), ("absolute", both.absolute)):
        low = margin_test(*arms, scale=scale, alternative="greater")  # type: ignore[arg-type]
        high = margin_test(*arms, scale=scale, alternative="less")  # type: ignore[arg-type]
        assert (low.effect, low.bound, high.bound) == pytest.approx(interval, rel=1e-9)


values = st.floats(0.5, 10.0)
variances = st.floats(1e-6, 1e-2)


@given(
    a=values,
    b=values,
    va=variances,
    vb=variances,
    negative=st.booleans(),
    margin=st.floats(-0.9, 3.0),
    confidence=st.floats(0.05, 0.999),
    side=st.sampled_from(["greater", "less"]),
    scale=st.sampled_from(["relative", "absolute"]),
)
def test_bound_and_p_value_invert_each_other(
    a: float,
    b: float,
    va: float,
    vb: float,
    negative: bool,
    margin: float,
    confidence: float,
    side: Side,
    scale: Scale,
) -> None:
    sign = -1.0 if negative else 1.0
    arms = arm(sign * a, va), arm(sign * b, vb)
    found = margin_test(*arms, margin=margin, alternative=side, scale=scale, confidence=confidence)
    assume(abs(found.p_value - (1.0 - confidence)) > 1e-9)
    beyond = found.bound > margin if side == "greater" else found.bound < margin
    assert found.passed == beyond
    at = margin_test(
        *arms, margin=found.bound, alternative=side, scale=scale, confidence=confidence
    )
    assert at.p_value == pytest.approx(1.0 - confidence, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("scale", ["relative", "absolute"])
def test_error_rate_at_the_margin_is_alpha(scale: Scale) -> None:
    """Normal users, a true loss of exactly the margin, 4,000 experiments."""
    rng = np.random.default_rng(5)
    means = 10.0, 9.5
    margin = 0.05 if scale == "relative" else 0.5
    passed = 0
    for _ in range(4_000):
        a = arm(means[0] + rng.normal() * 0.2, 0.04, 400)
        b = arm(means[1] + rng.normal() * 0.1, 0.01, 1_600)
        passed += non_inferiority(a, b, margin=margin, scale=scale).passed
    # Binomial: four standard deviations (error rate below 1e-4) are .0099.
    assert abs(passed / 4_000 - 0.025) < 0.0099


def test_names_for_the_two_questions() -> None:
    a, b = arm(10.0, 0.01), arm(10.4, 0.01)
    up = non_inferiority(a, b, margin=0.02)
    assert up == margin_test(a, b, margin=-0.02)
    assert up.passed
    down = non_inferiority(a, b, margin=0.02, direction="down")
    assert down == margin_test(a, b, margin=0.02, alternative="less")
    assert not down.passed
    assert superiority(a, b, margin=0.005).passed
    assert not superiority(a, b, margin=0.03).passed
    assert superiority(b, a, margin=0.005, direction="down").passed


def test_what_cannot_be_tested_is_an_error_with_a_hint() -> None:
    a, b = arm(10.0, 0.01), arm(10.4, 0.01)
    cases = [
        (lambda: margin_test(arm(0.1, 0.01), b), "not clear of zero"),
        (lambda: margin_test(arm(0.0, 0.01), b), "not clear of zero"),
        (lambda: margin_test(arm(1.0, 0.0), arm(1.0, 0.0)), "does not vary"),
        (lambda: margin_test(a, arm(float("nan"), 0.1)), "cannot be compared"),
        (lambda: margin_test(a, b, margin=float("nan")), "no margin"),
        (lambda: margin_test(a, b, confidence=95.0), "confidence"),
        (lambda: non_inferiority(a, b, margin=-0.1), "positive number"),
        (lambda: superiority(a, b, margin=-0.1), "non_inferiority"),
    ]
    for call, text in cases:
        with pytest.raises(StatisticsError, match=text) as caught:
            call()
        assert caught.value.problem
        assert caught.value.detail
        assert caught.value.hint


@pytest.mark.parametrize("direction", ["up", "down"])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_harm_is_a_share_of_the_control_without_its_sign(direction: str, sign: float) -> None:
    """A profit of -10 that becomes -10.4 fell by 4 %; of one that less is better it improved."""
    a, b = arm(sign * 10.0, 0.0001), arm(sign * 10.0 - 0.4, 0.0001)
    tight = harm_test(a, b, margin=0.03, direction=direction)  # type: ignore[arg-type]
    wide = harm_test(a, b, margin=0.05, direction=direction)  # type: ignore[arg-type]
    if direction == "down":
        assert max(tight.within, wide.within) < 1e-6
        return
    assert tight.broken < 1e-6 < tight.within
    assert wide.within < 1e-6 < wide.broken


def test_harm_of_a_positive_control_is_the_non_inferiority_test() -> None:
    a, b = arm(10.0, 0.01), arm(9.9, 0.02)
    for direction in ("up", "down"):
        for scale, margin in (("relative", 0.02), ("absolute", 0.3)):
            named: Any = {"margin": margin, "direction": direction, "scale": scale}
            found = harm_test(a, b, **named)
            assert found.within == pytest.approx(non_inferiority(a, b, **named).p_value)
            assert found.broken == pytest.approx(1.0 - found.within)


@given(
    a=st.floats(-5.0, 5.0),
    gain=st.floats(0.0, 5.0),
    va=variances,
    vb=variances,
    margin=st.floats(0.001, 2.0),
    scale=st.sampled_from(["relative", "absolute"]),
)
def test_what_improved_is_never_broken(
    a: float, gain: float, va: float, vb: float, margin: float, scale: Scale
) -> None:
    found = harm_test(arm(a, va), arm(a + gain, vb), margin=margin, scale=scale)
    assert found.broken >= 0.5


def test_a_share_of_a_control_near_zero_is_no_margin() -> None:
    """Within needs no harm at all, broken more harm than the control may allow for."""
    a, better, worse = arm(0.05, 0.01), arm(1.0, 0.01), arm(-1.0, 0.01)
    assert not harm_test(a, better, margin=0.1).settled
    assert harm_test(a, better, margin=0.1).within < 1e-6
    assert harm_test(a, worse, margin=0.1).broken < 1e-6
    assert harm_test(a, arm(0.049, 0.01), margin=0.5).within > 0.025
    assert harm_test(a, a, margin=0.5, scale="absolute").within < 1e-3


def test_a_margin_at_which_pairs_do_not_vary_cannot_be_tested() -> None:
    """Everybody has half of what they had, and half is the margin."""
    named: Any = {"covariance": 0.5, "paired": True}
    a, b = arm(10.0, 1.0), arm(5.0, 0.25)
    with pytest.raises(StatisticsError, match="cannot be tested"):
        harm_test(a, b, margin=0.5, **named)
    with pytest.raises(StatisticsError, match="cannot be tested"):
        margin_test(a, b, margin=-0.5, **named)
    assert harm_test(a, b, margin=0.4, **named).broken < 1e-6
