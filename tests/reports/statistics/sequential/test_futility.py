"""Beta spending against published boundaries, simulation and the definition."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from reports.statistics.errors import StatisticsError
from reports.statistics.sequential.crossing import crossing_probabilities
from reports.statistics.sequential.futility import plan_futility
from reports.statistics.sequential.group_sequential import GroupSequential
from reports.statistics.sequential.spending import Spending, obrien_fleming, pocock, power_family

ONE_SIDED = GroupSequential(obrien_fleming, 0.025, 1)


def test_one_look_is_the_fixed_test() -> None:
    plan = plan_futility(ONE_SIDED, [1.0], power=0.9)
    assert plan.drift == pytest.approx(stats.norm.isf(0.025) + stats.norm.isf(0.1), rel=1e-8)
    assert plan.futility[0] == plan.efficacy[0] == pytest.approx(stats.norm.isf(0.025), rel=1e-8)
    assert plan.stops_without_effect[0] == pytest.approx(0.975, rel=1e-8)


@pytest.mark.parametrize("spending", [obrien_fleming, pocock, power_family(2.0)])
def test_beta_is_spent_as_planned_and_power_is_kept(spending: Spending) -> None:
    fractions = [0.3, 0.5, 0.8, 1.0]
    plan = plan_futility(ONE_SIDED, fractions, power=0.8, spending=spending)
    crossing = crossing_probabilities(
        fractions, plan.futility.tolist(), plan.efficacy.tolist(), drift=plan.drift
    )
    assert np.cumsum(crossing.lower) == pytest.approx(
        spending(np.array(fractions), 0.2), rel=1e-6, abs=1e-9
    )
    assert crossing.upper.sum() == pytest.approx(0.8, abs=1e-7)
    assert (np.diff(plan.futility) > 0.0).all()
    assert (plan.futility[:-1] < plan.efficacy[:-1]).all()
    # Stopping for futility costs power, which a larger drift pays for.
    assert plan.drift > ONE_SIDED.drift(fractions, 0.8)


def test_boundaries_by_simulation() -> None:
    """400,000 walks with and without the planned effect; four standard deviations below .004."""
    rng = np.random.default_rng(41)
    t = np.array([0.25, 0.5, 0.75, 1.0])
    plan = plan_futility(ONE_SIDED, t.tolist(), power=0.9, spending=pocock)
    steps = np.sqrt(np.diff(t, prepend=0.0))
    walks = (rng.standard_normal((400_000, 4)) * steps).cumsum(axis=1)
    for drift in (0.0, plan.drift):
        z = (walks + drift * t) / np.sqrt(t)
        out = (z > plan.efficacy) | (z < plan.futility)
        out[:, -1] = True
        first = out.argmax(axis=1)
        won = z[np.arange(len(z)), first] > plan.efficacy[first]
        if drift == 0.0:
            assert won.mean() <= 0.025
            lost = np.bincount(first[~won], minlength=4) / len(z)
            assert lost == pytest.approx(plan.stops_without_effect, abs=0.004)
            assert t[first].mean() == pytest.approx(plan.expected_fraction, abs=0.004)
        else:
            assert won.mean() == pytest.approx(0.9, abs=0.004)


def test_futility_does_not_touch_the_efficacy_boundaries() -> None:
    fractions = [0.4, 0.7, 1.0]
    for sides in (1, 2):
        design = GroupSequential(obrien_fleming, 0.05, 2 if sides == 2 else 1)
        plan = plan_futility(design, fractions)
        assert plan.efficacy == pytest.approx(design.boundaries(fractions, last=True))
        assert plan.futile(0, float(plan.futility[0]) - 0.01)
        assert not plan.futile(0, float(plan.futility[0]) + 0.01)
        assert plan.expected_fraction < 1.0


def test_what_cannot_be_planned_is_refused() -> None:
    with pytest.raises(StatisticsError, match="power is not possible"):
        plan_futility(ONE_SIDED, [0.5, 1.0], power=0.01)
    with pytest.raises(StatisticsError, match="all information"):
        plan_futility(ONE_SIDED, [0.5, 0.9])
    with pytest.raises(StatisticsError, match="not in order"):
        plan_futility(ONE_SIDED, [0.5, 0.5, 1.0])
