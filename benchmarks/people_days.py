"""Measure what a day of 1,000 people costs on one core, under each of several policies.

    python -m benchmarks.people_days --policies random popular sasrec:epochs=1

People live for the days before the experiment under the platform's own ranker; from that moment
each policy serves the same people for one day. Prints processor seconds per 1,000 people and day,
and what ``--people-days`` of them come to in core hours. Training is not counted: the time to serve
hardly depends on it, so that one epoch is enough here. What a day of a policy costs depends on how
many videos people watch under it: pages are printed too.
"""

from __future__ import annotations

import argparse
import os
import resource
import time

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS"):
    os.environ[_name] = "1"

from abtest.console import Console
from abtest.run.arms.serving import PolicyRanker
from abtest.run.arms.training import load_policy, train
from abtest.run.datasets import GROUP_SIZE, builtin_dataset
from abtest.run.environments import EnvironmentSpec
from abtest.tables import table
from policies.registry import settings_of
from simulator.calendar import DAY_MS
from simulator.loop import drive


def main() -> None:
    """Print a row per policy."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--policies", nargs="+", default=["random", "popular"])
    parser.add_argument("--world", default="default", help="a preset")
    parser.add_argument("--log-users", type=int, default=300, help="people in the log")
    parser.add_argument("--people", type=int, default=GROUP_SIZE)
    parser.add_argument("--burn-in-days", type=int, default=1)
    parser.add_argument("--people-days", type=float, default=100e6)
    options = parser.parse_args()

    import torch

    console = Console()
    dataset = builtin_dataset(options.world, 1, options.log_users, 2, console)
    policies = {
        spec: load_policy(
            train(spec, settings_of(spec, {}), dataset, seed=1, console=console), dataset
        )
        for spec in options.policies
    }
    torch.set_num_threads(1)
    spec = EnvironmentSpec("world", str(dataset.path), "", options.burn_in_days, 1, 1)
    environment = spec.build(dataset)
    users = environment.people(options.people)
    started = time.process_time()
    warm, _ = environment.warm_feed(users)
    spent = (time.process_time() - started) / max(1, options.burn_in_days)
    rows = [_row("before the experiment", spent, "", options)]
    for name, policy in policies.items():
        feed = warm.copy()
        feed.extend(environment.start_ms + DAY_MS)
        policy.reset(len(users))
        started = time.process_time()
        drive(feed, PolicyRanker(policy))
        spent = time.process_time() - started
        days = feed.outcomes.to_frame(environment.user_ids(users))
        last = days.filter(days["day"] == days["day"].max())
        shown = f"{float(last['impressions'].sum()) / options.people:,.0f}"
        rows.append(_row(name, spent, shown, options))
        print("  ".join(rows[-1]), flush=True)
    header = (
        "policy",
        "s per 1,000 people-days",
        "videos per person",
        f"core hours for {options.people_days:,.0f}",
    )
    print()
    print(table(rows, header=header, right=(1, 2, 3)))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"\n{options.people:,} people at a time; most memory {peak:,.0f} MB")


def _row(name: str, spent: float, shown: str, options: argparse.Namespace) -> tuple[str, ...]:
    per_person = spent / options.people
    hours = per_person * options.people_days / 3600.0
    return name, f"{1000.0 * per_person:.2f}", shown, f"{hours:,.0f}"


if __name__ == "__main__":
    main()
