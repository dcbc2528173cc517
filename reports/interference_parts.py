"""Hold by how much an online test is biased because its arms share a platform.

`reports.results` is where everybody else imports these from.
"""

from __future__ import annotations

from dataclasses import dataclass

from reports.result_parts import Estimate, Role


@dataclass(frozen=True)
class MetricBias:
    """One metric of one treatment, where the truth is known. All numbers are fractions.

    Attributes:
        treatment: Name of the arm.
        metric, label, role: Of the metric.
        test: Lift that the online test found, with the luck of its split.
        expected: Lift that online tests of these people find on average over splits.
        truth: Lift of serving everybody with the treatment over serving everybody with the control.
        bias: ``expected`` less ``truth``.
        control_moves, treatment_moves: Relative change of the metric in an arm because the other
            arm shares its platform.
    """

    treatment: str
    metric: str
    label: str
    role: Role
    test: Estimate | None
    expected: Estimate
    truth: Estimate
    bias: Estimate
    control_moves: Estimate
    treatment_moves: Estimate


@dataclass(frozen=True)
class Interference:
    """An online test held against its own truth.

    Attributes:
        strengths: Of interference, by name (docs/world.md).
        audience: People for whom one simulated person of a whole group stands.
        users: People who lived online and through every arm.
        groups: Platforms that they shared; people of different groups do not meet.
        confidence: Of every interval.
        biases: The primary metric and the guardrails of each treatment, as far as they have lifts.
    """

    strengths: dict[str, float]
    audience: float
    users: int
    groups: int
    confidence: float
    biases: tuple[MetricBias, ...]
