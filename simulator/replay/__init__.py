"""Counterfactual estimates from logged data: matching, IPS and self-normalised IPS."""

from simulator.replay.engine import METRICS, replay
from simulator.replay.estimators import Estimate
from simulator.replay.result import Comparison, MetricResult, Overlap, ReplayResult
from simulator.replay.targets import Scorer, ScorerError

__all__ = [
    "METRICS",
    "Comparison",
    "Estimate",
    "MetricResult",
    "Overlap",
    "ReplayResult",
    "Scorer",
    "ScorerError",
    "replay",
]
