"""Hold the parts of an analysed experiment: estimates, metrics, checks, verdicts, breakdowns.

`reports.results` puts them together and is where everybody else imports them from.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Scale = Literal["relative", "absolute"]
Role = Literal["primary", "secondary", "guardrail"]
VerdictState = Literal[
    "better", "worse", "not clear", "suspicious", "no verdict", "as expected", "false alarm"
]
Decision = Literal["ship", "do not ship", "keep running", "no verdict", "nothing to decide"]
Finding = Literal[
    "check failed",
    "no data",
    "no control",
    "absurd lift",
    "same policy",
    "false alarm",
    "too few users",
    "weak test",
    "no change",
    "below minimum",
    "guardrail broken",
    "improved",
    "harmed",
    "written",
]
"""Why a verdict has its state; "written" in results of schema version 1, which hold sentences."""

Cause = Literal[
    "check failed",
    "no data",
    "no control",
    "absurd lift",
    "same policy",
    "too few users",
    "weak test",
    "guardrail broken",
    "worse",
    "surely below minimum",
    "not settled",
    "below minimum",
    "interval reaches below minimum",
    "guardrail not settled",
    "better",
    "written",
]
"""Why a decision was taken; "written" as above."""


@dataclass(frozen=True)
class Estimate:
    """A number with its confidence interval; bounds are None where not computable."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class ArmValue:
    """One metric in one arm.

    Attributes:
        arm: Its name.
        users: In it.
        value: The metric as it is, total over base; the same beside every treatment. In results
            of schema version 1 the adjusted value.
        standard_error: Of ``value``.
        adjusted: The metric after adjustment, capping or both, which the lift compares; None in
            results of schema version 1.
        adjusted_error: Of ``adjusted``.
        total: Sum of the numerator over users and days, in the metric's unit (a percentage's
            numerator is a count).
        base: What it is divided by: user-days, users, or the sum of the denominator.
    """

    arm: str
    users: int
    value: float
    standard_error: float
    adjusted: float | None = None
    adjusted_error: float | None = None
    total: float | None = None
    base: float | None = None

    @property
    def compared(self) -> tuple[float, float]:
        """What the lift compares, and its standard error."""
        if self.adjusted is None or self.adjusted_error is None:
            return self.value, self.standard_error
        return self.adjusted, self.adjusted_error


@dataclass(frozen=True)
class MetricComparison:
    """One metric, treatment against control.

    Attributes:
        metric, label, unit: identity; ``unit`` is what ``value`` is in ("s per user-day", "%").
        kind: "mean" or "ratio".
        role: primary, secondary or guardrail.
        direction: "up" if more is better, "down" if less is better.
        absolute, relative: treatment - control, and that over control (0.032 = +3.2 %).
        relative_method: "fieller", "score" (rates with few events) or "none" (no relative lift).
        p_value: two-sided, of the test the interval inverts.
        p_adjusted: after correction inside ``family`` (equal to p_value where none applies).
        family: name of the correction family ("primary", "secondary (Holm)", ...).
        confidence: level of the intervals shown (adjusted consistently with p_adjusted).
        detectable_effect: smallest relative effect with 80 % power, from this data's variance,
            at the level that the correction leaves.
        variance_reduction: share of variance removed by the pre-period covariate (0..1).
        margin: non-inferiority margin as a relative change (guardrails), else None.
        outcome: "better", "worse", "not clear", "within margin", "margin broken", "no data".
        warnings: sentences for the reader.
        scale: "absolute" if there is no relative lift to judge by: the metric is declared so, or
            the control is not clear of zero from above.
        margin_scale: what ``margin`` is: "relative" to the control, or "absolute", in ``unit``.
        margin_p: one-sided p value of harm of the margin or more (guardrails).
        detectable_difference: like ``detectable_effect``, in ``unit``.
        method: "welch", "paired" or "score" (rates with few events).
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
    scale: Scale = "relative"
    margin_scale: Scale = "relative"
    margin_p: float | None = None
    detectable_difference: float | None = None
    method: str = "welch"

    def on(self, scale: Scale) -> Estimate | None:
        """The difference, or the relative lift."""
        return self.absolute if scale == "absolute" else self.relative


@dataclass(frozen=True)
class HealthCheck:
    """One check of the data or of the method.

    Attributes:
        name: Of the check.
        label: For people, where `reports.verdict.words` does not know the name.
        status: What came out.
        detail: A sentence, where there is no code.
        code: Which sentence of `reports.verdict.words.checks` applies.
        facts: Its numbers and names, plain JSON values.
    """

    name: str
    label: str
    status: Literal["pass", "warn", "fail", "not run"]
    detail: str = ""
    code: str = ""
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class WrittenVerdict:
    """The sentences of a verdict of schema version 1."""

    sentence: str
    reason: str
    cause: str = ""


@dataclass(frozen=True)
class Verdict:
    """What was found and what to do, as codes and numbers.

    Attributes:
        state: What was found in the primary metric.
        decision: What to do (`reports.verdict.rule`); None in results of versions without it.
        finding: Why the state.
        cause: Why the decision.
        min_effect: Smallest effect worth shipping; None if not known.
        checks: Names of the checks that failed, or, where none did, that warned.
        broken: Names of the guardrail metrics that are worse than their margins.
        unsettled: Names of the guardrail metrics neither broken nor within their margins.
        written: The sentences, in results of schema version 1.
        min_effect_scale: Whether ``min_effect`` is a share of the control or in the metric's unit.
    """

    state: VerdictState
    decision: Decision | None
    finding: Finding
    cause: Cause
    min_effect: float | None = None
    checks: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()
    unsettled: tuple[str, ...] = ()
    written: WrittenVerdict | None = None
    min_effect_scale: Scale = "relative"


@dataclass(frozen=True)
class Band:
    """Bounds of a value that is given elsewhere; None where not computable."""

    low: float | None
    high: float | None


@dataclass(frozen=True)
class DailyLift:
    """Lift of the primary metric on one day, and cumulatively up to it.

    ``lift`` and ``cumulative`` hold at one look. ``always_valid`` bounds ``cumulative`` at all
    looks together; None in results of versions without it. All three are differences in the
    metric's unit if ``scale`` is "absolute".
    """

    day: int
    lift: Estimate | None
    cumulative: Estimate | None
    always_valid: Band | None = None
    scale: Scale = "relative"

    @property
    def banded(self) -> Estimate | None:
        """All days so far with the bounds of ``always_valid``; None where there are none."""
        if self.cumulative is None or self.always_valid is None:
            return None
        return Estimate(self.cumulative.value, self.always_valid.low, self.always_valid.high)


@dataclass(frozen=True)
class Novelty:
    """Straight line through the daily lifts of the primary metric.

    Attributes:
        days: That were fitted.
        slope: Change of the lift per day (0.01 = one hundredth of the control, or of the metric's
            unit).
        first, last: Fitted lift on the first and the last day.
        p_value: Two-sided, of no slope.
        family: Of the test.
        confidence: Of the interval.
        scale: "absolute" if the lifts are differences in the metric's unit.
    """

    days: int
    slope: Estimate
    first: float
    last: float
    p_value: float
    family: str
    confidence: float
    scale: Scale = "relative"


@dataclass(frozen=True)
class SegmentLift:
    """Lift of the primary metric in one segment, Holm-adjusted inside its family.

    ``relative`` if ``scale`` is "relative", else ``absolute``, in the metric's unit.
    """

    segment: str
    level: str
    users: int
    relative: Estimate | None
    p_adjusted: float | None
    absolute: Estimate | None = None
    scale: Scale = "relative"

    @property
    def effect(self) -> Estimate | None:
        """The lift on its scale."""
        return self.absolute if self.scale == "absolute" else self.relative


@dataclass(frozen=True)
class SegmentInteraction:
    """Whether the lift of the primary metric differs between the levels of one segment variable.

    ``p_adjusted`` is corrected over the segment variables.
    """

    segment: str
    levels: int
    statistic: float
    degrees_of_freedom: int
    p_value: float
    p_adjusted: float
    family: str


@dataclass(frozen=True)
class FactorLift:
    """One factor of a metric with many zeros: in both arms, and its relative lift."""

    control: ArmValue
    treatment: ArmValue
    relative: Estimate | None
    p_value: float


@dataclass(frozen=True)
class TwoPartLift:
    """The primary metric as share of users above zero times mean per such user.

    Attributes:
        share: Of users above zero, in %.
        intensity: Mean of those users, in the metric's unit.
        from_share: Part of the log lift that comes from ``share``; the rest is ``intensity``'s.
        confidence: Of every interval; uncorrected.
    """

    share: FactorLift
    intensity: FactorLift
    from_share: Estimate
    confidence: float


@dataclass(frozen=True)
class Factor:
    """One factor of the primary metric.

    Attributes:
        name, label, unit: Identity; ``unit`` as in `MetricComparison`.
        control, treatment: As they are, in the unit.
        relative: Relative lift of the factor with its interval, adjusted as the metric is.
        contribution: Its part of the metric's relative lift; all parts add up to it.
    """

    name: str
    label: str
    unit: str
    control: float
    treatment: float
    relative: Estimate
    contribution: Estimate


@dataclass(frozen=True)
class FactorSplit:
    """The primary metric as a product of factors.

    Attributes:
        metric: Name of the metric.
        lift: Relative lift of the product; equals the metric's.
        factors: First to last.
        confidence: Of every interval; uncorrected.
    """

    metric: str
    lift: float
    factors: tuple[Factor, ...]
    confidence: float


@dataclass(frozen=True)
class ArmDistribution:
    """Per-user distribution of the primary metric in one arm, in its unit.

    ``edges`` has one more element than ``shares``; both are empty where a value is below zero.
    ``zero_share`` is the share of users at 0.
    """

    arm: str
    zero_share: float
    edges: tuple[float, ...]
    shares: tuple[float, ...]
    quantiles: dict[str, float]
