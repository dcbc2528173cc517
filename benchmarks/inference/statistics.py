"""Speed and memory of the statistics module beside its peers, on the same files, in one run.

    pip install tea-tasting "ibis-framework[duckdb]" gbstats spotify-confidence "pandas<3"
    python -m benchmarks.inference.statistics
    python -m benchmarks.inference.statistics --case quantile --case bootstrap --repeats 5
    python -m benchmarks.inference.statistics --case analyze --users 1000000 --users 4000000

Every library and case runs in a process of its own, one after the other. Times are medians of
repeated runs after a first one that is not counted, with processor seconds (the least of the
runs) beside them, which a busy machine changes less; memory is the process's peak, its imports
included. Files are Parquet as most tools write it (snappy), drawn from a fixed seed. Peers are
optional: what is not installed is skipped and named.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

CONTROL = "control"
COLUMNS = ("revenue", "clicks", "views", "pre_revenue")
Run = Callable[[], dict[str, float]]


def write_users(path: Path, per_arm: int, seed: int = 1) -> None:
    """Users of two arms: a heavy-tailed mean, a ratio of counts, a covariate; no effect."""
    rng = np.random.default_rng(seed)
    users = 2 * per_arm
    revenue = rng.gamma(2.0, 3.0, users)
    views = rng.poisson(20, users) + 1
    pl.DataFrame(
        {
            "user_id": np.arange(users),
            "arm": np.where(rng.random(users) < 0.5, CONTROL, "treatment"),
            "revenue": revenue,
            "clicks": rng.binomial(views, 0.2),
            "views": views,
            "pre_revenue": 0.5 * revenue + rng.gamma(2.0, 3.0, users),
        }
    ).write_parquet(path, compression="snappy")


def ours_three(path: Path) -> Run:
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


def ours_quantile(path: Path) -> Run:
    """p90 of one arm's clustered values in closed form; the values are loaded."""
    from reports.statistics.distributions.quantiles import quantile_estimate

    values, users = _clustered(path)

    def run() -> dict[str, float]:
        found = quantile_estimate(values, 0.9, users=users)
        return {"p90": found.interval.value, "error": float(found.standard_error or 0.0)}

    return run


def gbstats_quantile(path: Path) -> Run:
    """The order statistics that gbstats' quantile test is given, and their clustered sums."""
    values, users = _clustered(path)

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


def _clustered(path: Path) -> tuple[Any, Any]:
    """A million values of 250,000 users, sorted by user, as from a table of events."""
    values = pl.read_parquet(path, columns=["revenue"])["revenue"].to_numpy()[:1_000_000]
    users = np.sort(np.random.default_rng(2).integers(0, len(values) // 4, len(values)))
    scale = np.random.default_rng(3).gamma(4.0, 0.25, len(values) // 4)
    return values * scale[users], users


def ours_bootstrap(path: Path) -> Run:
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


def ours_analyze(path: Path) -> Run:
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


def ours_streamed_quantile(path: Path) -> Run:
    """p90 of every user's value per arm, in closed form, from the file."""
    from reports.statistics.distributions.quantile_streams import grouped_quantiles

    def run() -> dict[str, float]:
        found = grouped_quantiles(pl.scan_parquet(path), "revenue", 0.9)
        return {arm: one.interval.value for (arm,), one in found.items()}

    return run


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

CASES: dict[str, dict[str, tuple[str, Callable[[Path], Run]]]] = {
    "three": {
        "ours": ("", ours_three),
        "tea-tasting, DuckDB": ("tea_tasting", tea_duckdb),
        "tea-tasting, DuckDB, loaded before": ("tea_tasting", tea_duckdb_loaded),
        "tea-tasting, Polars": ("tea_tasting", tea_polars),
        "gbstats, numpy sums": ("gbstats", gbstats_three),
        "spotify-confidence (no ratio)": ("spotify_confidence", spotify_mean),
    },
    "quantile": {
        "ours": ("", ours_quantile),
        "gbstats' order statistics in numpy": ("", gbstats_quantile),
    },
    "bootstrap": {"ours": ("", ours_bootstrap)},
    "analyze": {"abtest analyze": ("", ours_analyze)},
    "streamed-quantile": {"ours": ("", ours_streamed_quantile)},
}
ANY_SIZE = ("three", "analyze", "streamed-quantile")
"""Cases whose memory does not grow with the users."""

TITLES = {
    "three": "mean + ratio + CUPED mean together, from Parquet, {:,} users per arm",
    "quantile": "p90 of 1,000,000 clustered values, closed form",
    "bootstrap": "bootstrap of a mean, 1,000 resamples, {:,} users per arm",
    "analyze": "abtest analyze: mean with a covariate, ratio, capped mean, {:,} users per arm",
    "streamed-quantile": "p90 of one value per user, from Parquet, {:,} users per arm",
}
PACKAGES = {
    "tea_tasting": 'tea-tasting "ibis-framework[duckdb]"',
    "gbstats": "gbstats",
    "spotify_confidence": "spotify-confidence",
}


def measure(run: Run, repeats: int) -> dict[str, Any]:
    """Seconds, processor seconds, peak MiB and the answers."""
    answers = run()
    wall, work = [], []
    for _ in range(repeats):
        started, used = time.perf_counter(), time.process_time()
        run()
        wall.append(time.perf_counter() - started)
        work.append(time.process_time() - used)
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    peak = int(status.split("VmHWM:")[1].split()[0]) / 1024
    return {
        "median": statistics.median(wall),
        "least": min(wall),
        "work": min(work),
        "peak": peak,
        "answers": answers,
    }


def child(case: str, name: str, path: Path, repeats: int) -> None:
    """Measure one library in this process and print what was found."""
    made = CASES[case][name][1](path)
    with contextlib.redirect_stdout(sys.stderr):
        found = measure(made, repeats)
    print(json.dumps(found))


def compare_libraries(case: str, path: Path, per_arm: int, repeats: int) -> None:
    """One table: a line per library."""
    print(f"\n{TITLES[case].format(per_arm)}")
    print(f"{'':<36}{'median s':>9}{'least s':>9}{'CPU s':>8}{'peak MB':>9}  answers")
    for name, (package, _) in CASES[case].items():
        if package and importlib.util.find_spec(package) is None:
            print(f"{name:<36}not installed: pip install {PACKAGES[package]}")
            continue
        command = [sys.executable, "-W", "ignore", "-m", "benchmarks.inference.statistics"]
        command += ["--child", case, name, str(path), str(repeats)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["killed"])[-1]
            print(f"{name:<36}failed: {last[:90]}")
            continue
        found = json.loads(done.stdout)
        answers = ", ".join(f"{k} {v:.6g}" for k, v in found["answers"].items())
        print(
            f"{name:<36}{found['median']:>9.3f}{found['least']:>9.3f}{found['work']:>8.3f}"
            f"{found['peak']:>9.0f}  {answers}"
        )


def main() -> None:
    """Write the files, then a table per case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", action="append", choices=list(CASES), help="repeatable")
    parser.add_argument("--users", type=int, action="append", help="per arm; repeatable")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        case, name, path, repeats = options.child
        child(case, name, Path(path), int(repeats))
        return
    installed = {d.metadata["Name"].lower(): d.version for d in importlib.metadata.distributions()}
    names = ("polars", "numpy", "tea-tasting", "duckdb", "gbstats", "spotify-confidence")
    versions = ", ".join(f"{name} {installed[name]}" for name in names if name in installed)
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {versions}")
    with tempfile.TemporaryDirectory() as folder:
        for per_arm in options.users or [1_000_000, 10_000_000]:
            path = Path(folder) / f"{per_arm}.parquet"
            write = [sys.executable, "-c", f"from benchmarks.inference.statistics import *; "
                     f"write_users(Path({str(path)!r}), {per_arm})"]  # fmt: skip
            subprocess.run(write, check=True)
            for case in options.case or list(CASES):
                if case in ANY_SIZE or per_arm <= 1_000_000:
                    few = 1 if case in ("bootstrap", "analyze") else options.repeats
                    compare_libraries(case, path, per_arm, few)
            path.unlink()


if __name__ == "__main__":
    main()
