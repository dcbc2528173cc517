"""Time an A/A replicate beside a loop over the ordinary analysis of one split.

    python -m benchmarks.inference.aa
    python -m benchmarks.inference.aa --users 20000 --replicates 1000 --threads 1

20,000 users and 10 metrics by default: five means and five ratios, each adjusted for four
covariates. Both paths compute the same p values (compared, to 1e-9, on the replicates of the loop).
tea-tasting is timed on the same columns where it is installed: it has no covariate adjustment with
several covariates, so its metrics get one.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import time

_PARSER = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)
_PARSER.add_argument("--users", type=int, default=20_000)
_PARSER.add_argument("--metrics", type=int, default=10)
_PARSER.add_argument("--replicates", type=int, default=1_000)
_PARSER.add_argument("--loops", type=int, default=20, help="replicates of the slow paths")
_PARSER.add_argument("--threads", type=int, default=1)
_PARSER.add_argument("--repeat", type=int, default=3, help="best of")
OPTIONS = _PARSER.parse_args()
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS"):
    os.environ[_name] = str(OPTIONS.threads)

import numpy as np
from numpy.typing import NDArray

from reports.statistics.checks.aa import aa_p_values, assignments
from reports.statistics.estimates import estimate_arms
from reports.statistics.lift import compare
from reports.statistics.moments import Moments

Table = NDArray[np.float64]


def made_up(users: int, metrics: int) -> list[Table]:
    """Columns (numerator, denominator, four covariates) per metric."""
    rng = np.random.default_rng(1)
    habit = rng.gamma(2.0, 1.0, users)
    tables = []
    for number in range(metrics):
        views = rng.poisson(8.0 * habit) + 1.0 if number % 2 else np.ones(users)
        value = habit * views * rng.lognormal(0.0, 1.0, users)
        before = [habit * rng.lognormal(0.0, 0.5, users) for _ in range(4)]
        tables.append(np.column_stack([value, views, *before]))
    return tables


def loop(tables: list[Table], chosen: NDArray[np.bool_]) -> list[float]:
    """The ordinary analysis of one split."""
    return [
        compare(*estimate_arms([Moments.of(x[~chosen]), Moments.of(x[chosen])])).p_value
        for x in tables
    ]


def tea_tasting(tables: list[Table], splits: NDArray[np.bool_]) -> float | None:
    """Seconds per replicate of tea-tasting, None where it is not installed."""
    if importlib.util.find_spec("tea_tasting") is None:
        return None
    import polars as pl
    import tea_tasting as tt

    columns: dict[str, NDArray[np.float64]] = {}
    metrics = {}
    for number, x in enumerate(tables):
        columns |= {f"x{number}": x[:, 0], f"y{number}": x[:, 1], f"c{number}": x[:, 2]}
        if number % 2:
            metrics[f"m{number}"] = tt.RatioOfMeans(f"x{number}", f"y{number}", f"c{number}")
        else:
            metrics[f"m{number}"] = tt.Mean(f"x{number}", f"c{number}")
    experiment = tt.Experiment(metrics)
    frame = pl.DataFrame(columns)
    started = time.perf_counter()
    for chosen in splits:
        experiment.analyze(frame.with_columns(variant=pl.Series(chosen.astype(np.int8))))
    return (time.perf_counter() - started) / len(splits)


def main() -> None:
    tables = made_up(OPTIONS.users, OPTIONS.metrics)
    best = np.inf
    for _ in range(OPTIONS.repeat):
        started = time.perf_counter()
        p_values = aa_p_values(tables, replicates=OPTIONS.replicates, seed=1)
        best = min(best, (time.perf_counter() - started) / OPTIONS.replicates)
    splits = assignments(OPTIONS.users, seed=1, replicates=OPTIONS.loops)
    slow, apart = np.inf, 0.0
    for _ in range(OPTIONS.repeat):
        started = time.perf_counter()
        looped = np.array([loop(tables, chosen) for chosen in splits])
        slow = min(slow, (time.perf_counter() - started) / len(splits))
        apart = float(np.abs(p_values[: len(splits)] / looped - 1.0).max())
    if apart > 1e-9:
        raise SystemExit(f"the two paths differ by {apart:.1e}")
    print(f"{OPTIONS.users:,} users, {OPTIONS.metrics} metrics, {OPTIONS.threads} thread(s)")
    print(f"matrix algebra        {1e3 * best:8.2f} ms per replicate")
    print(f"loop over one split   {1e3 * slow:8.2f} ms per replicate ({slow / best:.1f} x)")
    peer = tea_tasting(tables, splits)
    if peer is None:
        print("tea-tasting           not installed")
    else:
        print(f"tea-tasting           {1e3 * peer:8.2f} ms per replicate ({peer / best:.1f} x)")
    print(f"largest relative difference of p values: {apart:.1e}")


if __name__ == "__main__":
    main()
