"""Compute intervals that need no normal distribution: bootstrap and empirical Bernstein."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from simulator.replay.estimators import Estimate, empirical_bernstein
from simulator.replay.estimators.bootstrap import bootstrap_of, user_bootstrap
from simulator.replay.interval_method import BERNSTEIN, BOOTSTRAP, DRAWS, SEED
from simulator.replay.logged import LoggedRows
from simulator.replay.metrics import ReplayMetric
from simulator.replay.result import OtherInterval
from simulator.replay.valuation import Valued, Weighted


def other_intervals(
    treatment: Mapping[str, Valued],
    control: Mapping[str, Valued],
    names: Sequence[str],
    policies: Sequence[Weighted],
    logged: LoggedRows,
    metric: ReplayMetric,
) -> list[OtherInterval]:
    """For every estimator: the two values and their difference by every other method.

    Args:
        treatment: Its values by estimator.
        control: Its values by estimator.
        names: Estimators that give a figure.
        policies: Treatment and control.
        logged: The rows.
        metric: Which.
    """
    rows: list[OtherInterval] = []
    known = ~np.isnan(metric.values(dict(logged.outcomes)))
    for name in names:
        pair = (treatment[name], control[name])
        for which, valued, policy in zip(("treatment", "control"), pair, policies, strict=True):
            rows.append(OtherInterval(name, which, BOOTSTRAP, of_users(valued, DRAWS, SEED)))
            why = why_not_bounded(name, metric, policy)
            found = None
            if not why and valued.linear is not None:
                assert valued.events is not None
                assert policy.largest is not None
                found = bounded(valued, policy, np.bincount(policy.user[known]).max())
            rows.append(OtherInterval(name, which, BERNSTEIN, found, why))
        first, second = pair[0].linear, pair[1].linear
        gap = None
        if first is not None and second is not None:
            gap = bootstrap_of(first - second, draws=DRAWS, seed=SEED)
        rows.append(OtherInterval(name, "difference", BOOTSTRAP, gap))
    return rows


def of_users(valued: Valued, draws: int, seed: int) -> Estimate | None:
    """The bootstrap over users: of the sums behind an estimate where they are known."""
    if valued.linear is None:
        return None
    if valued.events is not None and valued.bottom is not None:
        return user_bootstrap(valued.events, valued.bottom, draws=draws, seed=seed)
    return bootstrap_of(valued.linear, draws=draws, seed=seed)


def why_not_bounded(name: str, metric: ReplayMetric, policy: Weighted) -> str:
    """Why empirical Bernstein says nothing about an estimate; empty if it does."""
    if metric.unit != "share":
        return f"a {'time' if metric.unit == 'ms' else 'count'} has no largest possible value"
    if name != "ips":
        return "not a mean of what users have between two known bounds"
    if policy.largest is None:
        return "the log does not tell the largest possible weight"
    return ""


def bounded(valued: Valued, policy: Weighted, most_rows: int) -> Estimate:
    """Empirical Bernstein of IPS of a share.

    A user's value is the number of users times the user's part of the estimate. It is at most as if
    the user with most rows had an event with the largest weight in every one. No share is above 1.

    Args:
        valued: The estimate.
        policy: Weights, with the largest.
        most_rows: Rows of the user with most of them, which are taken as given.
    """
    assert valued.events is not None
    assert valued.bottom is not None
    assert policy.largest is not None
    scale = policy.n_users / float(valued.bottom.sum())
    found = empirical_bernstein(valued.events * scale, policy.largest * float(most_rows) * scale)
    high = None if found.high is None else min(found.high, 1.0)
    return Estimate(found.value, found.standard_error, found.low, high)
