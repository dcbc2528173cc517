"""What replay found: plain, JSON-serialisable dataclasses."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from simulator.replay.estimators import Estimate


@dataclass(frozen=True)
class Overlap:
    """How much of the log speaks about one policy.

    Attributes:
        policy: Its name.
        rows, users: Used impressions and their users.
        matched_rows, matched_users: Those whose shown video the policy could have chosen.
        effective_sample_size: Kish's, of the importance weights.
        mean_weight: Should be 1; 1 less the policy's mass on what the log cannot show.
        mean_weight_error: Its standard error, clustered by user.
        max_weight: Largest importance weight.
        top_user_share: Largest share of all weight held by one user.
        unsupported_share: Share of the policy's choices that the log never shows; None if unknown.
        verdict: ``"ok"``, ``"caution"`` or ``"too little overlap"``.
        reasons: Why the verdict is not ``"ok"``.
    """

    policy: str
    rows: int
    users: int
    matched_rows: int
    matched_users: int
    effective_sample_size: float
    mean_weight: float
    mean_weight_error: float | None
    max_weight: float
    top_user_share: float | None
    unsupported_share: float | None
    verdict: str
    reasons: list[str]


@dataclass(frozen=True)
class Comparison:
    """One metric by one estimator; None where the log cannot say.

    Attributes:
        treatment, control: Values of the two policies.
        difference: Treatment less control, paired by user.
        relative: Treatment over control, less one; None too where control is not clearly above 0.
    """

    treatment: Estimate | None
    control: Estimate | None
    difference: Estimate | None
    relative: Estimate | None


@dataclass(frozen=True)
class MetricResult:
    """One per-impression metric.

    Attributes:
        name: Such as ``"click_rate"``.
        label, unit: For people; units are ``"share"`` and ``"ms"``, per impression.
        rows: Used rows with a known value.
        logged_mean: Mean over those rows: the value of what was really shown.
        estimates: By estimator: ``"matching"`` (uniform logs only), ``"ips"``, ``"snips"``.
    """

    name: str
    label: str
    unit: str
    rows: int
    logged_mean: float
    estimates: dict[str, Comparison]


@dataclass(frozen=True)
class ReplayResult:
    """The answer of `simulator.replay.replay`.

    Attributes:
        treatment, control: Names.
        rows: How many impressions were read, used, and not used for which reason.
        eligible: ``"candidates"``, ``"random pool"`` or ``"all videos"``.
        eligible_size: (smallest, largest) number of eligible videos per row.
        chosen: (smallest, largest) m: a policy shows one of its m best, uniformly.
        uniform: Whether every eligible video was equally likely.
        overlap: Per policy name.
        metrics: In order.
        verdict: The worse of the two overlap verdicts; at best ``"caution"`` if the log itself
            gives cause for doubt.
        warnings: Sentences for people.
        definition: What exactly was estimated.
    """

    treatment: str
    control: str
    rows: dict[str, int]
    eligible: str
    eligible_size: tuple[int, int]
    chosen: tuple[int, int]
    uniform: bool
    overlap: dict[str, Overlap]
    metrics: list[MetricResult]
    verdict: str
    warnings: list[str]
    definition: str

    def to_dict(self) -> dict[str, Any]:
        """A JSON-serialisable dictionary without NaN."""
        return asdict(self)
