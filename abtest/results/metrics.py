"""Hand the platform's metrics, from the one table of behaviours, to the analysis."""

from __future__ import annotations

import dataclasses

from reports.plan import Metric
from simulator.behaviours import METRIC_DEFINITIONS

PLATFORM_METRICS: dict[str, Metric] = {
    name: Metric(**dataclasses.asdict(definition))
    for name, definition in METRIC_DEFINITIONS.items()
}
"""All metrics of the outcome table, by name."""
