"""Compute the timed statistics with `reports.statistics` and `abtest analyze`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.lib.statistics_users import COLUMNS, CONTROL, Run, clustered

ANALYZED = """
[metrics.mean]
numerator = "revenue"
[metrics.ratio]
numerator = "clicks"
denominator = "views"
[metrics.capped]
numerator = "revenue"
cap = 0.99
"""


def three(path: Path) -> Run:
    """Mean, ratio and CUPED mean from one scan of the file."""
    from reports.statistics.distributions.streams import grouped_moments
    from reports.statistics.estimates import estimate_arms
    from reports.statistics.lift import compare

    # Rows: numerator, denominator (a constant 1 for means has no variance), covariate.
    def run() -> dict[str, float]:
        table = pl.scan_parquet(path)
        scanned = grouped_moments(table, COLUMNS)
        arms = [scanned[(arm,)] for arm in (CONTROL, "treatment")]
        found = {}
        for name, picked in (("mean", [0]), ("ratio", [1, 2]), ("cuped", [0, 3])):
            parts = [m.select(picked) if name == "ratio" else _as_mean(m, picked) for m in arms]
            found[name] = compare(*estimate_arms(parts)).p_value
        return found

    return run


def _as_mean(moments: Any, picked: list[int]) -> Any:
    """The columns (x, 1, covariates) of a mean."""
    x, *others = picked
    weights = np.zeros((2 + len(others), len(COLUMNS)))
    weights[0, x] = 1.0
    for row, column in enumerate(others, 2):
        weights[row, column] = 1.0
    combined = moments.combine(weights)
    combined.mean[1] = 1.0
    return combined


def quantile(path: Path) -> Run:
    """p90 of one arm's clustered values in closed form; the values are loaded."""
    from reports.statistics.distributions.quantiles import quantile_estimate

    values, users = clustered(path)

    def run() -> dict[str, float]:
        found = quantile_estimate(values, 0.9, users=users)
        return {"p90": found.interval.value, "error": float(found.standard_error or 0.0)}

    return run


def bootstrap(path: Path) -> Run:
    """Poisson bootstrap of a difference of means; the values are loaded."""
    from reports.statistics.distributions.bootstrap import bootstrap, mean_difference
    from reports.statistics.distributions.poisson_weights import resample

    table = pl.read_parquet(path, columns=["arm", "revenue"])
    arms = [
        table.filter(pl.col("arm") == arm)["revenue"].to_numpy() for arm in (CONTROL, "treatment")
    ]

    def run() -> dict[str, float]:
        drawn = [resample([arm], seed=1, stream=i) for i, arm in enumerate(arms)]
        found = bootstrap(mean_difference, drawn)
        return {"p": found.p_value, "error": found.standard_error}

    return run


def analyze(path: Path) -> Run:
    """`abtest analyze` of three metrics, one of them capped, with everything it reports."""
    from abtest.analyze import analyze_observed
    from abtest.console import Console
    from abtest.experiment_tables.request import ObservedOptions

    metrics = path.with_suffix(".toml")
    metrics.write_text(ANALYZED, encoding="utf-8")

    def run() -> dict[str, float]:
        with tempfile.TemporaryDirectory() as folder:
            result, _ = analyze_observed(
                ObservedOptions((path,), "user_id", "arm", metrics_file=metrics),
                out=Path(folder) / "run",
                command="",
                console=Console(quiet=True),
            )
        rows = result.comparisons[0].metrics
        return {row.metric: float(row.p_value or 0.0) for row in rows}

    return run


def streamed_quantile(path: Path) -> Run:
    """p90 of every user's value per arm, in closed form, from the file."""
    from reports.statistics.distributions.quantile_streams import grouped_quantiles

    def run() -> dict[str, float]:
        found = grouped_quantiles(pl.scan_parquet(path), "revenue", 0.9)
        return {arm: one.interval.value for (arm,), one in found.items()}

    return run
