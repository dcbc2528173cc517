"""Hold an online test against the twin of the same people: its bias, metric by metric."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

from reports.plan import AnalysisPlan
from reports.results import (
    ArmComparison,
    Estimate,
    ExperimentResult,
    Interference,
    MetricBias,
    MetricComparison,
)
from reports.statistics.errors import StatisticsError
from reports.statistics.interference import bias_of_test
from reports.statistics.lift import Interval
from reports.users.table import Float, UserTable, matrix

_ROLES = ("primary", "guardrail")


def interference(
    online: pl.DataFrame,
    twin: pl.DataFrame,
    plan: AnalysisPlan,
    results: tuple[ExperimentResult, ExperimentResult],
    *,
    strengths: Mapping[str, float],
    audience: float,
    groups: int,
) -> Interference:
    """The bias of the primary metric and of the guardrails, for every treatment.

    Args:
        online: Outcomes of the online test, a row per (user_id, arm, day).
        twin: Outcomes of the same people or of some of them, in every arm.
        plan: What is tested.
        results: The analysed online test and the analysed twin.
        strengths: Of interference.
        audience: People for whom a simulated person stands.
        groups: Platforms that the people of ``twin`` shared.
    """
    tested, true = results
    people = twin["user_id"].unique().sort()
    met = online.filter(pl.col("user_id").is_in(people.implode()))
    arms = [tested.comparisons[0].control, *(c.treatment for c in tested.comparisons)]
    truth = UserTable(twin, arms)
    # One row per person, in the order of the twin's; the arm is kept aside.
    known = UserTable(met.with_columns(pl.lit("online").alias("arm")), ["online"])
    arm_of = met.group_by("user_id").agg(pl.col("arm").first()).sort("user_id")["arm"].to_numpy()
    found: list[MetricBias] = []
    for own, comparison in zip(tested.comparisons, true.comparisons, strict=True):
        pair = (comparison.control, comparison.treatment)
        arm = np.where(arm_of == pair[0], 0, np.where(arm_of == pair[1], 1, 2))
        for metric in comparison.metrics:
            chosen = plan.metric(metric.metric)
            if metric.role not in _ROLES or metric.relative is None or chosen.cap is not None:
                continue
            everyone = matrix(truth.during, chosen, truth.days)
            values = [everyone[truth.rows(name)] for name in pair]
            seen: Float = matrix(known.during, chosen, known.days)
            try:
                bias = bias_of_test(values[0], values[1], seen, arm, plan.confidence)
            except StatisticsError:
                continue
            found.append(
                MetricBias(
                    pair[1],
                    metric.metric,
                    metric.label,
                    metric.role,
                    _test(own, metric),
                    _estimate(bias.expected),
                    metric.relative,
                    _estimate(bias.bias),
                    _estimate(bias.control_moves),
                    _estimate(bias.treatment_moves),
                )
            )
    return Interference(
        dict(strengths), audience, len(people), groups, plan.confidence, tuple(found)
    )


def _test(own: ArmComparison, metric: MetricComparison) -> Estimate | None:
    return next((m.relative for m in own.metrics if m.metric == metric.metric), None)


def _estimate(interval: Interval) -> Estimate:
    return Estimate(*interval)
