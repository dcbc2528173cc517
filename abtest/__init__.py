"""Estimate by simulation and log replay what another ranker would do to a platform's metrics.

The command line is ``abtest``; in Python there are `run`, `analyze`, `replay` and `evaluate`, see
docs/python.md.
"""

import sys

from abtest.rooms import Package
from abtest.version import __version__
from policies.names import register

__all__ = ["__version__"]

sys.modules[__name__].__class__ = Package

register(
    lsvcr="lsvcr.policy:LSVCR",
    oracle="abtest.run.arms.oracle:Oracle",
    oracle_video="abtest.run.arms.oracle:OracleVideo",
    oracle_comments="abtest.run.arms.oracle:OracleComments",
)
