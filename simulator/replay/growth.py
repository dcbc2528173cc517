"""Measure how overlap and precision grow with the log, from nested parts of its users.

Users stand in an order that is drawn once and depends on nothing that they did. The first eighth of
them is the first part, the first two eighths the second, and so on. Weights belong to rows and
estimates to sums per user, so that no policy is scored a second time. A part tells what a replay of
these users alone would tell; only the reward model, and the pool of videos of a log of random
exposure, are those of the whole log.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from simulator.randomness import mix, purpose_key
from simulator.replay.estimators import fieller
from simulator.replay.logged import LoggedRows
from simulator.replay.result import Growth, OverlapPoint, PrecisionPoint
from simulator.replay.summary import detectable
from simulator.replay.target.targets import Target
from simulator.replay.valuation import UserSums, Weighted, first_sums
from simulator.replay.weighed_log import Question, WeighedLog, unseen_share

PARTS = 8
HEAVY = 0.01
"""Share of the rows whose weight is the tail."""
Float64 = NDArray[np.float64]


def parts_of(users: NDArray[np.integer]) -> NDArray[np.int64]:
    """int64[G]: the first of the `PARTS` nested parts that holds each user.

    Args:
        users: int[G], dense user indices of the dataset.
    """
    order = np.argsort(mix(purpose_key(0, "replay.growth"), users), kind="stable")
    part = np.empty(len(users), dtype=np.int64)
    part[order] = np.arange(len(users)) * PARTS // max(len(users), 1)
    return part


def growth(stage: WeighedLog, question: Question) -> Growth:
    """Overlap of every policy, and precision of every treatment, from every part.

    Args:
        stage: The stage that the primary metric is about.
        question: What is asked.
    """
    logged, control = stage.logged, question.control
    part = parts_of(np.unique(logged.user))
    overlaps = {
        name: _overlap(own, stage.targets.get(name), logged, part)
        for name, own in stage.weighted.items()
    }
    measured = stage.measured(question.primary)
    sums = {name: first_sums(measured, own) for name, own in stage.weighted.items()}
    precision = {
        name: _precision(sums[name], sums[control], part)
        for name in question.treatments
        if name != control
    }
    return Growth(question.primary, overlaps, precision)


def _overlap(
    policy: Weighted, target: Target | None, logged: LoggedRows, part: NDArray[np.int64]
) -> list[OverlapPoint]:
    of_row, weight = part[policy.user], policy.weight

    def totals(values: Float64) -> Float64:
        return np.cumsum(np.bincount(of_row, weights=values, minlength=PARTS))

    users = np.cumsum(np.bincount(part, minlength=PARTS))
    rows = np.cumsum(np.bincount(of_row, minlength=PARTS))
    matched = totals((weight > 0).astype(np.float64))
    all_weight, squares = totals(weight), totals(weight**2)
    moments = totals(policy.second_moment)
    orders = None
    if policy.comments is not None:
        orders = totals(policy.second_moment * policy.comments.second_moment)
    missing = np.zeros(PARTS) if target is None else totals(target.unsupported)
    heavy = np.argsort(-weight, kind="stable")
    part_of_heavy = of_row[heavy]
    points = []
    for k in range(PARTS):
        n = int(rows[k])
        if n == 0:
            continue
        tail = weight[heavy[part_of_heavy <= k][: max(1, round(HEAVY * n))]].sum()
        unseen = _known(missing[k] / n)
        if target is not None and logged.kind == "random pool":
            unseen = unseen_share(logged.shown[of_row <= k])
        points.append(
            OverlapPoint(
                users=int(users[k]),
                rows=n,
                matched_rows=int(matched[k]),
                expected_effective=_worth(n, moments[k]),
                effective_sample_size=float(all_weight[k] ** 2 / squares[k]) if squares[k] else 0.0,
                comment_effective=None if orders is None else _worth(n, orders[k]),
                unsupported_share=unseen,
                tail_share=float(tail / all_weight[k]) if all_weight[k] > 0 else None,
            )
        )
    return points


def _worth(rows: int, moments: float) -> float | None:
    """Rows over the mean expected squared weight."""
    if np.isnan(moments):
        return None
    return rows**2 / float(moments) if moments > 0 else 0.0


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _precision(
    treatment: UserSums, control: UserSums, part: NDArray[np.int64]
) -> list[PrecisionPoint]:
    points = []
    for k in range(PARTS):
        keep = part <= k
        rows = int((treatment.rows * keep).sum())
        first, second = treatment.linear(keep), control.linear(keep)
        lift = least = None
        if first is not None and second is not None:
            lift, least = fieller(first, second), detectable(first - second, second)
        bounded = lift is not None and lift.low is not None and lift.high is not None
        points.append(
            PrecisionPoint(
                users=int((keep & (treatment.rows > 0)).sum()),
                rows=rows,
                lift=None if lift is None else lift.value,
                half_width=lift.width() / 2 if lift is not None and bounded else None,
                detectable=least,
            )
        )
    return points
