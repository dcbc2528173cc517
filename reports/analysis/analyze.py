"""Analyse an experiment from its per-user outcomes.

The unit is the user: whatever a user did on all experiment days is one observation. What the user
did before the experiment is the covariate. One statistic per comparison gives the p value and both
intervals; corrections are applied to all of them alike.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from reports.analysis.breakdowns import (
    daily_lifts,
    distributions,
    novelty,
    scaled,
    segment_lifts,
    two_parts,
)
from reports.analysis.calibration import calibration_check
from reports.analysis.estimation import Design, Estimated, estimate
from reports.analysis.factors import factor_split
from reports.analysis.health import health_checks
from reports.analysis.raw import RawValue, raw_values
from reports.plan import AnalysisPlan, Metric
from reports.results import (
    SCHEMA_VERSION,
    ArmComparison,
    ArmValue,
    ExperimentResult,
    HealthCheck,
    MetricComparison,
    Role,
)
from reports.statistics.errors import StatisticsError
from reports.statistics.lift import detectable_effect
from reports.statistics.multiplicity import adjusted_confidence, holm
from reports.users.metric_columns import during
from reports.users.table import Users, UserTable
from reports.verdict.judge import judge


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

    Raises:
        StatisticsError: an arm is missing, or has fewer than two users.
    """
    arms = [control, *treatments]
    table = UserTable(outcomes, arms) if isinstance(outcomes, pl.DataFrame) else outcomes
    health = health_checks(table, plan, design, planned_split)
    health.append(calibration_check(table, plan, design))
    raw = raw_values(table, plan, arms)
    comparisons = tuple(
        _compare_arms(
            table, plan, raw, control, treatment, design, health, treatment in same_policy
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
    raw: Mapping[str, Mapping[str, RawValue]],
    control: str,
    treatment: str,
    design: Design,
    health: Sequence[HealthCheck],
    same_policy: bool,
) -> ArmComparison:
    pair = (control, treatment)

    def single(name: str, role: Role) -> _Row:
        return _Row.of(table, plan, plan.metric(name), role, pair, design, raw[name])

    first = single(plan.primary, "primary")
    primary = first.at(plan.confidence)
    guardrails = [single(name, "guardrail").at(plan.confidence) for name in plan.guardrails]
    secondary = _corrected([single(name, "secondary") for name in plan.secondary], plan)
    segments, interactions = segment_lifts(table, plan, pair, design)
    return ArmComparison(
        treatment=treatment,
        control=control,
        verdict=judge(
            primary,
            guardrails,
            health,
            min_effect=plan.min_effect,
            rule=plan.rule,
            same_policy=same_policy,
        ),
        metrics=(primary, *guardrails, *secondary),
        daily=daily_lifts(table, plan, pair, design),
        segments=segments,
        distributions=distributions(table, plan.metric(plan.primary), pair),
        true_effect=primary.relative if design == "twin" else None,
        novelty=novelty(table, plan, pair, design),
        interactions=interactions,
        two_part=two_parts(first.estimated, first.chosen, pair, plan.confidence),
        factors=factor_split(table, plan, pair, design),
    )


def _corrected(rows: Sequence[_Row], plan: AnalysisPlan) -> list[MetricComparison]:
    """Secondary metrics with Holm's p values and intervals of the levels that go with them."""
    found = [row.at(plan.confidence) for row in rows]
    known = {m.metric: m.p_value for m in found if m.p_value is not None}
    adjusted = dict(zip(known, holm(list(known.values())), strict=True))
    family = f"secondary (Holm, {len(known)} metrics)"
    corrected = []
    for row, plain in zip(rows, found, strict=True):
        if plain.metric not in known:
            corrected.append(plain)
            continue
        p = adjusted[plain.metric]
        level = adjusted_confidence(known[plain.metric], p, len(known), plan.confidence)
        corrected.append(row.at(level, p_adjusted=p, family=family))
    return corrected


@dataclasses.dataclass(frozen=True)
class _Row:
    """One metric, estimated; to be compared at any level.

    ``raw`` holds both arms as they are. ``estimated`` is None, and ``problem`` says why, if it
    could not be estimated.
    """

    chosen: Metric
    role: Role
    pair: tuple[str, str]
    raw: tuple[RawValue, RawValue]
    margin: float | None
    alpha: float
    estimated: Estimated | None
    problem: StatisticsError | None = None

    @classmethod
    def of(
        cls,
        table: Users,
        plan: AnalysisPlan,
        chosen: Metric,
        role: Role,
        pair: tuple[str, str],
        design: Design,
        raw: Mapping[str, RawValue],
    ) -> _Row:
        margin = plan.guardrails.get(chosen.name) if role == "guardrail" else None
        own = (raw[pair[0]], raw[pair[1]])
        known = (chosen, role, pair, own, margin, 1.0 - plan.confidence)
        try:
            found = estimate(table, during, chosen, table.days, pair, design, plan)
            found.compare(plan.confidence)
        except StatisticsError as problem:
            return cls(*known, None, problem)
        return cls(*known, found)

    def at(
        self, confidence: float, *, p_adjusted: float | None = None, family: str = ""
    ) -> MetricComparison:
        """Compared at this level of confidence."""
        chosen = self.chosen
        usual = "guardrail (non-inferiority)" if self.role == "guardrail" else self.role
        base: dict[str, Any] = {
            "metric": chosen.name,
            "label": chosen.label,
            "unit": chosen.unit,
            "kind": chosen.kind,
            "role": self.role,
            "direction": chosen.direction,
            "family": family or usual,
            "confidence": confidence,
            "margin": self.margin,
        }
        if self.estimated is None:
            return self._without_data(base)
        shown = self._shown
        estimates = self.estimated.arms
        result = self.estimated.compare(confidence)
        values = [
            dataclasses.replace(
                value,
                adjusted=shown * e.adjusted,
                adjusted_error=shown * float(np.sqrt(e.variance)),
            )
            for value, e in zip(self._values(), estimates, strict=True)
        ]
        raw = sum(e.raw_variance for e in estimates)
        warnings = []
        if result.control_too_noisy:
            warnings.append("The control is too noisy for a bounded relative interval.")
        warnings += (
            [risk.sentence()] if (risk := self.estimated.tail_risk(confidence)).warns else []
        )
        row = MetricComparison(
            **base,
            control=values[0],
            treatment=values[1],
            absolute=scaled(result.absolute, shown),
            relative=None if result.relative is None else scaled(result.relative),
            relative_method="none" if result.control_too_noisy else "fieller",
            p_value=result.p_value,
            p_adjusted=result.p_value if p_adjusted is None else p_adjusted,
            detectable_effect=detectable_effect(estimates[0], result.standard_error),
            variance_reduction=max(0.0, 1.0 - result.standard_error**2 / raw) if raw > 0 else None,
            outcome="",
            warnings=tuple(warnings),
        )
        return dataclasses.replace(row, outcome=_outcome(row, self.alpha))

    @property
    def _shown(self) -> float:
        return 100.0 if self.chosen.percent else 1.0

    def _values(self) -> list[ArmValue]:
        """Both arms as they are."""
        shown = self._shown
        return [
            ArmValue(
                arm,
                raw.users,
                shown * raw.value,
                shown * raw.standard_error,
                total=raw.total,
                base=raw.base,
            )
            for arm, raw in zip(self.pair, self.raw, strict=True)
        ]

    def _without_data(self, base: dict[str, Any]) -> MetricComparison:
        assert self.problem is not None
        values = self._values()
        said = f"{self.problem.problem} {self.problem.detail}".strip()
        return MetricComparison(
            **base,
            control=values[0],
            treatment=values[1],
            absolute=None,
            relative=None,
            relative_method="none",
            p_value=None,
            p_adjusted=None,
            detectable_effect=None,
            variance_reduction=None,
            outcome="no data",
            warnings=(f"'{self.chosen.name}': {said} No lift computed.",),
        )


def _outcome(row: MetricComparison, alpha: float) -> str:
    if row.p_adjusted is None or row.absolute is None:
        return "no data"
    sign = 1.0 if row.direction == "up" else -1.0
    if row.margin is not None:
        # Non-inferiority: is even the harmful end of the interval inside the margin?
        if row.relative is None or row.relative.low is None or row.relative.high is None:
            return "not clear"
        harm = row.relative.low if sign > 0 else -row.relative.high
        best = row.relative.high if sign > 0 else -row.relative.low
        if harm > -row.margin:
            return "within margin"
        return "margin broken" if best < -row.margin else "not clear"
    if row.p_adjusted >= alpha:
        return "not clear"
    return "better" if sign * row.absolute.value > 0 else "worse"
