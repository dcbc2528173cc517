"""Measure how a lift varies over training seeds and worlds, and its share of the head room.

    python -m benchmarks.seeds --treatment lsvcr --control sasrec --training-seeds 5 --worlds 3
    python -m benchmarks.seeds --treatment sasrec+no-taste lsvcr --against sasrec+no-taste
    python -m benchmarks.seeds --world benchmarks/worlds/small-no-comment-taste.toml
    python -m benchmarks.seeds --set 'lsvcr.comment_negatives="seen"' --training-seeds 5 --worlds 3

Two of these at once need ``--training-threads 1`` each: threads that wait for each other would
otherwise fight for the cores. Figures depend on the number of threads in their last digits only
until training has gone another way.

Every pair of a training seed and a world is one `abtest run` with people of its own; each world has
one more run, of the oracle that orders comments by the truth. Runs are kept in ``--folder`` and not
repeated. ``--against ARM`` analyses the same runs once more, with that arm as the control. Lifts
are pooled by random effects: within each world over training seeds, and over all runs. Runs in one
world share its log; the spread between worlds is printed, so that nobody has to assume that there
is none.
"""

from __future__ import annotations

import argparse
import dataclasses
import re
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from scipy import stats

from abtest.config import RunConfig
from abtest.console import Console
from abtest.run.arms import training
from abtest.run.experiment import run_experiment
from abtest.run.machines import ENGINES, Machines
from abtest.run.sizing import analysis_plan, analyze_outcomes
from abtest.tables import table
from reports import formats
from reports.analysis.seeds import seed_summaries
from reports.results import ExperimentResult, MetricComparison

ORACLE = "oracle-comments"


def kept(config: RunConfig, folder: Path, machines: Machines) -> ExperimentResult:
    """The result of this experiment, from the folder if it is there."""
    name = run_name(config)
    path = folder / name
    if (path / "results.json").is_file():
        return ExperimentResult.from_json((path / "results.json").read_text(encoding="utf-8"))
    started = time.perf_counter()
    outcome = run_experiment(
        config,
        out=None if path.exists() else path,
        resume=path if path.exists() else None,
        machines=machines,
        console=Console(quiet=True),
    )
    lifts = ", ".join(
        f"{c.treatment} {_lift(m)}" for c in outcome.result.comparisons for m in c.metrics[:1]
    )
    print(f"{name}: {lifts} ({time.perf_counter() - started:.0f} s)", flush=True)
    return outcome.result


def analysed_against(
    arm: str, config: RunConfig, folder: Path, context: dict[str, Any]
) -> ExperimentResult:
    """A kept run once more, with one of its treatments as the control; context of the run."""
    others = tuple(name for name in (*config.treatment, config.control) if name != arm)
    turned = dataclasses.replace(config, control=arm, treatment=others)
    outcomes = pl.read_parquet(folder / run_name(config) / "outcomes.parquet")
    return analyze_outcomes(turned, outcomes, analysis_plan(turned), (arm, *others), context)


def run_name(config: RunConfig) -> str:
    """The directory of a run, from what tells it from others."""
    arms = "-".join(config.treatment)
    own = "".join(
        f"-{policy}.{key}={value}"
        for policy, given in sorted(config.policies.items())
        for key, value in sorted(given.items())
    )
    world = f"{config.world}-{config.world_seed}-{config.training_seed}"
    size = f"{config.design}-{config.log_users}-{config.users}"
    return re.sub(r"[^\w.=-]", "-", f"{world}-{arms}-vs-{config.control}-{size}{own}")


def _lift(metric: MetricComparison) -> str:
    relative = metric.relative
    return (
        "none" if relative is None else f"{formats.lift(relative)} [{formats.interval(relative)}]"
    )


def of_arms(results: Sequence[ExperimentResult], treatment: str) -> list[MetricComparison]:
    """The treatment's metrics of every run that has it, the primary one first."""
    return [
        metric
        for result in results
        for comparison in result.comparisons
        if comparison.treatment == treatment
        for metric in comparison.metrics
    ]


def validations(result: ExperimentResult, policy: str) -> dict[str, float]:
    """Validation metric of everything that was trained for a policy, by the part's name."""
    found = {}

    def visit(facts: dict[str, Any], path: tuple[str, ...]) -> None:
        for key, value in facts.items():
            if isinstance(value, dict):
                visit(value, (*path, key))
            elif key == "validation":
                found[" ".join(path) or policy] = float(value)

    visit(result.context["policies"].get(policy, {}), ())
    return found


def within_worlds(
    runs: dict[int, list[ExperimentResult]], policy: str
) -> dict[str, tuple[float, float]]:
    """Correlation of each validation metric with the lift over training seeds, and its p-value.

    Both are centred by world first, which costs a degree of freedom per world.
    """
    metric: dict[str, list[float]] = {}
    lift: list[float] = []
    for results in runs.values():
        own = [_log_lift(of_arms([result], policy)[0]) for result in results]
        lift += [value - float(np.mean(own)) for value in own]
        told = [validations(result, policy) for result in results]
        for part in told[0]:
            values = [each[part] for each in told]
            metric.setdefault(part, []).extend(v - float(np.mean(values)) for v in values)
    freedom = len(lift) - len(runs) - 1
    if freedom < 1:
        return {}
    found = {}
    for part, values in metric.items():
        if np.ptp(values) == 0.0 or np.ptp(lift) == 0.0:
            continue
        r = float(np.corrcoef(values, lift)[0, 1])
        t = r * np.sqrt(freedom / max(1.0 - r * r, 1e-12))
        found[part] = (r, float(2.0 * stats.t.sf(abs(t), freedom)))
    return found


def _log_lift(metric: MetricComparison) -> float:
    return 0.0 if metric.relative is None else float(np.log1p(metric.relative.value))


def main() -> None:
    """Print a line per run, then every world's and the overall summary."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--treatment", nargs="+", default=["lsvcr"], help="arms of every run")
    parser.add_argument("--control", default="sasrec")
    parser.add_argument("--against", help="a treatment: the same runs with it as the control")
    parser.add_argument("--world", default="default", help="a preset")
    parser.add_argument("--training-seeds", type=int, default=5)
    parser.add_argument("--worlds", type=int, default=3)
    parser.add_argument("--users", type=int, default=8_192, help="people of each run")
    parser.add_argument("--log-users", type=int, default=4_000, help="people in the log")
    parser.add_argument("--design", choices=("online", "twin"), default="twin")
    parser.add_argument(
        "--set", action="append", default=[], help="POLICY.SETTING=VALUE, as in TOML; repeatable"
    )
    parser.add_argument("--all-metrics", action="store_true", help="not only the primary one")
    parser.add_argument("--no-oracle", action="store_true", help="leave the head room out")
    parser.add_argument("--folder", type=Path, default=Path("runs/seeds"))
    parser.add_argument("--workers", type=int, default=None)
    parser.add_argument("--engine", choices=ENGINES, default="local")
    parser.add_argument("--address", help="of a Ray cluster")
    parser.add_argument("--training-threads", type=int, default=training.TRAINING_THREADS)
    options = parser.parse_args()
    training.TRAINING_THREADS = options.training_threads
    machines = Machines(options.engine, options.workers, options.address)
    options.folder.mkdir(parents=True, exist_ok=True)
    runs: dict[int, list[ExperimentResult]] = {}
    turned: list[ExperimentResult] = []
    oracles = []
    for world_seed in range(1, options.worlds + 1):
        for training_seed in range(1, options.training_seeds + 1):
            config = RunConfig(
                treatment=tuple(options.treatment),
                control=options.control,
                world=options.world,
                design=options.design,
                users=options.users,
                log_users=options.log_users,
                seed=100 * world_seed + training_seed,
                training_seed=training_seed,
                world_seed=world_seed,
                policies=tomllib.loads("\n".join(options.set)),
            )
            result = kept(config, options.folder, machines)
            runs.setdefault(world_seed, []).append(result)
            if options.against:
                turned.append(
                    analysed_against(options.against, config, options.folder, result.context)
                )
        if not options.no_oracle:
            head_room = dataclasses.replace(
                config,
                treatment=(ORACLE,),
                seed=100 * world_seed + 1,
                training_seed=1,
                policies={k: v for k, v in config.policies.items() if k == config.control},
            )
            oracles.append(kept(head_room, options.folder, machines))
    print()
    header = ("world", "training seed", "treatment", "metric", "lift", "95 % interval")
    rows = [
        (
            str(world),
            str(seed),
            treatment,
            m.metric,
            formats.lift(m.relative),
            formats.interval(m.relative),
        )
        for world, results in runs.items()
        for seed, result in enumerate(results, start=1)
        for treatment in options.treatment
        for m in of_arms([result], treatment)
        if m.relative is not None and (m.role == "primary" or options.all_metrics)
    ]
    print(table(rows, header=header, right=(4, 5)))
    for world_seed, results in runs.items():
        for summary in seed_summaries(results):
            print(f"\nworld {world_seed}: " + " ".join(summary.sentences()))
    for summary in seed_summaries([result for results in runs.values() for result in results]):
        print("\nall runs: " + " ".join(summary.sentences()))
    for treatment in options.treatment:
        for part, (r, p) in within_worlds(runs, treatment).items():
            print(
                f"\nwithin worlds, over training seeds: lift of {treatment} and validation of "
                f"{part} have a correlation of {r:+.2f} ({formats.p_equals(p)})"
            )
    for summary in seed_summaries(turned):
        print(f"\nall runs, against {options.against}: " + " ".join(summary.sentences()))
    for summary in seed_summaries(oracles):
        print("\nhead room: " + " ".join(summary.sentences()))


if __name__ == "__main__":
    main()
