"""Measure the coverage of the online design's intervals for an effect that is known.

    python -m benchmarks.inference.known_effect
    python -m benchmarks.inference.known_effect --users 20000 --days 2 --runs 1000
    python -m benchmarks.inference.known_effect --twin runs/of-abtest-run-with-design-twin

One twin run of the built-in world (`abtest run --design twin --world small`) lets everybody live
through a control and a treatment with the same luck, which gives both potential outcomes of each
person. Two effects are known exactly:

    planted    the control's own outcomes, with comment watch time 4 % longer for the treated
    policies   the difference of the two policies, whatever it is for whom

Then people are assigned at random, as often as asked for, by the hash that `abtest run` uses; of
each person only the assigned arm's outcome is kept; and the estimate of
`reports.analysis.analyze.analyze`, which `abtest run` calls, gives its interval (the rest of a
report, with its A/A splits, is left out; every 25th interval is compared with the whole report's).
The truth is the lift of all people, from the analysis of the twin table. Two ways to choose the
people:

    same people   all of them, every time. Only the assignment is random; the variance of two
                  independent samples is then too large by that of the persons' own effects
                  (Neyman 1923), so coverage may be above 95 %
    new people    as many, drawn from them with replacement every time: the population that a
                  verdict speaks of. Coverage should be 95 %

Exit code 1 if new people are covered significantly less or more than 94 to 96 %, or the same people
less.
"""

from __future__ import annotations

import os

from abtest.results.metrics import platform_metrics

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS"):
    os.environ[_name] = "1"

import argparse
import functools
import multiprocessing
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import polars as pl
from scipy import stats

from abtest.config import RunConfig
from abtest.console import Console
from abtest.run.experiment import run_experiment
from abtest.run.machines import Machines
from abtest.run.simulate import assign_arms
from reports.analysis.analyze import analyze
from reports.analysis.breakdowns import scaled
from reports.analysis.estimation import estimate
from reports.plan import AnalysisPlan
from reports.results import Estimate, MetricComparison
from reports.statistics.lift import Comparison
from reports.users.metric_columns import during
from reports.users.table import UserTable

ARMS = ("control", "treatment")
METRIC = "comment_watch_time"
COLUMN = "comment_watch_time_ms"
PLANTED = 0.04
PLAN = AnalysisPlan(METRIC, secondary=(), guardrails={}, metrics=platform_metrics())
BLOCK = 25

People = Literal["same people", "new people"]


class Found(NamedTuple):
    """Of one online experiment: what its intervals hold, and the estimates."""

    absolute: bool
    relative: bool
    significant: bool
    lift: float
    standard_error: float
    difference: float


def simulate(options: argparse.Namespace, out: Path) -> None:
    """Run the twin experiment into a directory."""
    config = RunConfig(
        treatment=(options.treatment,),
        control=options.control,
        world="small",
        design="twin",
        users=options.users,
        days=options.days,
        seed=options.seed,
    )
    run_experiment(config, out=out, resume=None, machines=Machines(), console=Console())


def twin_outcomes(directory: Path, control: str, treatment: str) -> pl.DataFrame:
    """Both lives of everybody: a row per (user_id, arm, period), arms named as in ``ARMS``."""
    frame = pl.read_parquet(directory / "outcomes.parquet")
    arms = set(frame["arm"].unique().to_list())
    if arms != {control, treatment}:
        sys.exit(f"{directory} compares {sorted(arms)}; name them by --control and --treatment.")
    names = {control: ARMS[0], treatment: ARMS[1]}
    return per_period(frame.with_columns(pl.col("arm").replace(names)))


def per_period(frame: pl.DataFrame) -> pl.DataFrame:
    """Days summed up to one row before the start (day -1) and one of the experiment (day 0).

    The analysis of a whole experiment uses no more than these sums; without the single days it is
    several times faster.
    """
    columns = [c for c in frame.columns if frame[c].dtype.is_numeric()]
    columns = [c for c in columns if c not in ("user_id", "day")]
    return (
        frame.with_columns(pl.when(pl.col("day") < 0).then(-1).otherwise(0).alias("day"))
        .group_by("user_id", "arm", "day")
        .agg(pl.col(c).sum() for c in columns)
        .sort("user_id", "arm", "day")
    )


def planted(frame: pl.DataFrame) -> pl.DataFrame:
    """The control twice, the second time with a longer comment watch time during the experiment."""
    control = frame.filter(pl.col("arm") == ARMS[0])
    during = pl.col("day") >= 0
    longer = control.with_columns(
        pl.lit(ARMS[1]).alias("arm"),
        pl.when(during)
        .then(pl.col(COLUMN) * (1.0 + PLANTED))
        .otherwise(pl.col(COLUMN).cast(pl.Float64))
        .alias(COLUMN),
    )
    same = control.with_columns(pl.col(COLUMN).cast(pl.Float64))
    return pl.concat([same, longer]).sort("user_id", "arm", "day")


def primary(frame: pl.DataFrame, design: Literal["online", "twin"]) -> MetricComparison:
    """The primary metric's row of the analysis that `abtest run` makes."""
    result = analyze(frame, PLAN, control=ARMS[0], treatments=[ARMS[1]], design=design)
    return next(m for m in result.comparisons[0].metrics if m.role == "primary")


def online(frame: pl.DataFrame, people: People, seed: int) -> pl.DataFrame:
    """What an online experiment would have seen of a twin table."""
    ids = frame["user_id"].unique().sort().to_numpy()
    chosen = ids
    if people == "new people":
        chosen = np.random.default_rng([seed, 1]).choice(ids, len(ids))
    own = np.arange(len(ids), dtype=np.int32) if people == "new people" else ids.astype(np.int32)
    arms = np.asarray(ARMS)[assign_arms(own, len(ARMS), seed)]
    assigned = pl.DataFrame({"user_id": chosen, "arm": arms, "own": own.astype(np.int64)})
    seen = assigned.join(frame, on=["user_id", "arm"], how="inner")
    return seen.drop("user_id").rename({"own": "user_id"})


_frames: dict[str, pl.DataFrame] = {}
_truths: dict[str, tuple[float, float]] = {}


def start(paths: dict[str, Path], truths: dict[str, tuple[float, float]]) -> None:
    """Give a process the twin tables."""
    _frames.update({name: pl.read_parquet(path) for name, path in paths.items()})
    _truths.update(truths)


def run(effect: str, people: People, seeds: list[int]) -> list[Found]:
    """Online experiments with these seeds; the first one is also analysed in full."""
    difference, lift = _truths[effect]
    found = []
    for seed in seeds:
        seen = online(_frames[effect], people, seed)
        result = comparison(seen)
        assert result.relative is not None
        if seed == seeds[0]:
            same_as_reported(result, seen)
        found.append(
            Found(
                inside(scaled(result.absolute), difference),
                inside(scaled(result.relative), lift),
                result.p_value < 0.05,
                result.relative.value,
                result.standard_error,
                result.absolute.value,
            )
        )
    return found


def comparison(seen: pl.DataFrame) -> Comparison:
    """The primary metric as ``analyze`` estimates it."""
    table = UserTable(seen, ARMS)
    chosen = PLAN.metric(METRIC)
    found = estimate(table, during, chosen, table.days, ARMS, "online", PLAN)
    return found.compare(PLAN.confidence)


def same_as_reported(result: Comparison, seen: pl.DataFrame) -> None:
    """Stop if the whole analysis would say anything else."""
    row = primary(seen, "online")
    assert result.relative is not None
    reported = (row.absolute, row.relative, row.p_value)
    if reported != (scaled(result.absolute), scaled(result.relative), result.p_value):
        sys.exit(f"the report says {reported}, the estimate {result}.")


def inside(estimate: Estimate, truth: float) -> bool:
    """Whether the interval holds the truth."""
    assert estimate.low is not None
    assert estimate.high is not None
    return estimate.low <= truth <= estimate.high


def line(effect: str, people: People, found: list[Found]) -> bool:
    """Print one; returns whether coverage is as promised."""
    runs = len(found)
    fine = True
    texts = []
    for hits in (sum(f.absolute for f in found), sum(f.relative for f in found)):
        bounds = stats.binomtest(hits, runs).proportion_ci(0.95)
        texts.append(f"{hits / runs:.1%} ({bounds.low:.1%}-{bounds.high:.1%})")
        fine &= bounds.high >= 0.94 and (people == "same people" or bounds.low <= 0.96)
    spread = float(np.std([f.difference for f in found], ddof=1))
    error = float(np.mean([f.standard_error for f in found]))
    print(
        f"{effect:<9} {people:<12} {texts[0]:<21} {texts[1]:<21} "
        f"{np.mean([f.lift for f in found]):>+8.2%} {error / spread:>7.3f} "
        f"{np.mean([f.significant for f in found]):>7.0%}  {'ok' if fine else 'CHECK'}",
        flush=True,
    )
    return fine


def main() -> int:
    """Simulate once, then print a line per effect and choice of people."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--days", type=int, default=1)
    parser.add_argument("--runs", type=int, default=600, help="assignments per line")
    parser.add_argument("--control", default="popular")
    parser.add_argument("--treatment", default="random")
    parser.add_argument("--twin", type=Path, help="a twin run's directory, instead of a new one")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        directory = options.twin or Path(folder) / "twin"
        if options.twin is None:
            simulate(options, directory)
        twin = twin_outcomes(directory, options.control, options.treatment)
    frames = {"planted": planted(twin), "policies": twin}
    truths = {}
    for name, frame in frames.items():
        row = primary(frame, "twin")
        assert row.absolute is not None
        assert row.relative is not None
        truths[name] = (row.absolute.value, row.relative.value)
        print(f"{name}: true lift {row.relative.value:+.4%}, {row.absolute.value:+.4f} {row.unit}")
    print(
        f"\n{'effect':<9} {'people':<12} {'difference covered':<21} {'lift covered':<21} "
        f"{'lift':>8} {'error':>7} {'p<.05':>7}"
    )
    seeds = [options.seed * 1_000_000 + i for i in range(options.runs)]
    blocks = [seeds[i : i + BLOCK] for i in range(0, len(seeds), BLOCK)]
    fine = True
    with tempfile.TemporaryDirectory() as folder:
        paths = {name: Path(folder) / f"{name}.parquet" for name in frames}
        for name, frame in frames.items():
            frame.write_parquet(paths[name])
        # Threads of the table library do not survive a fork.
        with ProcessPoolExecutor(
            options.workers,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=start,
            initargs=(paths, truths),
        ) as pool:
            for effect in frames:
                choices: tuple[People, ...] = ("same people", "new people")
                for people in choices:
                    parts = pool.map(functools.partial(run, effect, people), blocks)
                    fine &= line(effect, people, [f for part in parts for f in part])
    print(
        f"\n{twin['user_id'].n_unique():,} people, {options.runs:,} assignments per line, "
        f"{time.perf_counter() - started:.0f} s; 'error' is the mean standard error over the "
        "spread of the estimates"
    )
    return int(not fine)


if __name__ == "__main__":
    sys.exit(main())
