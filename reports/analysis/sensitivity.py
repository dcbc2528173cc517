"""Put the analysed twins of assumed worlds together: the lift as a function of each assumption."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reports.results import (
    AssumedLift,
    AssumedPoint,
    AssumptionGrid,
    Estimate,
    Evidence,
    ExperimentResult,
    MetricComparison,
    Scale,
    Sensitivity,
)
from reports.verdict.ranges import judge_range


@dataclass(frozen=True)
class AnalysedGrid:
    """One assumption and the analysed twin at each of its values.

    Attributes:
        parameter, label, base, evidence, reason, in_log: As in `AssumptionGrid`.
        twins: Value and result, without the base world's.
    """

    parameter: str
    label: str
    base: float
    evidence: Evidence
    reason: str
    in_log: bool
    twins: Sequence[tuple[float, ExperimentResult]]


def sensitivity(
    base: ExperimentResult, grids: Sequence[AnalysedGrid], *, days: int, retrained: bool
) -> Sensitivity | None:
    """The record of an experiment's sensitivity; None without a primary metric.

    Args:
        base: The analysed twin in the world of the experiment.
        grids: The assumptions; all twins have the treatments of ``base``.
        days: Of each twin.
        retrained: Whether policies were trained on each assumed world's own log.
    """
    first = _primary(base, 0)
    if first is None:
        return None
    results = [base, *(twin for grid in grids for _, twin in grid.twins)]
    metrics = [m for r in results for n in range(len(r.comparisons)) if (m := _primary(r, n))]
    scale: Scale = "absolute" if any(m.scale == "absolute" for m in metrics) else "relative"
    return Sensitivity(
        first.metric,
        first.label,
        first.unit,
        first.direction,
        scale,
        first.confidence,
        first.control.users,
        days,
        retrained,
        tuple(_grid(base, grid, scale) for grid in grids),
    )


def _grid(base: ExperimentResult, grid: AnalysedGrid, scale: Scale) -> AssumptionGrid:
    others = [(value, twin) for value, twin in grid.twins if value != grid.base]
    twins = sorted([(grid.base, base), *others], key=lambda pair: pair[0])
    points = tuple(_point(value, twin, scale) for value, twin in twins)
    return AssumptionGrid(
        grid.parameter,
        grid.label,
        grid.base,
        grid.evidence,
        grid.reason,
        grid.in_log,
        points,
        tuple(judge_range(c.treatment, points) for c in base.comparisons),
    )


def _point(value: float, twin: ExperimentResult, scale: Scale) -> AssumedPoint:
    lifts = []
    control = float("nan")
    for number, comparison in enumerate(twin.comparisons):
        metric = _primary(twin, number)
        labels = {m.metric: m.label for m in comparison.metrics}
        broken = tuple(labels[name] for name in comparison.verdict.broken)
        if metric is None:
            lifts.append(AssumedLift(comparison.treatment, None, "no data", broken))
            continue
        control = metric.control.value
        effect, outcome = _effect(metric, scale)
        lifts.append(AssumedLift(comparison.treatment, effect, outcome, broken))
    return AssumedPoint(value, control, tuple(lifts))


def _effect(metric: MetricComparison, scale: Scale) -> tuple[Estimate | None, str]:
    """The effect and its outcome; none at all where everyone did the same in both arms."""
    if metric.absolute is None and metric.control.value == metric.treatment.value != 0.0:
        return Estimate(0.0, 0.0, 0.0), "not clear"
    return metric.on(scale), metric.outcome


def _primary(result: ExperimentResult, number: int) -> MetricComparison | None:
    if number >= len(result.comparisons):
        return None
    return next((m for m in result.comparisons[number].metrics if m.role == "primary"), None)
