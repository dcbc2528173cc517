"""Find out what a source tells of its metrics: value, variance, and the scale of effects."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from abtest.errors import UsageError
from abtest.power.sources import Source
from reports.analysis.estimation import estimate
from reports.plan import AnalysisPlan, Metric
from reports.statistics.errors import StatisticsError
from reports.statistics.estimates import estimate_arms
from reports.statistics.moments import Moments
from reports.statistics.power import Baseline, variance_over_days
from reports.users.metric_columns import during
from reports.users.table import matrix

_CLEAR = 1.96
"""Standard errors from zero at which the analysis takes a value as clear of it."""


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
        role: Of the metric: secondary metrics share alpha, guardrails are not corrected.
        scale: "absolute" where a lift relative to the value says nothing: the value is below zero,
            not clear of it, or was declared so.
        clear: Whether the value is clear of zero, so that a share of it is a size.
    """

    metric: str
    unit: str
    shown: float
    direction: str
    baseline: Baseline
    variance_removed: float | None = None
    role: str = ""
    scale: Literal["relative", "absolute"] = "relative"
    clear: bool = True


class Unknown(NamedTuple):
    """A metric that a source tells nothing of, and why."""

    metric: str
    unit: str
    problem: str


def known_of_source(source: Source, *, days: int | None, paired: bool) -> list[Known | Unknown]:
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
    found: list[Known | Unknown] = []
    for chosen in source.metrics:
        try:
            found.append(_paired(source, chosen) if paired else _unpaired(source, chosen, days))
        except StatisticsError as error:
            if len(source.metrics) == 1 or "scatter between days" in error.problem:
                raise
            found.append(Unknown(chosen.name, chosen.unit, str(error)))
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
    error = math.sqrt(raw.variance / moments.users)
    if source.against:
        baseline = _as_tested(source, chosen, baseline)
    if days is not None:
        daily = _daily(source, chosen, columns)
        baseline, raw = (
            b._replace(variance=variance_over_days(b.variance, daily, days))
            for b in (baseline, raw)
        )
    elif columns.shape[1] == 2 and not source.against and _is_share(columns):
        baseline = Baseline.proportion(baseline.value)
    removed = 1.0 - baseline.variance / raw.variance if columns.shape[1] > 2 else None
    return _known(source, chosen, baseline, removed, error)


def _as_tested(source: Source, chosen: Metric, alone: Baseline) -> Baseline:
    """Value and variances with which the run's own analysis compared its arms.

    Of several treatments the one whose test finds least counts, as in the run's own warning.

    Args:
        source: A run with several arms.
        chosen: The metric.
        alone: The control by itself.
    """
    plan = AnalysisPlan(
        chosen.name, metrics={chosen.name: chosen}, covariates=source.covariates,
        select=source.select,
    )  # fmt: skip
    # Plans take the smallest treatment's users: planning these arms gives this standard error.
    control, fewest = source.users, min(source.table.size(arm) for arm in source.against)
    weakest, least = alone, -1.0
    for other in source.against:
        pair = (source.arm, other)
        found = estimate(source.table, during, chosen, source.table.days, pair, "online", plan)
        own = Baseline.of(Moments.of(source.columns(chosen, other))).variance
        ratio = own / alone.variance
        squared = found.compare(plan.confidence).standard_error ** 2
        variance = squared / (1.0 / control + ratio / fewest)
        value = found.arms[0].adjusted
        reach = squared / value**2 if value else math.inf
        if reach > least:
            weakest, least = Baseline(value, variance, variance_ratio=ratio), reach
    return weakest


def _paired(source: Source, chosen: Metric) -> Known:
    assert source.twin_of is not None
    (table,) = source.table.parts()
    values = matrix(table.during, chosen, table.days)
    arms = [values[table.rows(arm)] for arm in (source.arm, source.twin_of)]
    estimates = estimate_arms([Moments.of(arm) for arm in arms])
    linear = [
        (v[:, 0] - e.value * v[:, 1]) / v[:, 1].mean() for v, e in zip(arms, estimates, strict=True)
    ]
    variance = float(np.var(linear[1] - linear[0], ddof=1))
    apart = sum(e.raw_variance * e.users for e in estimates)
    removed = max(0.0, 1.0 - variance / apart) if apart > 0.0 else None
    error = math.sqrt(estimates[0].raw_variance)
    return _known(source, chosen, Baseline(estimates[0].value, variance), removed, error)


def _known(
    source: Source, chosen: Metric, baseline: Baseline, removed: float | None, error: float
) -> Known:
    """A metric, on the scale on which the analysis would show it.

    Args:
        source: That it is from.
        chosen: The metric.
        baseline: Value and variance.
        removed: Share of the variance.
        error: Standard error of the value in the source.
    """
    shown = 100.0 if chosen.percent else 1.0
    if not baseline.variance > 0.0:
        raise StatisticsError("the metric does not vary.", "Every user has the same value.")
    clear = abs(baseline.value) > _CLEAR * error
    absolute = chosen.lift == "absolute" or baseline.value <= 0.0 or not clear
    return Known(
        chosen.name,
        chosen.unit,
        shown,
        chosen.direction,
        baseline,
        removed,
        source.roles.get(chosen.name, ""),
        "absolute" if absolute else "relative",
        clear,
    )


def _daily(source: Source, chosen: Metric, columns: NDArray[np.float64]) -> NDArray[np.float64]:
    """float64[users, days] of the linearised metric; its mean over days is that of all days."""
    found = []
    for part in source.table.parts():
        rows = part.rows(source.arm)
        days = [matrix(part.until(d, only=True), chosen, 1)[rows] for d in part.calendar]
        found.append(np.stack(days, axis=1))
    each = np.concatenate(found)
    x, y = each[:, :, 0], each[:, :, 1]
    ratio = float(x.sum() / y.sum())
    return np.asarray((x - ratio * y) / y.mean())


def _is_share(columns: NDArray[np.float64]) -> bool:
    values, denominator = columns[:, 0], columns[:, 1]
    return bool(np.isin(values, (0.0, 1.0)).all() and (denominator == 1.0).all())
