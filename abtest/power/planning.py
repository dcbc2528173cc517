"""Compute users needed, detectable effect or power for every metric of a source."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from abtest.errors import UsageError
from abtest.power.sources import Source
from reports.plan import Metric
from reports.statistics.errors import StatisticsError
from reports.statistics.estimates import estimate_arms
from reports.statistics.moments import Moments
from reports.statistics.power import (
    Baseline,
    PlannedTest,
    best_shares,
    detectable_lift,
    detectable_margin,
    power,
    sample_size,
    variance_over_days,
)
from reports.users.table import matrix

Question = Literal["users", "effect", "power", "margin"]


@dataclass(frozen=True)
class Known:
    """What is known of one metric.

    Attributes:
        metric: Name.
        unit: Of the value.
        shown: What the value is multiplied with to be shown.
        direction: "up" if more is better.
        baseline: Value and variance per user.
        variance_removed: By covariates or pairing, 0 to 1; None where there are none.
    """

    metric: str
    unit: str
    shown: float
    direction: str
    baseline: Baseline
    variance_removed: float | None = None


@dataclass(frozen=True)
class Asked:
    """What is planned.

    Attributes:
        effect: Relative, or None if it is what is asked for.
        users: In all arms together, or None if they are.
        margin: Non-inferiority margin as a positive fraction, or None for a test of a difference.
        power: Wanted.
        alpha: Two-sided error rate of the experiment; one-sided tests spend half of it.
        shares: Of users per arm, the control first.
        correct: Whether alpha is divided among the treatments.
        paired: Twin design.
    """

    effect: float | None
    users: int | None
    margin: float | None
    power: float
    alpha: float
    shares: tuple[float, ...]
    correct: bool
    paired: bool

    @property
    def question(self) -> Question:
        """What is not given."""
        if self.users is None:
            return "users"
        if self.margin is not None:
            return "power"
        return "effect" if self.effect is None else "power"

    def test(self, direction: str) -> PlannedTest:
        """The test of a metric."""
        base = PlannedTest(self.alpha, shares=self.shares, correct=self.correct, paired=self.paired)
        if self.margin is None:
            return base
        # Guardrails are read from two-sided intervals: each end has half the error rate.
        up = direction == "up"
        return base._replace(
            alpha=self.alpha / 2.0,
            alternative="greater" if up else "less",
            null=-self.margin if up else self.margin,
        )


@dataclass(frozen=True)
class Answer:
    """One row: a metric, users, effect and power; or the problem that prevents it.

    Attributes:
        metric, unit, value, deviation, variance_removed: what is known; ``deviation`` is of one
            user, after covariates.
        users: Per arm, the control first.
        total: Different users in all arms.
        effect: Relative effect.
        margin: Non-inferiority margin, if one is tested.
        smallest_margin: Shown with the wanted power by these users, if a margin is tested.
        power: Probability of a significant result.
        problem: Why there is no answer; empty if there is one.
    """

    metric: str
    unit: str
    value: float | None
    deviation: float | None
    variance_removed: float | None
    users: tuple[int, ...] = ()
    total: int | None = None
    effect: float | None = None
    margin: float | None = None
    smallest_margin: float | None = None
    power: float | None = None
    problem: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; None for what is not finite."""
        values = dataclasses.asdict(self)
        return {
            k: None if isinstance(v, float) and not math.isfinite(v) else v
            for k, v in values.items()
        }


def answer(known: Known, asked: Asked) -> Answer:
    """Answer the question for one metric.

    Raises:
        StatisticsError: it has no answer.
    """
    test = asked.test(known.direction)
    baseline = known.baseline
    row = Answer(
        known.metric,
        known.unit,
        known.shown * baseline.value,
        known.shown * math.sqrt(baseline.variance),
        known.variance_removed,
        margin=asked.margin,
    )
    effect = asked.effect
    if effect is None and asked.margin is not None:
        effect = 0.0
    if asked.users is None:
        if effect is None:
            raise UsageError(
                "say the effect to find or the users to have.", "Give --mde or --users"
            )
        plan = sample_size(baseline, effect, test, target=asked.power)
        return dataclasses.replace(
            row, users=plan.users, total=plan.total, effect=plan.lift, power=plan.power
        )
    users = arm_sizes(asked.users, asked.shares, asked.paired)
    row = dataclasses.replace(row, users=users, total=asked.users)
    if effect is None:
        plan = detectable_lift(baseline, users, test, target=asked.power)
        return dataclasses.replace(row, effect=plan.lift, power=plan.power)
    smallest = None
    if asked.margin is not None:
        smallest = detectable_margin(baseline, users, test, lift=effect, target=asked.power)
    return dataclasses.replace(
        row, effect=effect, power=power(baseline, effect, users, test), smallest_margin=smallest
    )


def answers(known: Sequence[Known | Answer], asked: Asked) -> list[Answer]:
    """Answers for several metrics; a metric without one says why, unless it is the only one.

    Raises:
        StatisticsError: the only metric has no answer.
    """
    rows = []
    for item in known:
        if isinstance(item, Answer):
            rows.append(item)
            continue
        try:
            rows.append(answer(item, asked))
        except StatisticsError as error:
            if len(known) == 1:
                raise
            rows.append(Answer(item.metric, item.unit, None, None, None, problem=str(error)))
    return rows


def arm_sizes(total: int, shares: Sequence[float], paired: bool) -> tuple[int, ...]:
    """Users per arm.

    Raises:
        UsageError: an arm with fewer than two users.
    """
    if paired:
        sizes = (total,) * len(shares)
    else:
        sizes = tuple(int(total * share / sum(shares)) for share in shares)
    if min(sizes) < 2:
        raise UsageError(
            f"--users {total:,} leaves {min(sizes)} users in an arm; a test needs two."
        )
    return sizes


def parse_shares(text: str | None, treatments: int) -> tuple[float, ...]:
    """``0.1`` (of each treatment), ``best``, ``0.8,0.1,0.1`` (control first); None: equal.

    Raises:
        UsageError: shares that are none.
    """
    if text is None:
        return (1.0 / (treatments + 1),) * (treatments + 1)
    if text.strip() == "best":
        return best_shares(treatments)
    try:
        parts = [_fraction(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"--split is '{text}', expected shares.", "Example: --split 0.1") from None
    if len(parts) == 1:
        parts = [1.0 - treatments * parts[0], *parts * treatments]
    if len(parts) != treatments + 1 or min(parts) <= 0.0 or abs(sum(parts) - 1.0) > 1e-6:
        raise UsageError(
            f"--split {text} does not divide users among a control and {treatments} treatments.",
            "Give the share of each treatment, or one share per arm that add up to 1",
        )
    return tuple(parts)


def _fraction(text: str) -> float:
    text = text.strip()
    return float(text[:-1]) / 100.0 if text.endswith("%") else float(text)


def known_of_source(source: Source, *, days: int | None, paired: bool) -> list[Known | Answer]:
    """What a source tells of each of its metrics; why not, for those it tells nothing of.

    Args:
        source: Outcomes.
        days: Of the experiment that is planned; None for as many as the source has.
        paired: Plan a twin design; the source must be one.

    Raises:
        UsageError: no pairs in the source.
        StatisticsError: the scatter between days is needed and not known.
    """
    if paired and source.twin_of is None:
        raise UsageError(
            "a twin design needs the variance of a user's difference, which only a twin run has.",
            "Give such a run, or --mean, --sd and --correlation",
        )
    if paired and days not in (None, source.table.days):
        raise UsageError(f"--days cannot change for twin runs: this one has {source.table.days}.")
    found: list[Known | Answer] = []
    for chosen in source.metrics:
        try:
            found.append(_paired(source, chosen) if paired else _unpaired(source, chosen, days))
        except StatisticsError as error:
            if len(source.metrics) == 1 or "scatter between days" in error.problem:
                raise
            found.append(Answer(chosen.name, chosen.unit, None, None, None, problem=str(error)))
    return found


def _unpaired(source: Source, chosen: Metric, days: int | None) -> Known:
    columns = source.columns(chosen)
    moments = Moments.of(columns)
    baseline = Baseline.of(moments)
    raw = Baseline.of(moments, adjusted=False)
    if not raw.variance > 0.0:
        raise StatisticsError(
            "the metric does not vary or is zero.", "Every user has the same value, or none any."
        )
    if baseline.variance <= 1e-12 * raw.variance and raw.variance > 0.0:
        raise StatisticsError(
            "the covariates determine the metric.",
            "Nothing varies that the days before do not tell.",
            "Plan for another metric.",
        )
    if days is not None:
        daily = _daily(source, chosen, columns)
        baseline, raw = (
            b._replace(variance=variance_over_days(b.variance, daily, days))
            for b in (baseline, raw)
        )
    elif columns.shape[1] == 2 and _is_share(columns):
        baseline = Baseline.proportion(baseline.value)
    removed = 1.0 - baseline.variance / raw.variance if columns.shape[1] > 2 else None
    return _known(chosen, baseline, removed)


def _paired(source: Source, chosen: Metric) -> Known:
    assert source.twin_of is not None
    table = source.table
    values = matrix(table.during, chosen, table.days)
    arms = [values[table.rows(arm)] for arm in (source.arm, source.twin_of)]
    estimates = estimate_arms([Moments.of(arm) for arm in arms])
    linear = [
        (v[:, 0] - e.value * v[:, 1]) / v[:, 1].mean() for v, e in zip(arms, estimates, strict=True)
    ]
    variance = float(np.var(linear[1] - linear[0], ddof=1))
    apart = sum(e.raw_variance * e.users for e in estimates)
    removed = max(0.0, 1.0 - variance / apart) if apart > 0.0 else None
    return _known(chosen, Baseline(estimates[0].value, variance), removed)


def _known(chosen: Metric, baseline: Baseline, removed: float | None) -> Known:
    shown = 100.0 if chosen.percent else 1.0
    if baseline.value == 0.0 or not baseline.variance > 0.0:
        raise StatisticsError(
            "the metric does not vary or is zero.", "Every user has the same value, or none any."
        )
    return Known(chosen.name, chosen.unit, shown, chosen.direction, baseline, removed)


def _daily(source: Source, chosen: Metric, columns: NDArray[np.float64]) -> NDArray[np.float64]:
    """float64[users, days] of the linearised metric; its mean over days is that of all days."""
    table = source.table
    rows = table.rows(source.arm)
    each = [matrix(table.until(d, only=True), chosen, 1)[rows] for d in range(table.days)]
    x = np.stack([day[:, 0] for day in each], axis=1)
    y = np.stack([day[:, 1] for day in each], axis=1)
    ratio = float(x.sum() / y.sum())
    return np.asarray((x - ratio * y) / y.mean())


def _is_share(columns: NDArray[np.float64]) -> bool:
    values, denominator = columns[:, 0], columns[:, 1]
    return bool(np.isin(values, (0.0, 1.0)).all() and (denominator == 1.0).all())
