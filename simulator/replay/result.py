"""Hold what replay found: plain, JSON-serialisable records."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from simulator.replay.estimators import Estimate, Linear
from simulator.replay.identification import Identified
from simulator.replay.interval_method import STUDENT, Intervals

USABLE, CAUTION, UNUSABLE = "usable", "caution", "unusable"


@dataclass(frozen=True)
class Overlap:
    """How much of the log speaks about one policy.

    Attributes:
        policy: Its name.
        rows, users: Used impressions and their users.
        matched_rows, matched_users: Those whose shown video the policy could have chosen.
        expected_effective: Rows' worth of information that the log's *design* promises: rows over
            the expected squared weight; None where the log does not tell all probabilities.
        effective_sample_size: Kish's, of the weights that happened to be drawn.
        mean_weight: Should be 1; 1 less the policy's mass on what the log cannot show.
        mean_weight_error: Its standard error, clustered by user.
        max_weight: Largest importance weight.
        top_user_share: Largest share of all weight held by one user.
        unsupported_share: Share of the policy's choices that the log cannot show; None if unknown.
        comment_effective: The same as ``expected_effective`` for whole comment orders; None where
            that stage stays as logged.
        verdict: ``"usable"``, ``"caution"`` or ``"unusable"``.
        reasons: Why the verdict is not ``"usable"``.
        rows_by_weight: Share of the rows in each bin of `diagnostics.WEIGHT_EDGES`.
        weight_by_weight: Share of all weight in each bin.
    """

    policy: str
    rows: int
    users: int
    matched_rows: int
    matched_users: int
    expected_effective: float | None
    effective_sample_size: float
    mean_weight: float
    mean_weight_error: float | None
    max_weight: float
    top_user_share: float | None
    unsupported_share: float | None
    comment_effective: float | None
    verdict: str
    reasons: list[str]
    rows_by_weight: list[float] = field(default_factory=list)
    weight_by_weight: list[float] = field(default_factory=list)

    @property
    def effective(self) -> float:
        """By design where that is known, else as drawn."""
        known = self.expected_effective
        return self.effective_sample_size if known is None else known


@dataclass(frozen=True)
class Comparison:
    """One metric by one estimator; None where the log says nothing at all.

    Attributes:
        treatment, control: Values of the two policies.
        difference: Treatment less control, paired by user.
        relative: Treatment over control, less one (Fieller).
        p_value: Two-sided, of no difference.
        detectable: Smallest relative effect found with 80 % power at this precision.
        effective: Rows' worth of information behind this estimator, of the worse policy.
        verdict: ``"usable"``, ``"caution"`` or ``"unusable"``.
        reasons: Why it is not usable.
        parameter: Of a tuned estimator.
        linear: Treatment's and control's influences, for callers that adjust intervals.
        interval: How the intervals are computed.
    """

    treatment: Estimate | None
    control: Estimate | None
    difference: Estimate | None
    relative: Estimate | None
    p_value: float | None = None
    detectable: float | None = None
    effective: float | None = None
    verdict: str = UNUSABLE
    reasons: list[str] = field(default_factory=list)
    parameter: float | None = None
    linear: tuple[Linear, Linear] | None = field(default=None, repr=False, compare=False)
    interval: Intervals = STUDENT


@dataclass(frozen=True)
class OtherInterval:
    """An interval of an estimate by another method than the one that is read.

    Attributes:
        estimator: Its name.
        of: ``"treatment"``, ``"control"`` or ``"difference"``.
        method: ``"bootstrap"`` or ``"bernstein"``.
        found: None where the method does not apply or gives nothing.
        why: Then the reason.
    """

    estimator: str
    of: str
    method: str
    found: Estimate | None
    why: str = ""


@dataclass(frozen=True)
class MetricResult:
    """One per-impression metric of one treatment.

    Attributes:
        name: Such as ``"click_rate"``.
        treatment: The policy compared with the control.
        label, unit: For people; units are per impression.
        role: ``"primary"``, ``"secondary"`` or ``"guardrail"``.
        direction: ``"up"`` if more is better, else ``"down"``.
        rows: Used rows with a known value.
        logged_mean: Mean over those rows: the value of what was really shown.
        recommended: The estimator to read first, chosen by rule and not by result.
        estimates: By estimator.
        assumes: By estimator, in a few words; empty unless more than the usual ones are asked for.
        left_out: By estimator that was asked for and does not apply: why.
        intervals: Other intervals of the primary metric's values, likewise.
    """

    name: str
    treatment: str
    label: str
    unit: str
    role: str
    direction: str
    rows: int
    logged_mean: float
    recommended: str
    estimates: dict[str, Comparison]
    assumes: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    intervals: list[OtherInterval] = field(default_factory=list)

    @property
    def best(self) -> Comparison:
        """By the recommended estimator."""
        return self.estimates[self.recommended]


@dataclass(frozen=True)
class SegmentResult:
    """The primary metric of one treatment among some of the people.

    Attributes:
        treatment: Its name.
        segment, level: Such as ``"activity"`` and ``"high"``.
        users: People with replayed impressions.
        found: By the estimator that is read first, judged by the segment's own rows.
    """

    treatment: str
    segment: str
    level: str
    users: int
    found: Comparison


@dataclass(frozen=True)
class QuantileResult:
    """A quantile of a time under one treatment and the control; None where it is unusable.

    Attributes:
        metric, label: Of a metric in ms.
        treatment: The policy compared with the control.
        share: In (0, 1).
        treated, control: Values in ms.
        difference: Treatment less control, paired by user.
        rows_beyond: Effective rows on the smaller side of the quantile, of the worse policy.
        verdict, reasons: As of `Comparison`.
    """

    metric: str
    label: str
    treatment: str
    share: float
    treated: Estimate | None
    control: Estimate | None
    difference: Estimate | None
    rows_beyond: float
    verdict: str
    reasons: list[str]


@dataclass(frozen=True)
class OverlapPoint:
    """How much a part of the log speaks about one policy; see `Overlap`.

    Attributes:
        users, rows, matched_rows: Of the part.
        expected_effective: By design; None if unknown.
        effective_sample_size: As drawn.
        comment_effective: By design, of whole comment orders; None where they stay as logged.
        unsupported_share: Share of the policy's choices that the part cannot show.
        tail_share: Share of all weight on the heaviest hundredth of the rows.
    """

    users: int
    rows: int
    matched_rows: int
    expected_effective: float | None
    effective_sample_size: float
    comment_effective: float | None
    unsupported_share: float | None
    tail_share: float | None


@dataclass(frozen=True)
class PrecisionPoint:
    """How precisely a part of the log tells the primary metric of one treatment.

    Attributes:
        users, rows: Of the part, rows with a known outcome.
        lift: Relative to the control, by the estimator that is read first.
        half_width: Half the length of its 95 % interval; None where a bound is missing.
        detectable: Smallest relative effect found with 80 % power.
    """

    users: int
    rows: int
    lift: float | None
    half_width: float | None
    detectable: float | None


@dataclass(frozen=True)
class Growth:
    """What nested parts of the log tell, from few users to all (`simulator.replay.growth`).

    Attributes:
        metric: The primary one.
        overlap: Per policy, a point per part.
        precision: Per treatment, likewise; none for a policy against itself.
    """

    metric: str
    overlap: dict[str, list[OverlapPoint]]
    precision: dict[str, list[PrecisionPoint]]


@dataclass(frozen=True)
class ReplayResult:
    """The answer of `simulator.replay.replay`.

    Attributes:
        treatments, control: Names.
        identification: What the log identifies.
        stages: What the policies change here; the other stage is as logged.
        rows: How many impressions were read, used, and not used for which reason.
        eligible: ``"decisions"``, ``"candidates"``, ``"random pool"`` or ``"all videos"``.
        eligible_size: (smallest, largest) number of eligible videos per row.
        uniform: Whether every eligible video was equally likely.
        overlap: Per policy name.
        metrics: In order, per treatment.
        verdict: Of the primary metric, the worst treatment's.
        warnings: Sentences for people.
        definition: What exactly was estimated.
        comment_overlap: Per policy, of the places of comment sections; empty where that stage
            stays as logged.
        segments: The primary metric by segment, where the caller named segments.
        growth: How overlap and precision grow with the log.
        quantiles: Of times, where the caller asked for quantiles.
    """

    treatments: tuple[str, ...]
    control: str
    identification: list[Identified]
    stages: tuple[str, ...]
    rows: dict[str, int]
    eligible: str
    eligible_size: tuple[int, int]
    uniform: bool
    overlap: dict[str, Overlap]
    metrics: list[MetricResult]
    verdict: str
    warnings: list[str]
    definition: str
    comment_overlap: dict[str, Overlap] = field(default_factory=dict)
    segments: list[SegmentResult] = field(default_factory=list)
    growth: Growth | None = None
    quantiles: list[QuantileResult] = field(default_factory=list)

    def of(self, treatment: str) -> list[MetricResult]:
        """The metrics of one treatment."""
        return [m for m in self.metrics if m.treatment == treatment]

    def to_dict(self) -> dict[str, Any]:
        """A JSON-serialisable dictionary without NaN and without influences."""
        document = asdict(self, dict_factory=_without_linear)
        plain: dict[str, Any] = _finite(document)
        return plain


def _without_linear(items: list[tuple[str, Any]]) -> dict[str, Any]:
    return {key: value for key, value in items if key != "linear"}


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if abs(value) < float("inf") else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
