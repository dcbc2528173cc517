"""Write by how much an online test is biased because its arms share a platform."""

from __future__ import annotations

from dataclasses import dataclass

from reports import formats
from reports.results import ArmComparison, Estimate, ExperimentResult, Interference, MetricBias


@dataclass(frozen=True)
class BiasRow:
    """One metric of a test whose truth is known, as text.

    Attributes:
        label: The metric.
        test: Lift that this test found.
        expected: Lift that such tests find on average over splits, with its interval.
        truth: Lift of serving everybody with the treatment, with its interval.
        bias: ``expected`` less ``truth``, in points, with its interval.
        control, treatment: What sharing the platform does to each arm.
    """

    label: str
    test: str
    expected: str
    truth: str
    bias: str
    control: str
    treatment: str


BIAS_HEADER = (
    "Metric",
    "This test",
    "Tests on average",
    "Everybody",
    "Bias",
    "Control moves",
    "Treatment moves",
)
"""Titles of the columns of `BiasRow`."""


def bias(result: ExperimentResult, comparison: ArmComparison) -> str:
    """What the verdict says of the bias of the primary metric; empty where no truth is known."""
    record = result.interference
    if record is None or comparison.verdict.cause in ("check failed", "same policy", "no data"):
        return ""
    found = next((b for b in _own(record, comparison) if b.role == "primary"), None)
    if found is None:
        return ""
    lead = (
        f"An online A/B test of this change reports {formats.lift(found.expected)} on average; "
        f"replacing the ranker for everyone gives {_with_interval(found.truth)}"
    )
    if found.bias.low is None or found.bias.high is None:
        return f"{lead}."
    if found.bias.low <= 0.0 <= found.bias.high:
        return f"{lead}. No bias of the test is seen: {_points(found.bias)}."
    return (
        f"{lead}. The test is biased by {_points(found.bias)}, because both arms share "
        f"{_shared(record)}: that moves the control by {formats.lift(found.control_moves)} and the "
        f"treatment by {formats.lift(found.treatment_moves)}."
    )


def bias_rows(record: Interference, comparison: ArmComparison) -> list[BiasRow]:
    """A row per metric of one treatment: the primary one, then the guardrails."""
    return [
        BiasRow(
            found.label,
            formats.lift(found.test),
            _with_interval(found.expected),
            _with_interval(found.truth),
            _points(found.bias),
            formats.lift(found.control_moves),
            formats.lift(found.treatment_moves),
        )
        for found in _own(record, comparison)
    ]


def how_biased(record: Interference) -> str:
    """How the truth was found, and what the columns say."""
    strengths = ", ".join(
        f"{name} {formats.trimmed(value)}" for name, value in sorted(record.strengths.items())
    )
    groups = f"{record.groups} groups" if record.groups > 1 else "one group"
    return (
        f"Interference: {strengths}. {formats.count(record.users)} people in {groups}; the people "
        "of a group share a platform, and each stands for "
        f"{formats.trimmed(round(record.audience, 1))}. Online, both arms are on it. For the truth "
        "the same people live once with everybody under the control and once with everybody under "
        "the treatment. Tests on average: without the luck of one split, which is in the lift of "
        "this test. Bias: their lift less that of everybody, in points. Moves: what sharing the "
        "platform does to an arm. "
        f"{formats.confidence(record.confidence)} intervals, uncorrected, of people on these "
        "platforms."
    )


def _own(record: Interference, comparison: ArmComparison) -> list[MetricBias]:
    return [found for found in record.biases if found.treatment == comparison.treatment]


def _with_interval(estimate: Estimate) -> str:
    return f"{formats.lift(estimate)} ({formats.interval(estimate)})"


def _points(estimate: Estimate) -> str:
    bounds = [None if b is None else 100.0 * b for b in (estimate.low, estimate.high)]
    points = Estimate(100.0 * estimate.value, *bounds)
    return f"{formats.difference(points, '%')} ({formats.absolute_interval(points, '%')})"


def _shared(record: Interference) -> str:
    """What the arms share, of what has a strength."""
    likes = "the likes of comments" if record.strengths.get("comment_likes") else ""
    supply = "what creators publish" if record.strengths.get("supply") else ""
    return " and ".join(word for word in (likes, supply) if word) or "a platform"
