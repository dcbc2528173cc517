"""Measure bias, error and coverage of replay's estimators on logs whose truth is known.

    python -m benchmarks.replay_study --logs 200 --first 1000 --jobs 2
    python -m benchmarks.replay_study --logs 100 --keep study.jsonl --figure docs/replay.svg

Logs of several sizes are drawn from one platform (`benchmarks.lib.replay_platform`). Three rankers,
near to and far from the log's, are compared with the log's own; every number is the difference of
the two, whose truth is averaged exactly over the prefixes of 40 large logs. A line says how often
the 95 % interval held the truth, separately where the diagnostics said usable, caution or unusable.
"""

from __future__ import annotations

import argparse
import json
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS"):
    os.environ[_name] = "1"

import numpy as np

from abtest.processes import end_with
from benchmarks.lib.replay_platform import Platform, by_video, logging_score, target_scores
from simulator.replay import TargetPolicy, replay
from simulator.replay.models.regression import for_outcome

SHARES = {"explore 50 %": 0.5, "explore 10 %": 0.1}
USERS = (100, 400, 1_600, 6_400)
METRICS = ("click_rate", "hate_rate", "comment_open_rate", "comment_stay_ms")
TARGET = TargetPolicy(explore_share=0.05)
TRUTH_LOGS, TRUTH_USERS = 40, 5_000


def truths(share: float) -> dict[str, dict[str, float]]:
    """Per ranker and metric, averaged over large logs."""
    platform = Platform.new()
    scores = {**target_scores(platform), "logged": logging_score(platform)}
    total = {name: dict.fromkeys(METRICS, 0.0) for name in scores}
    for seed in range(TRUTH_LOGS):
        drawn = platform.draw(TRUTH_USERS, share, 1_000_000 + seed)
        for name, score in scores.items():
            for metric, value in drawn.truth(score, TARGET).items():
                total[name][metric] += value / TRUTH_LOGS
    return total


def one_log(task: tuple[float, int, int]) -> list[dict[str, Any]]:
    """All estimates of one log."""
    share, users, seed = task
    platform = Platform.new()
    dataset = platform.draw(users, share, seed).dataset()
    scorers = {n: by_video(s) for n, s in target_scores(platform).items()}
    scorers["logged"] = by_video(logging_score(platform))
    result = replay(
        dataset,
        scorers,  # type: ignore[arg-type]
        treatment=[n for n in scorers if n != "logged"],
        control="logged",
        metrics=METRICS,
        target=TARGET,
        model=for_outcome,
    )
    rows = []
    for metric in result.metrics:
        for name, found in metric.estimates.items():
            if name == "page":
                continue
            for side in ("treatment", "difference", "relative"):
                estimate = getattr(found, side)
                rows.append(
                    {
                        "share": share, "users": users, "ranker": metric.treatment,
                        "metric": metric.name, "estimator": name, "side": side,
                        "verdict": found.verdict,
                        "estimate": None if estimate is None else
                        [estimate.value, estimate.low, estimate.high],
                    }
                )  # fmt: skip
    return rows


def study(logs: int, jobs: int, keep: Path | None, first: int = 0) -> list[dict[str, Any]]:
    """Every log, with its truth; what is kept already is not drawn again."""
    seeds = range(first, first + logs)
    tasks = [(s, u, seed) for seed in seeds for u in USERS for s in SHARES.values()]
    found: list[dict[str, Any]] = []
    if keep is not None and keep.is_file():
        found = [json.loads(line) for line in keep.read_text().splitlines()]
        done = {(r["share"], r["users"], r["seed"]) for r in found}
        tasks = [task for task in tasks if task not in done]
    if not tasks:
        return found
    known = {share: truths(share) for share in SHARES.values()}
    with ProcessPoolExecutor(jobs, initializer=end_with, initargs=(os.getpid(),)) as pool:
        for task, rows in zip(tasks, pool.map(one_log, tasks), strict=True):
            for row in rows:
                truth = known[row["share"]]
                a, b = truth[row["ranker"]][row["metric"]], truth["logged"][row["metric"]]
                exact = {"treatment": a, "difference": a - b, "relative": a / b - 1.0}
                row |= {"truth": exact[row["side"]], "seed": task[2]}
            found += rows
            if keep is not None:
                with keep.open("a") as file:
                    file.writelines(json.dumps(row) + "\n" for row in rows)
    return found


def covered(row: dict[str, Any]) -> bool:
    _, low, high = row["estimate"]
    return (low is None or low <= row["truth"]) and (high is None or row["truth"] <= high)


def summarise(rows: list[dict[str, Any]], keys: tuple[str, ...]) -> list[dict[str, Any]]:
    """Bias and root mean squared error relative to the truth, and coverage, per group."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        if row["estimate"] is not None:
            groups.setdefault(tuple(row[k] for k in keys), []).append(row)
    out = []
    for key, group in groups.items():
        error = np.array([r["estimate"][0] - r["truth"] for r in group])
        out.append(
            {
                **dict(zip(keys, key, strict=True)),
                "logs": len(group),
                "bias": float(error.mean()),
                "rmse": float(np.sqrt((error**2).mean())),
                "coverage": float(np.mean([covered(r) for r in group])),
                "truth": float(np.mean([r["truth"] for r in group])),
            }
        )
    return out


def report(rows: list[dict[str, Any]]) -> None:
    """Print the tables."""
    values = [r for r in rows if r["side"] == "treatment"]
    print("Values: bias and RMSE in % of the truth, coverage of 95 % intervals")
    print(
        f"{'metric':<18} {'users':>5} {'explore':>8} {'estimator':<10} "
        f"{'bias %':>7} {'RMSE %':>7} {'cover':>6}"
    )
    for row in summarise(values, ("metric", "users", "share", "estimator")):
        print(f"{row['metric']:<18} {row['users']:>5} {row['share']:>8} {row['estimator']:<10} "
              f"{100 * row['bias'] / row['truth']:7.1f} {100 * row['rmse'] / row['truth']:7.1f} "
              f"{row['coverage']:6.3f}")  # fmt: skip
    print("\nCoverage by verdict, all rankers and log sizes together")
    print(f"{'metric':<18} {'estimator':<10} {'side':<11} {'verdict':<9} {'n':>6} {'cover':>6}")
    for row in sorted(
        summarise(rows, ("metric", "estimator", "side", "verdict")),
        key=lambda r: (r["metric"], r["estimator"], r["side"], r["verdict"]),
    ):
        print(f"{row['metric']:<18} {row['estimator']:<10} {row['side']:<11} {row['verdict']:<9} "
              f"{row['logs']:>6} {row['coverage']:6.3f}")  # fmt: skip


def figure(rows: list[dict[str, Any]], path: Path) -> None:
    """Coverage against the verdict, one panel per metric."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "replay"
    from matplotlib import pyplot

    names = ("ips", "snips", "dr", "sndr")
    fig, axes = pyplot.subplots(1, len(METRICS), figsize=(11, 2.8), sharey=True)
    for axis, metric in zip(axes, METRICS, strict=True):
        for offset, name in enumerate(names):
            for x, verdict in enumerate(("usable", "caution", "unusable")):
                own = [r for r in rows if r["metric"] == metric and r["estimator"] == name
                       and r["verdict"] == verdict and r["side"] == "difference"
                       and r["estimate"] is not None]  # fmt: skip
                if len(own) < 30:
                    continue
                share = np.mean([covered(r) for r in own])
                marker = "osD^"[offset]
                axis.plot(x + 0.15 * (offset - 1.5), share, marker, color=f"C{offset}",
                          label=name if x == 0 else None)  # fmt: skip
        axis.axhspan(0.93, 0.97, color="0.85", zorder=0)
        axis.set_xticks(range(3), ("usable", "caution", "unusable"))
        axis.set_title(metric, fontsize=9)
        axis.set_xlim(-0.5, 2.5)
    axes[0].set_ylabel("coverage of 95 % intervals")
    axes[0].set_ylim(0.6, 1.005)
    axes[-1].legend(fontsize=8, loc="lower left")
    fig.tight_layout()
    fig.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--logs", type=int, default=200)
    parser.add_argument("--first", type=int, default=0, help="Seed of the first log.")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument(
        "--keep", type=Path, help="JSON lines of all estimates; goes on from there."
    )
    parser.add_argument("--figure", type=Path)
    options = parser.parse_args()
    rows = study(options.logs, options.jobs, options.keep, options.first)
    report(rows)
    if options.figure:
        figure(rows, options.figure)


if __name__ == "__main__":
    main()
