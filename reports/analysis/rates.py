"""Compare a 0/1 metric of two arms by the score method, in the metric's unit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from reports.statistics.lift import Comparison, Interval
from reports.statistics.margins import HarmTest, Scale
from reports.statistics.rates import Rate, compare_rates, rate_harm

FEW_EVENTS = 30
"""Users with (or without) the event in an arm below which the score method compares 0/1 metrics."""


@dataclass(frozen=True)
class Rates:
    """A metric that is 0 or ``unit`` per user, for the score method.

    Attributes:
        control, treatment: Users, and how many have the event.
        unit: The metric's value of a user with the event.
        small_sample: Miettinen and Nurminen's factor.
    """

    control: Rate
    treatment: Rate
    unit: float
    small_sample: bool

    @property
    def rare(self) -> bool:
        """Whether an arm has few users with the event, or few without."""
        arms = (self.control, self.treatment)
        return min(min(arm.events, arm.users - arm.events) for arm in arms) < FEW_EVENTS

    def compare(self, confidence: float) -> Comparison:
        """Score intervals, in the metric's unit."""
        found = compare_rates(
            self.control, self.treatment, confidence=confidence, small_sample=self.small_sample
        )
        bounds = (None if bound is None else self.unit * bound for bound in found.absolute)
        value, low, high = bounds
        assert value is not None
        error = self.unit * found.standard_error
        return found._replace(absolute=Interval(value, low, high), standard_error=error)

    def harm(self, margin: float, direction: Literal["up", "down"], scale: Scale) -> HarmTest:
        """Score tests of a margin."""
        limit = margin / self.unit if scale == "absolute" else margin
        return rate_harm(
            self.control,
            self.treatment,
            margin=limit,
            direction=direction,
            scale=scale,
            small_sample=self.small_sample,
        )
