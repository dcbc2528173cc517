"""Estimate every metric of one treatment, and compare it at any confidence level."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from reports.analysis.breakdowns import scaled
from reports.analysis.estimation import Design, Estimated, estimate
from reports.analysis.raw import RawValue
from reports.plan import AnalysisPlan, Metric
from reports.results import ArmValue, MetricComparison, Role, Scale
from reports.statistics.errors import StatisticsError
from reports.statistics.lift import Comparison, detectable_difference
from reports.statistics.margins import HarmTest
from reports.users.metric_columns import during
from reports.users.table import Users

SMALLEST_LIFT = 1e-7
"""Lifts within this of zero are shown as differences: of 10^12 and 10^12 + 2 the 2 can be read."""


@dataclasses.dataclass(frozen=True)
class MetricRow:
    """One metric of one treatment, estimated.

    Attributes:
        chosen: The metric.
        role: Its role.
        pair: Control and treatment.
        raw: Both arms as they are.
        margin: Of a guardrail.
        margin_scale: Of the margin.
        alpha: Error rate of the plan.
        estimated: Both arms; None if they could not be estimated.
        problem: Why the arms could not be estimated or compared.
    """

    chosen: Metric
    role: Role
    pair: tuple[str, str]
    raw: tuple[RawValue, RawValue]
    margin: float | None
    margin_scale: Scale
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
    ) -> MetricRow:
        """Estimate a metric; what prevents it is kept."""
        margin = plan.guardrails.get(chosen.name) if role == "guardrail" else None
        scale: Scale = "absolute" if chosen.name in plan.in_units else "relative"
        own = (raw[pair[0]], raw[pair[1]])
        known = (chosen, role, pair, own, margin, scale, 1.0 - plan.confidence)
        found = None
        try:
            found = estimate(table, during, chosen, table.days, pair, design, plan)
            found.compare(plan.confidence)
        except StatisticsError as problem:
            return cls(*known, found, problem)
        return cls(*known, found)

    @property
    def p_value(self) -> float | None:
        """Two-sided and uncorrected; None without data."""
        if self.estimated is None or self.problem is not None:
            return None
        return self.estimated.compare(1.0 - self.alpha).p_value

    def at(
        self,
        confidence: float,
        *,
        p_adjusted: float | None = None,
        family: str = "",
        tests: int = 1,
    ) -> MetricComparison:
        """Compared at this level of confidence.

        Args:
            confidence: Of the intervals.
            p_adjusted: The corrected p value.
            family: What is corrected together.
            tests: How many comparisons share alpha. What can be detected is that of a test at
                alpha / tests, as `abtest power` plans; the correction finds at least that.
        """
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
            "margin_scale": self.margin_scale,
        }
        values = self._arm_values()
        if self.estimated is None or self.problem is not None:
            return self._without_data(base, values)
        shown = self._shown
        result = self.estimated.compare(confidence)
        error = result.standard_error
        raw = sum(e.raw_variance for e in self.estimated.arms)
        scale, warnings = self._scale(result)
        risk = self.estimated.tail_risk(confidence, scale)
        if risk is not None and risk.warns:
            warnings.append(risk.sentence())
        harm = self._harm()
        if harm is not None and not harm.settled:
            warnings.append(
                "A share of a control near zero is no margin: give it in the metric's unit."
            )
        p = result.p_value if p_adjusted is None else p_adjusted
        reach = detectable_difference(
            error, alpha=self.alpha / tests, degrees_of_freedom=result.degrees_of_freedom
        )
        value = abs(self.estimated.arms[0].adjusted)
        relative = None if scale == "absolute" else result.relative
        score = self.estimated.rates is not None
        return MetricComparison(
            **base,
            control=values[0],
            treatment=values[1],
            absolute=scaled(result.absolute, shown),
            relative=None if relative is None else scaled(relative),
            relative_method="none" if relative is None else "score" if score else "fieller",
            p_value=result.p_value,
            p_adjusted=p,
            detectable_effect=None if scale == "absolute" else reach / value,
            variance_reduction=None if score or raw <= 0.0 else _removed(error**2, raw),
            outcome=self._outcome(result, p, harm),
            warnings=tuple(warnings),
            scale=scale,
            margin_p=None if harm is None else harm.within,
            detectable_difference=shown * reach,
            method="score" if score else "paired" if self.estimated.paired else "welch",
        )

    @property
    def _shown(self) -> float:
        return 100.0 if self.chosen.percent else 1.0

    def _arm_values(self) -> list[ArmValue]:
        """Both arms as they are, and after adjustment where there is an estimate."""
        shown = self._shown
        values = [
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
        if self.estimated is None or self.problem is not None:
            return values
        return [
            dataclasses.replace(
                value,
                adjusted=shown * e.adjusted,
                adjusted_error=shown * float(np.sqrt(e.variance)),
            )
            for value, e in zip(values, self.estimated.arms, strict=True)
        ]

    def _scale(self, result: Comparison) -> tuple[Scale, list[str]]:
        """What effects are judged in, and the warning that goes with it."""
        assert self.estimated is not None
        if self.chosen.lift == "absolute":
            return "absolute", []
        if self.estimated.arms[0].adjusted < 0.0:
            return "absolute", ["The control is below zero: there is no relative lift."]
        if result.control_too_noisy:
            return "absolute", ["The control is not clear of zero: there is no relative lift."]
        lift = result.relative
        if lift is not None and max(abs(v or 0.0) for v in lift) < SMALLEST_LIFT:
            return "absolute", [
                "Beside so large a control no lift can be read: see the difference."
            ]
        return "relative", []

    def _harm(self) -> HarmTest | None:
        if self.margin is None or self.estimated is None:
            return None
        margin = self.margin / self._shown if self.margin_scale == "absolute" else self.margin
        return self.estimated.harm(
            margin, self.chosen.direction, self.margin_scale, 1.0 - self.alpha
        )

    def _outcome(self, result: Comparison, p: float, harm: HarmTest | None) -> str:
        if harm is not None:
            # Each end of the two-sided interval spends half of alpha.
            if harm.within < self.alpha / 2.0:
                return "within margin"
            return "margin broken" if harm.broken < self.alpha / 2.0 else "not clear"
        if p >= self.alpha:
            return "not clear"
        better = (result.absolute.value > 0.0) == (self.chosen.direction == "up")
        return "better" if better else "worse"

    def _without_data(self, base: dict[str, Any], values: list[ArmValue]) -> MetricComparison:
        assert self.problem is not None
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


def _removed(left: float, raw: float) -> float:
    """Share of a variance that is gone; what rounding makes of none is none."""
    removed = 1.0 - left / raw
    return removed if removed > 1e-12 else 0.0


def metric_rows(
    table: Users,
    plan: AnalysisPlan,
    pair: tuple[str, str],
    design: Design,
    raw: Mapping[str, Mapping[str, RawValue]],
) -> Iterator[MetricRow]:
    """The primary metric, the guardrails and the secondary metrics of one treatment, in turn."""
    roles: list[tuple[str, Role]] = [(plan.primary, "primary")]
    roles += [(name, "guardrail") for name in plan.guardrails]
    roles += [(name, "secondary") for name in plan.secondary]
    for name, role in roles:
        yield MetricRow.of(table, plan, plan.metric(name), role, pair, design, raw[name])
