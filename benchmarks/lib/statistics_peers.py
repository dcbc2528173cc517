"""Compute the timed statistics with other libraries; each is imported where it is used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.lib.statistics_users import COLUMNS, CONTROL, Run, clustered


def tea_duckdb(path: Path) -> Run:
    """tea-tasting reading the file through DuckDB."""
    import ibis

    connection = ibis.duckdb.connect()
    return _tea(lambda: connection.read_parquet(path))


def tea_duckdb_loaded(path: Path) -> Run:
    """tea-tasting on a DuckDB table that is loaded already."""
    import ibis

    connection = ibis.duckdb.connect()
    table = connection.create_table("users", connection.read_parquet(path))
    return _tea(lambda: table)


def tea_polars(path: Path) -> Run:
    """tea-tasting on Polars, with loading."""
    return _tea(lambda: pl.read_parquet(path, columns=["arm", *COLUMNS]))


def _tea(load: Callable[[], Any]) -> Run:
    import tea_tasting as tt

    experiment = tt.Experiment(
        mean=tt.Mean("revenue"),
        ratio=tt.RatioOfMeans("clicks", "views"),
        cuped=tt.Mean("revenue", "pre_revenue"),
        variant="arm",
    )

    def run() -> dict[str, float]:
        result = experiment.analyze(load(), control=CONTROL)
        return {name: float(result[name].pvalue) for name in ("mean", "ratio", "cuped")}

    return run


def gbstats_three(path: Path) -> Run:
    """The library gbstats on sums that numpy makes, with loading."""
    from gbstats.frequentist.tests import FrequentistConfig, TwoSidedTTest
    from gbstats.models import statistics as gb

    def mean(x: Any) -> Any:
        return gb.SampleMeanStatistic(n=len(x), sum=x.sum(), sum_squares=(x * x).sum())

    def run() -> dict[str, float]:
        table = pl.read_parquet(path, columns=["arm", *COLUMNS])
        made: dict[str, list[Any]] = {"mean": [], "ratio": [], "cuped": []}
        for arm in (CONTROL, "treatment"):
            own = table.filter(pl.col("arm") == arm).select(COLUMNS)
            x, a, b, c = (own[name].cast(pl.Float64).to_numpy() for name in COLUMNS)
            made["mean"].append(mean(x))
            made["ratio"].append(
                gb.RatioStatistic(
                    n=len(a),
                    m_statistic=mean(a),
                    d_statistic=mean(b),
                    m_d_sum_of_products=(a * b).sum(),
                )
            )
            made["cuped"].append(
                gb.RegressionAdjustedStatistic(
                    n=len(x),
                    post_statistic=mean(x),
                    pre_statistic=mean(c),
                    post_pre_sum_of_products=(x * c).sum(),
                    theta=0.0,
                )
            )
        theta = gb.compute_theta(*made["cuped"])
        made["cuped"] = [replace(arm, theta=theta) for arm in made["cuped"]]
        config = FrequentistConfig(difference_type="absolute")
        return {
            name: float(TwoSidedTTest(*arms, config).compute_result().p_value)
            for name, arms in made.items()
        }

    return run


def spotify_mean(path: Path) -> Run:
    """spotify-confidence, mean and CUPED, on sums that Polars makes, with loading."""
    import spotify_confidence as sc

    def run() -> dict[str, float]:
        x, c = pl.col("revenue"), pl.col("pre_revenue")
        sums = pl.scan_parquet(path).group_by("arm").agg(
            x.sum().alias("x"), (x * x).sum().alias("xx"), c.sum().alias("c"),
            (c * c).sum().alias("cc"), (x * c).sum().alias("xc"), pl.len().alias("n"),
        )  # fmt: skip
        frame = sums.sort("arm").collect().to_pandas()
        shared = {
            "numerator_column": "x",
            "numerator_sum_squares_column": "xx",
            "denominator_column": "n",
            "categorical_group_columns": "arm",
        }
        feature = {"feature_column": "c", "feature_sum_squares_column": "cc"}
        tests = {
            "mean": sc.ZTest(frame, **shared),
            "cuped": sc.ZTestLinreg(frame, **shared, **feature, feature_cross_sum_column="xc"),
        }
        found = {}
        for name, test in tests.items():
            table = test.difference(level_1=CONTROL, level_2="treatment", absolute=True)
            found[name] = float(table["p-value"].iloc[0])
        return found

    return run


def gbstats_quantile(path: Path) -> Run:
    """The order statistics that gbstats' quantile test is given, and their clustered sums."""
    values, users = clustered(path)

    def run() -> dict[str, float]:
        n = len(values)
        # GrowthBook takes ranks from the unclustered error, then corrects by these sums.
        reach = 1.96 * np.sqrt(0.9 * 0.1 / n)
        low, middle, high = np.quantile(values, [0.9 - reach, 0.9, 0.9 + reach])
        sizes = np.bincount(users)
        below = np.bincount(users, weights=values <= middle)
        residual = below - below.sum() / n * sizes
        error = np.sqrt(residual.var(ddof=1) / len(sizes)) / sizes.mean()
        independent = np.sqrt(0.9 * 0.1 / n)
        return {"p90": float(middle), "error": float((high - low) / 3.92 * error / independent)}

    return run
