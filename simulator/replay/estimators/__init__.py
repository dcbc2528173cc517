"""Estimate what a policy would have earned on logged rows, with user-clustered intervals."""

from simulator.replay.estimators.intervals import (
    Estimate,
    empirical_bernstein,
    fieller,
)
from simulator.replay.estimators.likelihood import empirical_likelihood
from simulator.replay.estimators.linear import Linear, effective_sample_size, ratio
from simulator.replay.estimators.rows import Candidates, Rows, dense_rows
from simulator.replay.estimators.single import TUNED, UNTUNED, ips, snips

__all__ = [
    "TUNED",
    "UNTUNED",
    "Candidates",
    "Estimate",
    "Linear",
    "Rows",
    "dense_rows",
    "effective_sample_size",
    "empirical_bernstein",
    "empirical_likelihood",
    "fieller",
    "ips",
    "ratio",
    "snips",
]
