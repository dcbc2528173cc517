"""dwell_r against loops, and its standard error against a jackknife over people."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from policies.evaluation.dwell import dwell_r, from_visit_mean


def _sample(seed: int = 1, people: int = 60):  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(seed)
    size = rng.integers(2, 9, people * 4)
    visit = np.repeat(np.arange(len(size)), size)
    user = visit // 4
    value = rng.normal(size=len(visit))
    dwell = np.exp(value + rng.normal(size=len(visit)) + rng.normal(size=len(size))[visit])
    return value + 100.0 * visit, np.maximum(1_000 * dwell, 1).astype(int), visit, user


def test_it_is_the_correlation_of_deviations_from_the_visits_means() -> None:
    score, dwell, visit, user = _sample()
    x, y = [], []
    for number in np.unique(visit):
        at = visit == number
        x += list(score[at] - score[at].mean())
        y += list(np.log(dwell[at]) - np.log(dwell[at]).mean())
    found = dwell_r(score, dwell, visit, user)
    assert found.r == pytest.approx(np.corrcoef(x, y)[0, 1], abs=1e-9)
    assert found.r == pytest.approx(1 / np.sqrt(2), abs=0.05)
    assert dwell_r(-score, dwell, visit, user).r == pytest.approx(-found.r)
    # What is the same within a visit changes nothing.
    assert dwell_r(score + visit**2, dwell, visit, user).r == pytest.approx(found.r, abs=1e-6)


def test_the_error_is_that_of_a_jackknife_over_people() -> None:
    score, dwell, visit, user = _sample()
    found = dwell_r(score, dwell, visit, user)
    left = []
    for person in range(60):
        at = user != person
        left.append(dwell_r(score[at], dwell[at], visit[at], user[at]).r)
    left_out = np.array(left)
    jackknife = np.sqrt(59 / 60 * ((left_out - left_out.mean()) ** 2).sum())
    assert found.error == pytest.approx(jackknife, rel=0.05)
    assert found.interval[0] < found.r < found.interval[1]
    assert found.minus(found).error == 0.0
    values = found.per_person()
    assert values.mean() == pytest.approx(found.r, abs=1e-9)
    assert values.std(ddof=1) / np.sqrt(len(values)) == pytest.approx(found.error, rel=1e-6)


def test_the_interval_and_the_error_of_two_people() -> None:
    score, dwell, visit, user = _sample(3, people=2)
    found = dwell_r(score, dwell, visit, user)
    # The spread of one value per person, however few they are.
    values = found.per_person()
    assert found.error == pytest.approx(abs(values[1] - values[0]) / 2.0)
    low, high = found.interval
    half = stats.norm.ppf(0.975) * found.error
    assert (low, high) == (pytest.approx(found.r - half), pytest.approx(found.r + half))


def test_scores_that_say_nothing_have_no_correlation() -> None:
    _, dwell, visit, user = _sample()
    assert dwell_r(visit * 3.0, dwell, visit, user).r == 0.0
    assert from_visit_mean(np.zeros(0), np.zeros(0, dtype=int)).shape == (0,)


def test_a_score_that_is_the_same_for_all_has_an_influence_of_zero_for_everybody() -> None:
    _, dwell, visit, user = _sample(4, people=5)
    found = dwell_r(np.ones(len(dwell)), dwell, visit, user)
    assert found.r == 0.0 and found.influence.tolist() == [0.0] * 5
