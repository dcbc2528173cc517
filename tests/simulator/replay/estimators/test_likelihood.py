"""Empirical likelihood of linearised estimates: its definition, its p value, where it is wider."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import optimize, stats

from simulator.logs.dataset import Dataset
from simulator.replay import TargetPolicy, replay
from simulator.replay.estimators import Estimate, Linear, empirical_likelihood, fieller
from simulator.replay.estimators.likelihood import (
    likelihood_lift,
    likelihood_of,
    likelihood_p_value,
    wider,
)
from simulator.replay.models.regression import for_outcome
from simulator.replay.summary import at_level
from tests.simulator.replay import decision_log as platform


def of_mean(values: np.ndarray) -> Linear:
    n = len(values)
    return Linear(float(values.mean()), (values - values.mean()) / n, np.ones(n, bool))


def tailed(seed: int, n: int = 60) -> np.ndarray:
    return np.exp(np.random.default_rng(seed).normal(size=n))


def ratio_by_hand(residual: np.ndarray) -> float:
    """Minus twice the largest sum of log(n p), by Newton on the multiplier's concave dual."""
    n = len(residual)
    values = np.append(residual, -max(1.0, np.log(n) / 2) * residual.mean())
    values = values / np.abs(values).max()

    def dual(multiplier: float) -> float:
        inside = 1.0 + multiplier * values
        return np.inf if inside.min() <= 0 else -2.0 * float(np.log(inside).sum())

    limits = (-1.0 / values.max() + 1e-9, -1.0 / values.min() - 1e-9)
    return -float(optimize.minimize_scalar(dual, bounds=limits, options={"xatol": 1e-12}).fun)


def test_of_a_mean_it_is_the_interval_of_the_sums() -> None:
    values = tailed(1)
    expected, found = empirical_likelihood(values, np.ones(60)), likelihood_of(of_mean(values))
    assert expected is not None and found is not None
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-7)
    # It reaches farther towards the tail.
    assert found.low is not None and found.high is not None
    assert found.high - found.value > 1.1 * (found.value - found.low)


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_the_bounds_of_a_lift_are_where_the_likelihood_ratio_reaches_its_limit(
    level: float,
) -> None:
    first, second = tailed(2) + 1.0, tailed(3) + 1.0
    treatment, control = of_mean(first), of_mean(second)
    found = likelihood_lift(treatment, control, level)
    assert found is not None and found.low is not None and found.high is not None
    limit = stats.t.ppf(0.5 + level / 2, 59) ** 2
    for bound in (found.low, found.high):
        assert ratio_by_hand(first - (1.0 + bound) * second) == pytest.approx(limit, rel=1e-4)
    assert found.low < first.mean() / second.mean() - 1.0 < found.high
    plain = fieller(treatment, control, level)
    assert plain is not None
    assert found.value == pytest.approx(plain.value)


def test_the_p_value_is_below_five_per_cent_exactly_if_the_interval_leaves_out_zero() -> None:
    spread = of_mean(tailed(5))
    seen = set()
    for shift in np.linspace(-5.0, 5.0, 101):
        moved = Linear(shift * spread.standard_error, spread.influence, spread.contributes)
        estimate, p = likelihood_of(moved), likelihood_p_value(moved)
        assert estimate is not None and p is not None
        assert (p < 0.05) == (not estimate.covers(0.0)), shift
        seen.add(p < 0.05)
    assert seen == {True, False}


def test_users_without_weight_count_for_nothing_and_two_are_too_few() -> None:
    linear = of_mean(tailed(6))
    more = Linear(
        linear.value, np.append(linear.influence, np.zeros(40)),
        np.append(linear.contributes, np.zeros(40, bool)),
    )  # fmt: skip
    expected, found = likelihood_of(linear), likelihood_of(more)
    assert expected is not None and found is not None
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-9)
    assert likelihood_p_value(more) == pytest.approx(likelihood_p_value(linear), rel=1e-9)
    assert likelihood_of(of_mean(np.array([1.0, 2.0]))) is None
    assert likelihood_of(of_mean(np.ones(9))) is None


def test_the_wider_of_two_has_the_farther_bounds_and_keeps_a_missing_one() -> None:
    first, second = Estimate(1.0, 0.1, 0.5, 1.5), Estimate(1.0, 0.1, 0.6, 1.7)
    assert wider(first, second) == Estimate(1.0, 0.1, 0.5, 1.7)
    assert wider(first, Estimate(1.0, 0.1, None, 1.2)) == Estimate(1.0, 0.1, None, 1.5)
    assert wider(first, None) == first
    assert wider(None, second) is None


def test_in_a_replay_every_estimator_s_lift_is_at_least_as_wide(
    decision_dataset: Callable[[platform.DecisionLog], Dataset],
) -> None:
    dataset = decision_dataset(platform.make(2, users=60))
    scores = {"new": platform.by_item(np.arange(6.0)), "old": platform.by_item(-np.arange(6.0))}
    plain, careful = (
        replay(
            dataset, scores, treatment="new", control="old", model=for_outcome,  # type: ignore[arg-type]
            target=TargetPolicy(explore_share=0.5), primary="comment_stay_ms", conservative=on,
            segments={"half": np.repeat(["a", "b"], 30)},
        )
        for on in (False, True)
    )  # fmt: skip
    changed = set()
    one_metric = [next(m for m in r.metrics if m.role == "primary") for r in (plain, careful)]
    pairs = [(name, found, one_metric[1].estimates[name])
             for name, found in one_metric[0].estimates.items()]  # fmt: skip
    pairs += [
        (a.level, a.found, b.found) for a, b in zip(plain.segments, careful.segments, strict=True)
    ]
    for name, one, other in pairs:
        for side in ("difference", "relative"):
            narrow, wide = getattr(one, side), getattr(other, side)
            assert wide.low <= narrow.low and narrow.high <= wide.high
            if wide != narrow:
                changed.add((name, side))
        assert one.p_value is not None and other.p_value is not None
        assert one.p_value <= other.p_value
        assert (other.p_value < 0.05) == (not other.relative.covers(0.0))
    # The one that is read first too, and segments.
    assert {("sndr", "relative"), ("sndr", "difference"), ("b", "relative")} <= changed
    best = one_metric[1].best
    stricter = at_level(best, 0.99)[1]
    looser = at_level(one_metric[0].best, 0.99)[1]
    assert stricter is not None and looser is not None
    assert stricter.width() > looser.width()


def test_an_outcome_that_never_varies_has_the_interval_it_had(
    decision_dataset: Callable[[platform.DecisionLog], Dataset],
) -> None:
    """Every impression of the platform lasts 9 s: what is left is rounding."""
    dataset = decision_dataset(platform.make(1, users=80))
    scores = {"new": platform.by_item(np.zeros(6)), "old": platform.by_item(np.arange(6.0))}
    found = replay(
        dataset, scores, treatment="new", control="old", model=for_outcome, conservative=True,  # type: ignore[arg-type]
        target=TargetPolicy(explore_share=0.4), metrics=["play_time_ms"],
    )  # fmt: skip
    for name in ("snips", "dr", "sndr"):
        one = found.metrics[0].estimates[name]
        assert one.relative is not None
        assert (one.relative.low, one.relative.high) == pytest.approx((0.0, 0.0), abs=1e-9)
    # The noise of the weights is in this one.
    noisy = found.metrics[0].estimates["ips"].relative
    assert noisy is not None and noisy.low is not None
    assert noisy.low < -0.01
