"""Always-valid inference against brute-force mixtures, published formulas and 200 looks."""

from __future__ import annotations

import itertools

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import example, given
from scipy import integrate, optimize, stats

from reports.statistics.errors import StatisticsError
from reports.statistics.estimates import ArmEstimate
from reports.statistics.sequential.confidence_sequences import confidence_sequence, value_sequence
from reports.statistics.sequential.mixtures import (
    Alternative,
    EffectMixture,
    SampleMixture,
    always_valid_p_value,
    critical_value,
    log_evidence,
    optimal_time,
)

LOOKS = 200


def arm(value: float, variance: float, users: int = 1_000) -> ArmEstimate:
    return ArmEstimate(users, value, value, variance, variance)


@pytest.mark.parametrize("z", [-2.5, 0.0, 1.3, 4.0])
@pytest.mark.parametrize("time", [0.05, 1.0, 30.0])
def test_evidence_is_the_mixture_of_likelihood_ratios(z: float, time: float) -> None:
    def ratio(theta: float) -> float:  # one unit of error; effect theta ~ N(0, time)
        return float(np.exp(z * theta - theta**2 / 2.0) * stats.norm.pdf(theta, 0, time**0.5))

    reach = 12.0 * time**0.5
    both = integrate.quad(ratio, -reach, reach, points=[0.0, z], limit=500)[0]
    upper = 2.0 * integrate.quad(ratio, 0.0, reach, limit=500)[0]
    assert np.exp(log_evidence(z, time)) == pytest.approx(both, rel=1e-7)
    assert np.exp(log_evidence(z, time, "greater")) == pytest.approx(upper, rel=1e-7)
    assert np.exp(log_evidence(-z, time, "less")) == pytest.approx(upper, rel=1e-7)


def test_two_sided_evidence_is_the_published_one() -> None:
    """Johari et al. 2017: n pairs, variance V of a pair's difference."""
    n, pair_variance, tau2, difference = 500, 8.0, 0.04, 0.3
    published = np.sqrt(pair_variance / (pair_variance + n * tau2)) * np.exp(
        n**2 * tau2 * difference**2 / (2 * pair_variance * (pair_variance + n * tau2))
    )
    error = np.sqrt(pair_variance / n)
    time = EffectMixture(np.sqrt(tau2)).time(2 * n, error)
    assert np.exp(log_evidence(difference / error, time)) == pytest.approx(published)


def test_interval_is_the_published_one() -> None:
    """Waudby-Smith et al. 2024, the Gaussian mixture with estimated variance."""
    t, rho, sigma, alpha = 5_000, 0.03, 2.0, 0.1
    published = sigma * np.sqrt(
        2 * (t * rho**2 + 1) / (t**2 * rho**2) * np.log(np.sqrt(t * rho**2 + 1) / alpha)
    )
    look = value_sequence([arm(7.0, sigma**2 / t, t)], SampleMixture(rho), confidence=0.9)[0]
    assert look.interval.high == pytest.approx(7.0 + published)
    assert look.interval.low == pytest.approx(7.0 - published)


@given(
    time=st.floats(1e-3, 1e5),
    alpha=st.floats(1e-6, 0.95),
    alternative=st.sampled_from(["two-sided", "greater", "less"]),
)
@example(time=0.01, alpha=0.9, alternative="greater")
def test_critical_value_is_where_p_is_alpha(
    time: float, alpha: float, alternative: Alternative
) -> None:
    z = float(critical_value(time, alpha, alternative))
    sign = -1.0 if alternative == "less" else 1.0
    assert always_valid_p_value(sign * z, time, alternative) == pytest.approx(alpha, rel=1e-9)


@pytest.mark.parametrize("alpha", [0.001, 0.05, 0.2])
def test_tuning_minimises_the_width_at_the_planned_size(alpha: float) -> None:
    best = optimize.minimize_scalar(
        lambda log_v: float(critical_value(np.exp(log_v), alpha)),
        bounds=(-3, 8),
        method="bounded",
        options={"xatol": 1e-10},
    )
    assert optimal_time(alpha) == pytest.approx(np.exp(best.x), rel=1e-4)
    assert SampleMixture.tuned(40_000, alpha=alpha).time(40_000, 1.0) == pytest.approx(
        optimal_time(alpha)
    )
    assert EffectMixture.tuned(0.3, alpha=alpha).time(1, 0.3) == pytest.approx(optimal_time(alpha))


estimates = st.tuples(
    st.floats(0.5, 10.0), st.floats(0.5, 10.0), st.floats(1e-4, 1e-1), st.floats(1e-4, 1e-1)
)


@given(
    looks=st.lists(estimates, min_size=1, max_size=6),
    confidence=st.floats(0.5, 0.999),
    alternative=st.sampled_from(["two-sided", "greater", "less"]),
    tau=st.floats(0.01, 10.0),
    sign=st.sampled_from([-1.0, 1.0]),
    running=st.booleans(),
)
def test_p_value_and_intervals_agree_at_every_look(
    looks: list[tuple[float, float, float, float]],
    confidence: float,
    alternative: Alternative,
    tau: float,
    sign: float,
    running: bool,
) -> None:
    arms = [(arm(sign * a, va), arm(sign * b, vb)) for a, b, va, vb in looks]
    try:
        results = confidence_sequence(
            arms,
            EffectMixture(tau),
            confidence=confidence,
            alternative=alternative,
            running=running,
        )
    except StatisticsError as error:
        assert running and "overlap" in error.problem
        return
    noisy = False
    for look in results:
        noisy |= look.control_too_noisy
        if abs(look.p_value - (1 - confidence)) < 1e-9:
            continue
        significant = look.p_value < 1 - confidence
        assert significant == excludes_zero(look.absolute.low, look.absolute.high)
        assert look.relative is not None
        if not noisy:
            assert significant == excludes_zero(look.relative.low, look.relative.high)


def excludes_zero(low: float | None, high: float | None) -> bool:
    return (low is not None and low > 0) or (high is not None and high < 0)


def test_running_intervals_shrink_and_say_so_when_they_cannot() -> None:
    steady = [(arm(5.0, 1.0 / n, n), arm(5.1 + 1.0 / n, 1.0 / n, n)) for n in (100, 200, 400)]
    looks = confidence_sequence(steady, EffectMixture(0.1), running=True)
    bounds = [(look.absolute.low or 0, look.absolute.high or 0) for look in looks]
    assert all(a[0] <= b[0] and b[1] <= a[1] for a, b in itertools.pairwise(bounds))
    assert [look.p_value for look in looks] == sorted(
        (look.p_value for look in looks), reverse=True
    )
    changed = [(arm(5.0, 1e-4), arm(6.0, 1e-4)), (arm(5.0, 1e-4), arm(5.1, 1e-4))]
    with pytest.raises(StatisticsError, match="no longer overlap"):
        confidence_sequence(changed, EffectMixture(0.1), running=True)


def test_no_variance_is_an_error() -> None:
    with pytest.raises(StatisticsError, match="does not vary"):
        confidence_sequence([(arm(1, 0), arm(2, 0))], EffectMixture(1.0))
    with pytest.raises(StatisticsError, match="not possible"):
        critical_value(1.0, 1.0)


def cumulative(
    values: np.ndarray, first: int, per_look: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Users, means and variances of the mean at every look; values[experiments, users]."""
    n = first + per_look * np.arange(LOOKS)
    starts = np.concatenate([[0], n[:-1]])
    mean = np.add.reduceat(values, starts, axis=1).cumsum(axis=1) / n
    square = np.add.reduceat(values**2, starts, axis=1).cumsum(axis=1) / n - mean**2
    return n, mean, square / (n - 1)


def crossings(
    draw: str, control: int, treatment: int, alternative: Alternative
) -> dict[str, float]:
    """Share of 2,000 A/A experiments that ever reject; the first look is after ten steps.

    Peeking at ordinary p values is there for contrast.
    """
    rng = np.random.default_rng(20)
    hits = {"effect": 0, "sample": 0, "peeking": 0}
    for _ in range(20):
        parts = []
        for per_look in (control, treatment):
            shape = (100, (LOOKS + 9) * per_look)
            x = rng.standard_normal(shape, dtype=np.float32)
            if draw == "watch time":
                x = np.exp(1.2 * x) * (rng.random(shape, dtype=np.float32) < 0.6)
            parts.append(cumulative(x, 10 * per_look, per_look))
        (n, a, va), (m, b, vb) = parts
        pooled = np.sqrt((n**2 * va + m**2 * vb) / (n + m) * (1 / n + 1 / m))
        z = (b - a) / np.sqrt(va + vb)
        effect = EffectMixture.tuned(float(pooled[:, -1].mean()))
        sample = SampleMixture.tuned(float(n[-1] + m[-1]))
        times = {"effect": effect.time(n + m, pooled), "sample": sample.time(n + m, pooled)}
        for name, time in times.items():
            p = always_valid_p_value(z, time, alternative)
            hits[name] += int((p <= 0.05).any(axis=1).sum())
        hits["peeking"] += int((np.abs(z) > 1.96).any(axis=1).sum())
    return {name: count / 2_000 for name, count in hits.items()}


@pytest.mark.parametrize(
    ("draw", "control", "treatment", "alternative"),
    [
        ("normal", 10, 10, "two-sided"),
        ("watch time", 20, 180, "two-sided"),
        ("watch time", 20, 20, "greater"),
    ],
)
def test_two_hundred_looks_keep_the_error_rate(
    draw: str, control: int, treatment: int, alternative: Alternative
) -> None:
    rates = crossings(draw, control, treatment, alternative)
    # They are 1.3 to 3.8 %: a looks-to-infinity guarantee is not used up by 200 of them.
    assert rates["effect"] <= 0.05
    assert rates["sample"] <= 0.05
    assert rates["peeking"] > 0.25


def test_the_clock_of_a_comparison_is_the_pooled_error() -> None:
    control, treatment = arm(1.0, 0.04, 100), arm(2.0, 0.01, 900)
    pooled = np.sqrt((100**2 * 0.04 + 900**2 * 0.01) / 1_000 * (1 / 100 + 1 / 900))
    look = confidence_sequence([(control, treatment)], EffectMixture(0.3))[0]
    expected = always_valid_p_value(1.0 / 0.05**0.5, (0.3 / pooled) ** 2)
    assert look.p_value == pytest.approx(float(expected))


def test_the_same_people_for_ever_more_days_keep_the_error_rate() -> None:
    """300 people per arm, 60 daily looks, people differ as much as their days do."""
    rng = np.random.default_rng(21)
    experiments, people, days = 1_000, 300, 60
    rejected = 0
    for _ in range(10):
        size = experiments // 10
        arms = []
        for _ in range(2):
            person = rng.standard_normal((size, people, 1), dtype=np.float32)
            day = rng.standard_normal((size, people, days), dtype=np.float32)
            average = (person + day).cumsum(axis=2) / np.arange(1, days + 1)
            arms.append((average.mean(axis=1), average.var(axis=1, ddof=1) / people))
        error = np.sqrt(arms[0][1] + arms[1][1])
        z = (arms[1][0] - arms[0][0]) / error
        time = EffectMixture.tuned(0.09).time(2 * people, error)
        rejected += int((always_valid_p_value(z, time) <= 0.05).any(axis=1).sum())
    assert rejected / experiments <= 0.05


def test_a_real_effect_is_found_and_covered() -> None:
    rng = np.random.default_rng(22)
    experiments = 400
    covered = found = 0
    for _ in range(experiments):
        looks = []
        x, y = rng.normal(10.0, 3.0, 2_000), rng.normal(10.5, 3.0, 2_000)
        for n in range(200, 2_001, 200):
            a, b = x[:n], y[:n]
            looks.append((arm(a.mean(), a.var() / n, n), arm(b.mean(), b.var() / n, n)))
        results = confidence_sequence(looks, SampleMixture.tuned(4_000))
        relative = [look.relative for look in results]
        covered += all(
            r is not None and r.low is not None and r.high is not None and r.low < 0.05 < r.high
            for r in relative
        )
        found += any(look.p_value <= 0.05 for look in results)
    assert covered / experiments >= 0.95
    assert found / experiments > 0.95  # 5.3 standard errors at the end
