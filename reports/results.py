"""What an analysed experiment is: plain, frozen, JSON-serialisable records.

`reports.analysis` makes them; the terminal table, results.json and the HTML report only read
them. No field depends on wall time, worker count or machine, so equal inputs give equal bytes.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any, Literal

Role = Literal["primary", "secondary", "guardrail"]
VerdictState = Literal["better", "worse", "not clear", "suspicious", "no verdict"]


@dataclass(frozen=True)
class Estimate:
    """A number with its confidence interval; bounds are None where not computable."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class ArmValue:
    """One metric in one arm: number of users, the metric's value and its standard error."""

    arm: str
    users: int
    value: float
    standard_error: float


@dataclass(frozen=True)
class MetricComparison:
    """One metric, treatment against control.

    Attributes:
        metric, label, unit: identity; ``unit`` is what ``value`` is in ("s per user-day", "%").
        kind: "mean" or "ratio".
        role: primary, secondary or guardrail.
        direction: "up" if more is better, "down" if less is better.
        absolute, relative: treatment - control, and that over control (0.032 = +3.2 %).
        relative_method: "delta-log", "fieller" or "none" (control too noisy).
        p_value: two-sided, of the test the interval inverts.
        p_adjusted: after correction inside ``family`` (equal to p_value where none applies).
        family: name of the correction family ("primary", "secondary (Holm)", ...).
        confidence: level of the intervals shown (adjusted consistently with p_adjusted).
        detectable_effect: smallest relative effect with 80 % power, from this data's variance.
        variance_reduction: share of variance removed by the pre-period covariate (0..1).
        margin: non-inferiority margin as a relative change (guardrails), else None.
        outcome: "better", "worse", "not clear", "within margin", "margin broken", "no data".
        warnings: sentences for the reader.
    """

    metric: str
    label: str
    unit: str
    kind: str
    role: Role
    direction: Literal["up", "down"]
    control: ArmValue
    treatment: ArmValue
    absolute: Estimate | None
    relative: Estimate | None
    relative_method: str
    p_value: float | None
    p_adjusted: float | None
    family: str
    confidence: float
    detectable_effect: float | None
    variance_reduction: float | None
    margin: float | None
    outcome: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class HealthCheck:
    """A trust chip: name, "pass" | "warn" | "fail" | "not run", and a sentence."""

    name: str
    label: str
    status: Literal["pass", "warn", "fail", "not run"]
    detail: str


@dataclass(frozen=True)
class Verdict:
    """The decision and its sentence; ``reason`` says why in words."""

    state: VerdictState
    sentence: str
    reason: str


@dataclass(frozen=True)
class DailyLift:
    """Relative lift of the primary metric on one day, and cumulatively up to it."""

    day: int
    lift: Estimate | None
    cumulative: Estimate | None


@dataclass(frozen=True)
class SegmentLift:
    """Relative lift of the primary metric in one segment, Holm-adjusted inside its family."""

    segment: str
    level: str
    users: int
    relative: Estimate | None
    p_adjusted: float | None


@dataclass(frozen=True)
class ArmDistribution:
    """Per-user distribution of the primary metric in one arm.

    ``edges`` has one more element than ``shares``; ``zero_share`` is the share of users at 0.
    """

    arm: str
    zero_share: float
    edges: tuple[float, ...]
    shares: tuple[float, ...]
    quantiles: dict[str, float]


@dataclass(frozen=True)
class ArmComparison:
    """Everything about one treatment against the control.

    ``true_effect`` is the twin design's paired effect on the primary metric, where there is one.
    """

    treatment: str
    control: str
    verdict: Verdict
    metrics: tuple[MetricComparison, ...]
    daily: tuple[DailyLift, ...]
    segments: tuple[SegmentLift, ...]
    distributions: tuple[ArmDistribution, ...]
    true_effect: Estimate | None = None


@dataclass(frozen=True)
class ExperimentResult:
    """One experiment, ready to be shown.

    ``context`` is free-form, JSON-serialisable facts that the report prints under "reproduce" and
    "for the statistician": command, seeds, versions, data hash, design, users, days, policies
    with their training summaries, environment (built-in world or learned response, its fidelity).
    """

    schema_version: int
    title: str
    simulated: bool
    design: Literal["online", "twin", "observed"]
    comparisons: tuple[ArmComparison, ...]
    health: tuple[HealthCheck, ...]
    warnings: tuple[str, ...] = ()
    context: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """Canonical JSON: sorted keys, no NaN (None instead), newline at the end."""
        return (
            json.dumps(
                dataclasses.asdict(self),
                ensure_ascii=False,
                allow_nan=False,
                indent=1,
                sort_keys=True,
            )
            + "\n"
        )
