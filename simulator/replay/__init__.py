"""Estimate counterfactual values from logged data, with diagnostics that decide what is usable."""

from simulator.replay.engine import replay
from simulator.replay.estimators import Estimate
from simulator.replay.given import replay_given
from simulator.replay.identification import Identified, identification
from simulator.replay.metrics import METRICS
from simulator.replay.result import Comparison, MetricResult, Overlap, ReplayResult
from simulator.replay.target.target_policy import TargetPolicy
from simulator.replay.target.targets import CommentScorer, Scorer, ScorerError

__all__ = [
    "METRICS",
    "CommentScorer",
    "Comparison",
    "Estimate",
    "Identified",
    "MetricResult",
    "Overlap",
    "ReplayResult",
    "Scorer",
    "ScorerError",
    "TargetPolicy",
    "identification",
    "replay",
    "replay_given",
]
