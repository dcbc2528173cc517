"""List what a world is fitted to: published marginals, contrasts of exposure, elasticities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator.calibration.contrasts import published_contrasts
from simulator.calibration.experiments import published_elasticities
from simulator.logs.published import kuaishou

_UNKNOWN = 10.0


@dataclass(frozen=True)
class FitTarget:
    """One figure to meet.

    Attributes:
        name: The key under which `simulator.calibration.sample.Sample.evidence` finds it.
        value: What was published.
        tolerance: What still counts as close: of the log ratio, or of the difference.
        difference: Whether distances are differences instead of log ratios.
    """

    name: str
    value: float
    tolerance: float
    difference: bool = False

    def distance(self, found: float | None) -> float:
        """Distance over tolerance; what cannot be measured counts as ten tolerances."""
        if found is None or not np.isfinite(found):
            return _UNKNOWN
        if self.difference:
            return float(found - self.value) / self.tolerance
        ratio = found / self.value
        return float(np.log(ratio)) / self.tolerance if ratio > 1e-6 else _UNKNOWN


def targets() -> tuple[FitTarget, ...]:
    """The figures that are fitted."""
    marginals = [FitTarget(p.name, p.value, p.tolerance) for p in kuaishou() if p.role == "fitted"]
    contrasts = [
        FitTarget(f"contrast.{c.name}", c.middle, c.tolerance / 2.0)
        for c in published_contrasts()
        if c.role == "fitted"
    ]
    ladder = [
        FitTarget(f"ladder.{e.line.name}", e.median, e.spread, difference=True)
        for e in published_elasticities()
        if e.line.role == "fitted"
    ]
    return (*marginals, *contrasts, *ladder)
