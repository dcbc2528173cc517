"""Hand the platform's metrics, from the one table of behaviours, to the analysis."""

from __future__ import annotations

import dataclasses

from abtest.plugins import metrics
from reports.plan import Metric
from simulator.behaviours import METRIC_DEFINITIONS

BUILT_IN_METRICS: dict[str, Metric] = {
    name: Metric(**dataclasses.asdict(definition))
    for name, definition in METRIC_DEFINITIONS.items()
}
"""All metrics of the outcome table, by name."""


def platform_metrics() -> dict[str, Metric]:
    """Built-in metrics and those of installed packages; the latter take part where named."""
    return {**BUILT_IN_METRICS, **metrics(BUILT_IN_METRICS)[0]}
