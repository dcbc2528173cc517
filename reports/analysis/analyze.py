"""Analyse an experiment from its per-user outcomes.

The unit is the user: whatever a user did on all experiment days is one observation. What the user
did before the experiment is the covariate. One statistic per comparison gives the p value and both
intervals; corrections are applied to all of them alike.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar

import polars as pl

from reports.analysis.breakdowns import (
    daily_lifts,
    distributions,
    novelty,
    segment_lifts,
    two_parts,
)
from reports.analysis.calibration import calibration_check
from reports.analysis.correction import corrected
from reports.analysis.estimation import Design
from reports.analysis.factors import factor_split
from reports.analysis.health import health_checks
from reports.analysis.metric_rows import MetricRow, metric_rows
from reports.analysis.raw import raw_values
from reports.plan import AnalysisPlan
from reports.results import (
    SCHEMA_VERSION,
    ArmComparison,
    ExperimentResult,
    HealthCheck,
    MetricComparison,
)
from reports.users.table import Users, UserTable
from reports.verdict.judge import judge

Found = TypeVar("Found")

_BREAKDOWNS = ("segments", "days", "distributions", "novelty", "two parts", "factors")
"""What is looked at in every comparison besides its metrics."""


class _Steps:
    """Counts what has been done.

    Args:
        report: Told the share.
        total: Number of steps.
    """

    def __init__(self, report: Callable[[float], None] | None, total: int) -> None:
        self._report, self._total, self._done = report, total, 0

    def after(self, found: Found) -> Found:
        """What a step has found."""
        self._done += 1
        if self._report is not None:
            self._report(self._done / self._total)
        return found


def analyze(
    outcomes: pl.DataFrame | Users,
    plan: AnalysisPlan,
    *,
    control: str,
    treatments: Sequence[str],
    design: Design = "online",
    planned_split: Mapping[str, float] | None = None,
    title: str = "",
    simulated: bool = True,
    context: Mapping[str, Any] | None = None,
    same_policy: Collection[str] = (),
    report: Callable[[float], None] | None = None,
) -> ExperimentResult:
    """Analyse an experiment.

    Args:
        outcomes: One row per (user_id, arm, day): ``day`` counts from the first experiment day,
            days before it are negative. Outcome columns are sums of that day. Users without any
            row do not exist: give silent users a row of zeros. Columns ``segment_*`` are text.
            Or users with the same arms, in memory or in parts.
        plan: What is tested.
        control: Arm name.
        treatments: Arm names.
        design: "twin" if every user is in every arm (paired analysis).
        planned_split: Share of users per arm; equal if None. Not checked in twin designs.
        title: Of the report.
        simulated: Whether these are simulated users.
        context: Facts for the report.
        same_policy: Treatments that run the control's own policy (A/A tests).
        report: Told the share of the analyses that are done, from 0 to 1.

    Raises:
        StatisticsError: an arm is missing, or has fewer than two users.
    """
    arms = [control, *treatments]
    table = UserTable(outcomes, arms) if isinstance(outcomes, pl.DataFrame) else outcomes
    metrics = 1 + len(plan.guardrails) + len(plan.secondary)
    steps = _Steps(report, 3 + len(treatments) * (metrics + len(_BREAKDOWNS)))
    health = steps.after(health_checks(table, plan, design, planned_split))
    health.append(steps.after(calibration_check(table, plan, design)))
    raw = steps.after(raw_values(table, plan, arms))
    rows = {
        treatment: [
            steps.after(row) for row in metric_rows(table, plan, (control, treatment), design, raw)
        ]
        for treatment in treatments
    }
    found = corrected(rows, plan)
    comparisons = tuple(
        _compare_arms(
            table,
            plan,
            (control, treatment),
            design,
            health,
            rows[treatment][0],
            found[treatment],
            treatment in same_policy,
            steps,
        )
        for treatment in treatments
    )
    return ExperimentResult(
        schema_version=SCHEMA_VERSION,
        title=title or f"{', '.join(treatments)} against {control}",
        simulated=simulated,
        design=design,
        comparisons=comparisons,
        health=tuple(health),
        context=dict(context or {}),
    )


def _compare_arms(
    table: Users,
    plan: AnalysisPlan,
    pair: tuple[str, str],
    design: Design,
    health: Sequence[HealthCheck],
    first: MetricRow,
    metrics: Sequence[MetricComparison],
    same_policy: bool,
    steps: _Steps,
) -> ArmComparison:
    control, treatment = pair
    primary = metrics[0]
    split = steps.after(factor_split(table, plan, pair, design))
    segments, interactions = steps.after(segment_lifts(table, plan, pair, design, primary.scale))
    daily = steps.after(daily_lifts(table, plan, pair, design, primary.scale))
    return ArmComparison(
        treatment=treatment,
        control=control,
        verdict=judge(
            primary,
            [metric for metric in metrics if metric.role == "guardrail"],
            health,
            min_effect=plan.min_effect,
            rule=plan.rule,
            same_policy=same_policy,
            min_effect_scale="absolute" if plan.min_effect_in_units else "relative",
        ),
        metrics=tuple(metrics),
        daily=daily,
        segments=segments,
        distributions=steps.after(distributions(table, plan.metric(plan.primary), pair)),
        true_effect=first.at(plan.confidence).relative if design == "twin" else None,
        novelty=steps.after(novelty(table, plan, pair, design, daily)),
        interactions=interactions,
        two_part=steps.after(two_parts(first.estimated, first.chosen, pair, plan.confidence)),
        # Factors of a lift that does not exist, because the control may be zero, say nothing.
        factors=None if primary.relative is None else split,
    )
