"""Hold the lift as a function of what was assumed about people: grids, points, findings.

`reports.results` is where everybody else imports these from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from reports.result_parts import Estimate, Scale

Evidence = Literal["none", "fitted", "set"]
"""What a parameter's own value rests on: no published figure at all, a fit to published figures, or
reasoning."""

RangeFinding = Literal[
    "better everywhere",
    "worse everywhere",
    "better in part",
    "worse in part",
    "changes sign",
    "unclear everywhere",
    "no data",
]


@dataclass(frozen=True)
class AssumedLift:
    """The primary metric of one treatment in one assumed world.

    Attributes:
        treatment: Name of the arm.
        effect: Of the treatment, on the scale of the `Sensitivity`; None where not computable.
        outcome: "better", "worse", "not clear" or "no data", as of the metric itself.
        broken: Labels of the guardrails that are worse than their margins.
    """

    treatment: str
    effect: Estimate | None
    outcome: str
    broken: tuple[str, ...] = ()


@dataclass(frozen=True)
class AssumedPoint:
    """One value of an assumption.

    Attributes:
        value: Of the parameter.
        control: The primary metric in the control arm, in its unit.
        lifts: One per treatment.
    """

    value: float
    control: float
    lifts: tuple[AssumedLift, ...]


@dataclass(frozen=True)
class AssumptionFinding:
    """What one treatment's lift does over the values of one assumption.

    Attributes:
        treatment: Name of the arm.
        code: What was found; the three that follow say where.
        better, worse, unclear: Values at which the interval lies on the good side of no change, on
            the bad side, or on both.
        low, high: Smallest and largest effect; None where there is none.
    """

    treatment: str
    code: RangeFinding
    better: tuple[float, ...]
    worse: tuple[float, ...]
    unclear: tuple[float, ...]
    low: float | None
    high: float | None


@dataclass(frozen=True)
class AssumptionGrid:
    """One parameter of the world, and the lift at each of its values.

    Attributes:
        parameter: Its name.
        label: In words.
        base: Its value in the world of the experiment; one of the points.
        evidence: What that value rests on.
        reason: Why these values were tried; empty where the user chose them.
        in_log: Whether the log that policies are trained on depends on it.
        points: Ascending.
        findings: One per treatment.
    """

    parameter: str
    label: str
    base: float
    evidence: Evidence
    reason: str
    in_log: bool
    points: tuple[AssumedPoint, ...]
    findings: tuple[AssumptionFinding, ...]


@dataclass(frozen=True)
class Sensitivity:
    """The primary metric under other assumptions, one varied at a time, in twin designs.

    Attributes:
        metric, label, unit, direction: Of the primary metric, as in `MetricComparison`.
        scale: Of every effect.
        confidence: Of every interval; each point by itself, uncorrected.
        users: People who lived through every arm, the same in all assumed worlds.
        days: Of each twin.
        retrained: Whether policies were trained on each assumed world's own log.
        grids: One per assumption.
    """

    metric: str
    label: str
    unit: str
    direction: Literal["up", "down"]
    scale: Scale
    confidence: float
    users: int
    days: int
    retrained: bool
    grids: tuple[AssumptionGrid, ...]
