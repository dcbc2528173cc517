"""Measure the statistics of a log that have a published counterpart in `published.toml`."""

from __future__ import annotations

import numpy as np

from simulator.logs.measures.exposure import exposure
from simulator.logs.measures.people import features, spread
from simulator.logs.measures.rates import feedback, opens, paired, tabs
from simulator.logs.measures.stays import plays, stays
from simulator.logs.measures.tables import LogTables, Measures
from simulator.logs.measures.times import times
from simulator.progress import Meter, Report

__all__ = ["LogTables", "Measures", "measure"]


_PARTS = (feedback, tabs, opens, paired, stays, plays, spread, times, exposure)


def measure(log: LogTables, report: Report | None = None) -> Measures:
    """All statistics by name; None or absent where a column is missing or there are no rows.

    Args:
        log: Its tables.
        report: Told the share of the measures that are taken.
    """
    found: Measures = {}
    meter = Meter(report, len(_PARTS) + 1)
    if log.rows("impressions"):
        for part in _PARTS:
            found.update(part(log))
            meter.add(1)
    found.update(features(log))
    meter.end()
    return {name: _finite(value) for name, value in found.items()}


def _finite(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else float(value)
