"""Intervals and tests of offline metrics against closed forms and known truths."""

from __future__ import annotations

import numpy as np
import pandas
import pytest
from scipy import stats
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from abtest.evaluate.statistics import differences, means, spread


def test_one_seed_is_the_plain_standard_error() -> None:
    values = np.random.default_rng(1).random((1, 200))
    found = spread(values)
    assert found.people == found.total == pytest.approx(stats.sem(values[0]))
    assert found.seeds is None
    assert found.df == 199


def test_the_bootstrap_agrees_with_the_closed_form() -> None:
    """The interval of a mean of many people: mean +- 1.96 standard errors, within 10 %.

    1,999 resamples leave 3 % of chance in a bound; six bounds beyond 10 % by chance: 1 in 200.
    """
    values = np.random.default_rng(2).random((3, 1, 4_000))
    for row, mean in zip(values, means(values), strict=True):
        assert mean.low is not None and mean.high is not None
        error = float(stats.sem(row[0]))
        assert mean.value == pytest.approx(row.mean())
        assert mean.people_error == pytest.approx(error)
        assert (mean.high - mean.value) / error == pytest.approx(1.96, rel=0.1)
        assert (mean.value - mean.low) / error == pytest.approx(1.96, rel=0.1)


def test_mean_squares_are_those_of_the_analysis_of_variance() -> None:
    rng = np.random.default_rng(3)
    seeds, people = 4, 30
    y = rng.normal(size=(seeds, people)) + rng.normal(size=people) + 2 * rng.normal(size=(seeds, 1))
    data = {
        "y": y.ravel(),
        "s": np.repeat(np.arange(seeds), people),
        "u": np.tile(np.arange(people), seeds),
    }
    square = anova_lm(ols("y ~ C(s) + C(u)", pandas.DataFrame(data)).fit())["mean_sq"]
    found, cells = spread(y), seeds * people
    total = square["C(u)"] + square["C(s)"] - square["Residual"]
    assert found.people == pytest.approx((square["C(u)"] / cells) ** 0.5)
    assert found.seeds == pytest.approx((square["C(s)"] / cells) ** 0.5)
    assert found.seeds == pytest.approx(stats.sem(y.mean(axis=1)))
    assert found.total == pytest.approx((total / cells) ** 0.5)
    parts = [(square[n], df) for n, df in (("C(u)", 29), ("C(s)", 3), ("Residual", 87))]
    assert found.df == pytest.approx(total**2 / sum(v**2 / df for v, df in parts))


def test_seeds_that_agree_add_nothing() -> None:
    person = np.random.default_rng(4).random(50)
    found = spread(np.tile(person, (3, 1)))
    assert found.total == pytest.approx(float(stats.sem(person)))
    assert found.seeds == pytest.approx(0.0)
    assert found.df == 49


@pytest.mark.parametrize("between_seeds", [0.0, 0.04])
def test_intervals_cover_the_mean_over_people_and_seeds(between_seeds: float) -> None:
    """300 repetitions at 95 %: between 91 and 99 % cover; a right program fails 1 in 1,000."""
    rng = np.random.default_rng(5)
    covered = alone = 0
    repetitions, people, seeds = 300, 150, 3
    for number in range(repetitions):
        person, noise = rng.exponential(0.1, people), rng.normal(0, 0.15, (seeds, people))
        y = 0.2 + person + noise + rng.normal(0, between_seeds, (seeds, 1))
        mean = means(y[None], seed=number)[0]
        assert mean.low is not None and mean.high is not None and mean.people_error is not None
        covered += mean.low <= 0.3 <= mean.high
        alone += abs(mean.value - 0.3) <= 1.96 * mean.people_error
    assert 0.91 <= covered / repetitions <= 0.99
    if between_seeds:
        # People alone are not the whole story.
        assert alone / repetitions < 0.75


def test_paired_differences_with_one_seed_are_the_paired_t_test() -> None:
    rng = np.random.default_rng(6)
    reference = rng.random((1, 80))
    others = [reference + rng.normal(shift, 0.3, (1, 80)) for shift in (0.0, 0.1, 0.2)]
    found = differences(reference, others)
    p_values = [stats.ttest_rel(o[0], reference[0]).pvalue for o in others]
    assert [f.p_value for f in found] == pytest.approx(p_values)
    from statsmodels.stats.multitest import multipletests

    assert [f.p_adjusted for f in found] == pytest.approx(
        multipletests(p_values, method="holm")[1].tolist()
    )
    for f in found:
        assert f.low is not None and f.high is not None and f.p_adjusted is not None
        assert (f.low > 0.0 or f.high < 0.0) == (f.p_adjusted < 0.05)
    alone = differences(reference, others[:1])[0]
    expected = stats.ttest_rel(others[0][0], reference[0]).confidence_interval(0.95)
    assert (alone.low, alone.high) == pytest.approx((expected.low, expected.high))


def test_the_same_policy_twice_does_not_differ() -> None:
    values = np.random.default_rng(7).random((3, 40))
    found = differences(values, [values])[0]
    assert (found.value, found.low, found.high, found.p_adjusted) == (0.0, 0.0, 0.0, 1.0)


def test_what_cannot_vary_has_no_interval() -> None:
    nobody_hit, one_person = np.zeros((1, 2, 30)), np.full((1, 2, 1), 0.5)
    for values in (nobody_hit, one_person):
        mean = means(values)[0]
        assert (mean.low, mean.high) == (None, None)
    assert differences(one_person[0], [one_person[0]])[0].p_value is None


def test_the_same_seed_gives_the_same_interval() -> None:
    values = np.random.default_rng(8).random((2, 3, 60))
    assert means(values, seed=1) == means(values, seed=1)
    assert means(values, seed=1) != means(values, seed=2)
