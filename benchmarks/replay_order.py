"""Compare how replay, simulation on the log and the world itself order policies.

    python -m benchmarks.replay_order --work /tmp/order
    python -m benchmarks replay_order --work /tmp/order --html /tmp/order.html

Three answers to one question, each by the command line:

    log         abtest run popular against itself in the small world, 30 % of the slots at random,
                --keep-log
    replay      abtest replay of every policy against popular on that log
    simulation  abtest run --data LOG: people learned from the log, both arms simulated
    truth       abtest run in the world that wrote the log, twin design

Lifts are relative and per impression. Comment time per impression of a run is its comment watch
time over its videos shown. Replay asks about one slot with the rest of the page as logged, so that
its lifts and the truth's need not agree in size. Steps that are done are kept in the directory.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from abtest.tables import table

POLICIES = ("random", "itemknn", "ease", "two-tower", "sasrec", "gru4rec", "bert4rec")
CONTROL = "popular"
WORLD = ("--world", "small")
METRICS = {"click_rate": "click_rate", "comment_open_rate": "comment_open_rate",
           "comment_time": "comment_stay_ms"}  # fmt: skip
LEAST = 4
"""Figures that an order needs; with fewer the line is empty."""
Lifts = dict[str, dict[str, float]]


def abtest(*words: str) -> None:
    """Run a command; exit code 4 (unusable, no verdict) is an answer too."""
    print("$ abtest", *words, file=sys.stderr, flush=True)
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-m", "abtest", *words], capture_output=True, text=True)
    if done.returncode not in (0, 4):
        raise SystemExit(done.stderr[-2_000:])
    print(f"  {time.monotonic() - began:,.0f} s", file=sys.stderr, flush=True)


def steps(
    work: Path,
    users: int,
    log_users: int,
    workers: int | None,
    policies: Sequence[str] = POLICIES,
) -> dict[str, Path]:
    """Directories of the results, made where they are missing; an interrupted run goes on."""
    treatments = [word for policy in policies for word in ("-t", policy)]
    size = ("--users", str(users), "--log-users", str(log_users), "--days", "1")
    use = () if workers is None else ("--workers", str(workers))
    log = work / "written" / "log"
    runs: dict[str, tuple[str, ...]] = {
        "written": ("run", "-t", CONTROL, "-c", CONTROL, *WORLD, *size, *use,
                    "--explore-share", "30%", "--keep-log"),
        "replay": ("replay", *treatments, "-c", CONTROL, "--data", str(log), "--stage", "videos"),
        "simulation": ("run", *treatments, "-c", CONTROL, "--data", str(log), *use,
                       "--days", "1", "--design", "twin"),
        "truth": ("run", *treatments, "-c", CONTROL, *WORLD, *size, *use, "--design", "twin"),
    }  # fmt: skip
    for name, words in runs.items():
        if (work / name / "results.json").is_file():
            continue
        if (work / name / "plan.json").is_file():
            abtest("run", "--resume", str(work / name), *use)
        else:
            abtest(*words, "--out", str(work / name))
    return {name: work / name for name in ("replay", "simulation", "truth")}


def lifts(folder: Path, *, replayed: bool) -> Lifts:
    """Relative lift per policy and metric."""
    document = json.loads((folder / "results.json").read_text())
    found: Lifts = {}
    for comparison in document["comparisons"]:
        by_name = {m["metric"]: (m["relative"] or {}).get("value") for m in comparison["metrics"]}
        own: dict[str, float] = {}
        for name, replay_name in METRICS.items():
            if replayed:
                value = by_name.get(replay_name)
            elif name == "comment_time":
                time, shown = by_name.get("comment_watch_time"), by_name.get("impressions")
                value = None if time is None or shown is None else (1 + time) / (1 + shown) - 1
            else:
                value = by_name.get(name)
            if value is not None:
                own[name] = float(value)
        found[comparison["treatment"]] = own
    return found


def report(found: dict[str, Lifts], policies: Sequence[str] = POLICIES) -> None:
    """Print lifts, and how each answer orders the policies beside the truth."""
    truth = found["truth"]
    orders = []
    for metric in METRICS:
        rows = []
        for policy in policies:
            lift = [answer.get(policy, {}).get(metric) for answer in found.values()]
            rows.append((policy, *("-" if v is None else f"{100 * v:.1f}" for v in lift)))
        print(f"{metric}: lift over {CONTROL}, %")
        print(table(rows, header=("policy", *found), right=(1, 2, 3)), end="\n\n")
        for name in ("replay", "simulation"):
            both = [(found[name][p][metric], truth[p][metric]) for p in policies
                    if metric in found[name].get(p, {}) and metric in truth.get(p, {})]  # fmt: skip
            if len(both) < LEAST:
                orders.append((metric, name, str(len(both)), "-", "-", "-", "-"))
                continue
            # The control belongs to the order too: its lift is 0 by definition.
            a, b = np.array([*both, (0.0, 0.0)]).T
            low, high = _bootstrap(a, b)
            slope = float((a * b).sum() / (b * b).sum())
            orders.append(
                (metric, name, str(len(both)), f"{spearmanr(a, b)[0]:.2f}",
                 f"{low:.2f} to {high:.2f}", f"{100 * np.abs(a - b)[:-1].mean():.1f}",
                 f"{slope:.2f}")
            )  # fmt: skip
    print("The order of each answer beside the truth's; intervals over policies, errors in points")
    header = ("metric", "by", "lifts", "rank corr.", "95 % interval", "error", "slope")
    print(table(orders, header=header, right=(2, 3, 5, 6)))


def _bootstrap(a: np.ndarray, b: np.ndarray, draws: int = 2_000) -> tuple[float, float]:
    """Percentiles of the rank correlation over resampled policies."""
    random = np.random.default_rng(1)
    values = []
    for _ in range(draws):
        at = random.integers(0, len(a), len(a))
        if len(set(a[at])) > 2 and len(set(b[at])) > 2:
            values.append(float(spearmanr(a[at], b[at])[0]))
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--users", type=int, default=2_000)
    parser.add_argument("--log-users", type=int, default=1_000)
    parser.add_argument("--workers", type=int, help="Processes of the runs; default: all cores.")
    parser.add_argument(
        "--policies", default=",".join(POLICIES), help="Treatments; a directory keeps one set."
    )
    options = parser.parse_args()
    policies = options.policies.split(",")
    options.work.mkdir(parents=True, exist_ok=True)
    folders = steps(options.work, options.users, options.log_users, options.workers, policies)
    report({name: lifts(f, replayed=name == "replay") for name, f in folders.items()}, policies)


if __name__ == "__main__":
    main()
