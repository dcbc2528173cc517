"""The bootstrap against explicit weights, scipy, the delta method and coverage by simulation."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from scipy import stats

from reports.statistics.distributions.bootstrap import (
    _delta_error,
    bootstrap,
    mean_difference,
    mean_lift,
    ratio_difference,
    ratio_lift,
)
from reports.statistics.distributions.poisson_weights import (
    AT_LEAST,
    Replicates,
    by_user,
    resample,
)
from reports.statistics.errors import StatisticsError
from reports.statistics.estimates import estimate_arms
from reports.statistics.moments import Moments


def watch_time(rng: np.random.Generator, users: int) -> np.ndarray:
    return np.asarray(rng.binomial(1, 0.6, users) * rng.lognormal(3.0, 1.0, users))


def test_the_table_is_poisson_with_mean_and_variance_exactly_one() -> None:
    at_least = np.array(AT_LEAST)
    counts = np.arange(1, len(at_least) + 1)
    assert at_least.sum() == 65_536
    assert ((2 * counts - 1) * at_least).sum() == 2 * 65_536
    assert at_least / 65_536 == pytest.approx(stats.poisson.sf(counts - 1, 1.0), abs=1 / 65_536)
    chance = -np.diff(np.concatenate([[65_536], at_least, [0]])) / 65_536
    assert (np.arange(len(chance)) - 1) ** 3 @ chance == pytest.approx(1.0, abs=0.002)


def test_weights_are_drawn_from_the_table_and_weigh_the_columns() -> None:
    """Indicator columns give the weight of every user away; all else follows from them."""
    users = 60
    x = np.random.default_rng(61).gamma(1.0, 5.0, (users, 2))
    result = resample([np.column_stack([np.eye(users), x])], seed=3, resamples=1_500)
    weights = result.mean[:, :users] * result.users[:, None]
    whole = np.round(weights)
    assert weights == pytest.approx(whole, abs=1e-3)
    seen = np.bincount(whole.astype(int).ravel(), minlength=8)[:8]
    expected = stats.poisson.pmf(np.arange(7), 1.0)
    expected = np.append(expected, 1.0 - expected.sum()) * weights.size
    # Chi-square at 1 in 1,000; the table's rounding is invisible at this size.
    assert stats.chisquare(seen, expected * seen.sum() / expected.sum()).pvalue > 0.001
    # Independent across users and resamples.
    pairs = np.asarray(np.corrcoef(whole.T))[np.triu_indices(users, 1)]
    assert np.abs(pairs).max() < 5 / 1_500**0.5
    total = whole.sum(axis=1)
    mean = whole @ x / total[:, None]
    assert result.users == pytest.approx(total)
    assert result.mean[:, users:] == pytest.approx(mean, rel=1e-5)
    centred = x[None] - mean[:, None]
    cross = np.einsum("bu,bui,buj->bij", whole, centred, centred)
    assert result.cross[:, users:, users:] == pytest.approx(cross, rel=1e-4, abs=1e-3)


@given(cuts=st.lists(st.integers(0, 5_000), max_size=6), seed=st.integers(0, 2**63))
@settings(max_examples=15, deadline=None)
def test_chunks_do_not_matter(cuts: list[int], seed: int) -> None:
    x = np.random.default_rng(62).gamma(1.0, 1.0, (5_000, 2))
    whole = resample([x], seed=seed, resamples=150)
    parts = resample(np.split(x, sorted(cuts)), seed=seed, resamples=150)
    for first, second in zip(whole[1:], parts[1:], strict=True):
        assert np.array_equal(first, second)
    assert np.array_equal(whole.observed.mean, parts.observed.mean)
    other = resample([x], seed=seed, stream=1, resamples=150)
    assert abs(stats.pearsonr(whole.mean[:, 0], other.mean[:, 0]).statistic) < 5 / 150**0.5


@given(
    ids=st.lists(st.integers(0, 12), min_size=1, max_size=60).map(sorted),
    cuts=st.lists(st.integers(0, 60), max_size=5),
)
def test_rows_of_a_user_are_one_unit(ids: list[int], cuts: list[int]) -> None:
    user = np.array(ids)
    x = np.arange(2.0 * len(ids)).reshape(-1, 2)
    chunks = zip(np.split(user, sorted(cuts)), np.split(x, sorted(cuts)), strict=True)
    rows = np.concatenate(list(by_user(chunks)))
    expected = [x[user == one].sum(axis=0) for one in np.unique(user)]
    assert rows == pytest.approx(np.array(expected))


def test_unsorted_users_are_refused() -> None:
    with pytest.raises(StatisticsError, match="not sorted"):
        list(by_user([([1, 2, 1], [1.0, 2.0, 3.0])]))
    with pytest.raises(StatisticsError, match="not sorted"):
        list(by_user([([5], [1.0]), ([4], [1.0])]))


def test_memory_does_not_grow_with_the_users() -> None:
    rng = np.random.default_rng(63)

    def stream() -> Iterator[np.ndarray]:
        for _ in range(40):
            yield rng.random(5_000)

    tracemalloc.start()
    resample(stream(), seed=1, resamples=200)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # 200,000 users x 200 weights would be 40 MB as bytes.
    assert peak < 8e6


def test_shards_merge() -> None:
    x = np.random.default_rng(64).normal(1e9, 1.0, (6_000, 2))
    parts = [resample([x[i::3]], seed=5, stream=i, resamples=800) for i in range(3)]
    merged = parts[0].merge(parts[1]).merge(parts[2])
    assert merged.observed.users == 6_000
    assert merged.observed.mean == pytest.approx(x.mean(axis=0), rel=1e-14)
    assert merged.observed.cross == pytest.approx(Moments.of(x).cross, rel=1e-6, abs=1.0)
    # Far from zero nothing is lost: the spread of 800 means is 1 / sqrt(6,000) within 10 %.
    assert merged.mean.std(axis=0) == pytest.approx([6_000**-0.5] * 2, rel=0.1)
    sums = [part.mean[:, 0] * part.users for part in parts]
    assert merged.mean[:, 0] == pytest.approx(sum(sums) / merged.users, rel=1e-14)
    with pytest.raises(StatisticsError, match="numbers of resamples"):
        parts[0].merge(resample([x], seed=5, stream=9, resamples=10))


def arms_of(*columns: np.ndarray, seed: int = 7, resamples: int = 2_000) -> list[Replicates]:
    return [resample([x], seed=seed, stream=i, resamples=resamples) for i, x in enumerate(columns)]


def test_percentile_interval_is_that_of_scipy() -> None:
    rng = np.random.default_rng(65)
    x, y = rng.gamma(2.0, 3.0, 800), rng.gamma(2.0, 3.2, 500)
    ours = bootstrap(mean_difference, arms_of(x, y, resamples=9_999))
    theirs = stats.bootstrap(
        (x, y),
        lambda a, b, axis: b.mean(axis=axis) - a.mean(axis=axis),
        method="percentile",
        n_resamples=9_999,
        rng=np.random.default_rng(66),
    )
    # Monte-Carlo error of a 2.5 % quantile of 9,999: 2.7 % of a standard error, for either.
    tolerance = 0.15 * theirs.standard_error
    assert ours.interval.low == pytest.approx(theirs.confidence_interval.low, abs=tolerance)
    assert ours.interval.high == pytest.approx(theirs.confidence_interval.high, abs=tolerance)
    assert ours.standard_error == pytest.approx(theirs.standard_error, rel=0.04)


@pytest.mark.parametrize("statistic", [ratio_difference, ratio_lift])
def test_ratios_have_the_delta_methods_error(statistic: object) -> None:
    rng = np.random.default_rng(67)
    tables = []
    for lift in (0.0, 0.03):
        views = rng.poisson(20.0 * rng.gamma(2.0, 0.5, 3_000)) + 1.0
        time = views * rng.gamma(2.0, 2.0 * (1 + lift), 3_000)
        tables.append(np.column_stack([time, views]))
    a, b = estimate_arms([Moments.of(table) for table in tables])
    if statistic is ratio_difference:
        expected = (a.variance + b.variance) ** 0.5
        result = bootstrap(ratio_difference, arms_of(*tables), method="studentised")
        assert result.interval.value == pytest.approx(b.value - a.value, rel=1e-9)
    else:
        expected = (b.variance / a.value**2 + b.value**2 / a.value**4 * a.variance) ** 0.5
        result = bootstrap(ratio_lift, arms_of(*tables), method="studentised")
        assert result.interval.value == pytest.approx(b.value / a.value - 1, rel=1e-9)
    # Four standard errors of a deviation from 2,000 draws.
    assert result.standard_error == pytest.approx(expected, rel=0.065)
    assert result.interval.low is not None
    assert result.interval.high is not None
    width = (result.interval.high - result.interval.low) / (2 * stats.norm.isf(0.025))
    assert width == pytest.approx(expected, rel=0.1)


def test_the_delta_methods_error_is_that_of_the_gradient_by_hand() -> None:
    """Of x1^2 x2 - y1, at two places at once; the second place's x2 does not vary."""
    x = np.array([[2.0, 3.0], [1.0, 5.0]])
    y = np.array([[7.0], [8.0]])
    spread_x = np.array([[[0.04, 0.01], [0.01, 0.09]], [[0.02, 0.0], [0.0, 0.0]]])
    spread_y = np.array([[[0.5]], [[0.25]]])

    def statistic(one: np.ndarray, other: np.ndarray) -> np.ndarray:
        return np.asarray(one[..., 0] ** 2 * one[..., 1] - other[..., 0])

    # Gradients (2 x1 x2, x1^2): (12, 4) and (10, 1); of y1 it is -1.
    first = 144 * 0.04 + 2 * 12 * 4 * 0.01 + 16 * 0.09 + 0.5
    second = 100 * 0.02 + 0.25
    found = _delta_error(statistic, [x, y], [spread_x, spread_y])
    assert found == pytest.approx(np.sqrt([first, second]), rel=1e-9)


FIXED = arms_of(
    watch_time(np.random.default_rng(68), 300), watch_time(np.random.default_rng(69), 200)
)


@given(
    null=st.floats(-1.0, 2.0),
    confidence=st.floats(0.5, 0.99),
    method=st.sampled_from(["percentile", "studentised"]),
)
@settings(max_examples=60, deadline=None)
def test_p_value_and_interval_agree(null: float, confidence: float, method: str) -> None:
    result = bootstrap(
        mean_lift,
        FIXED,
        method="percentile" if method == "percentile" else "studentised",
        confidence=confidence,
        null=null,
    )
    low, high = result.interval.low, result.interval.high
    assert low is not None
    assert high is not None
    assert (result.p_value < 1 - confidence) == (null < low or null > high)


def test_bounds_are_the_order_statistics_that_the_p_value_counts() -> None:
    """Of 40 resamples the extreme ones bound 95 %, the second ones 90 %."""
    arm = resample([watch_time(np.random.default_rng(71), 100)], seed=1, resamples=40)
    drawn = np.sort(arm.mean[:, 0])
    for confidence, rank in ((0.95, 1), (0.9, 2)):
        between = float(drawn[rank - 1] + drawn[rank]) / 2
        for null, rejected in ((float(drawn[rank - 1]) - 1e-9, True), (between, False)):
            result = bootstrap(lambda m: m[..., 0], [arm], confidence=confidence, null=null)
            assert result.interval[1:] == (drawn[rank - 1], drawn[40 - rank])
            assert (result.p_value < 1 - confidence) == rejected


def test_skewed_means_are_covered_and_studentising_helps() -> None:
    """1,000 experiments of 50 people whose watch time is often zero and log-normal otherwise."""
    rng = np.random.default_rng(70)
    truth = 0.6 * np.exp(3.5)
    covered = {"percentile": 0, "studentised": 0}
    for number in range(1_000):
        arm = resample([watch_time(rng, 50)], seed=number, resamples=399)
        for method in covered:
            result = bootstrap(
                lambda mean: mean[..., 0],
                [arm],
                method="percentile" if method == "percentile" else "studentised",
            )
            assert result.interval.low is not None
            assert result.interval.high is not None
            covered[method] += result.interval.low < truth < result.interval.high
    # 93.3 % and 89.6 % in long runs; three standard errors are 2.4 and 2.9 points.
    assert abs(covered["studentised"] / 1_000 - 0.933) < 0.024
    assert abs(covered["percentile"] / 1_000 - 0.896) < 0.029
    assert covered["studentised"] > covered["percentile"] + 10


def test_what_cannot_be_bootstrapped_is_refused() -> None:
    with pytest.raises(StatisticsError, match="too few resamples"):
        bootstrap(mean_lift, FIXED, confidence=0.9999)
    with pytest.raises(StatisticsError, match="nobody"):
        resample([], seed=1)
    with pytest.raises(StatisticsError, match="missing"):
        resample([[1.0, np.nan]], seed=1)
    with pytest.raises(StatisticsError, match="not finite"):
        bootstrap(mean_lift, arms_of(np.zeros(50), np.ones(50)))
    with pytest.raises(StatisticsError, match="does not vary"):
        bootstrap(mean_difference, arms_of(np.ones(50), np.ones(50)))
    with pytest.raises(StatisticsError, match="different numbers"):
        bootstrap(mean_lift, [FIXED[0], resample([np.ones(5)], seed=1, resamples=9)])
